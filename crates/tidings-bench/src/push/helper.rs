//! A process that helps: it is told something, one line of JSON each, and answers in kind.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use super::simulator::{Access, Order, Settings, Status};
use crate::{process, realtime::own_process};

/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);
/// How often a state is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A running helper. Dropping it kills it.
pub(super) struct Helper {
    name: String,
    child: Child,
    pid: u32,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Takes over a child whose standard input and output are pipes, and gives it its settings.
    pub(super) async fn take(
        name: &str,
        mut child: Child,
        settings: &impl Serialize,
    ) -> anyhow::Result<Self> {
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().with_context(|| format!("the output of {name}"))?;
        let answers = BufReader::new(answers).lines();
        let mut helper = Self { name: name.to_owned(), child, pid, orders, answers };
        helper.say(settings).await?;
        Ok(helper)
    }

    pub(super) fn usage(&self) -> process::Usage {
        process::usage(self.pid).unwrap_or_default()
    }

    async fn say(&mut self, order: &impl Serialize) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(order)?);
        let orders = self.orders.as_mut().with_context(|| format!("{} has ended", self.name))?;
        let said = orders.write_all(line.as_bytes()).await;
        said.with_context(|| format!("{} takes no orders", self.name))
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = timeout(ANSWER, self.answers.next_line()).await;
        match line.with_context(|| format!("{} does not answer", self.name))?? {
            Some(line) => serde_json::from_str(&line)
                .with_context(|| format!("{} says something else: {line}", self.name)),
            None => bail!("{} ended: {}", self.name, self.child.wait().await?),
        }
    }

    /// Ends its input, and returns what it says to that.
    pub(super) async fn finish<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        drop(self.orders.take());
        let answer = self.answer().await?;
        timeout(ANSWER, self.child.wait())
            .await
            .with_context(|| format!("{} does not end", self.name))??;
        Ok(answer)
    }

    /// Fails once it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended ({status})", self.name),
            None => Ok(()),
        }
    }

    /// Stops it where it is, or lets it go on: it answers nobody, and nobody is told.
    pub(super) async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let mut kill = tokio::process::Command::new("kill");
        let status = kill.arg(signal).arg(self.pid.to_string()).status().await?;
        anyhow::ensure!(status.success(), "{} does not obey {signal}", self.name);
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("{} cannot be ended", self.name))
    }
}

/// A push service: the helper that plays it, and how to get in.
pub(super) struct PushService {
    helper: Helper,
    access: Access,
}

impl PushService {
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let name = format!("the simulator of {}", settings.service.as_str());
        let mut helper = Helper::take(&name, own_process("push-simulator")?, settings).await?;
        let access = helper.answer().await?;
        Ok(Self { helper, access })
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn usage(&self) -> process::Usage {
        self.helper.usage()
    }

    /// Gives an order and returns how things are.
    pub(super) async fn ask(&mut self, order: &Order) -> anyhow::Result<Status> {
        self.helper.say(order).await?;
        self.helper.answer().await
    }

    /// Waits until things are as wanted. `None`: they are not after so long, and that is how they are.
    pub(super) async fn until(
        &mut self,
        patience: Duration,
        is_so: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Result<Status, Status>> {
        let begun = tokio::time::Instant::now();
        loop {
            let status = self.ask(&Order::Look).await?;
            if is_so(&status) {
                return Ok(Ok(status));
            }
            if begun.elapsed() > patience {
                return Ok(Err(status));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// From now on connections are made and nothing is answered.
    pub(super) async fn hang(&self) -> anyhow::Result<()> {
        self.helper.signal("-STOP").await
    }

    /// Goes on where it hung.
    pub(super) async fn go_on(&self) -> anyhow::Result<()> {
        self.helper.signal("-CONT").await
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.helper.stop().await
    }
}
