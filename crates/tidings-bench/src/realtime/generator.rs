//! The generator as the bench sees it: a child that is told what to do.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::load::{Order, Settings, Status};

/// How long an answer may take: reading from every socket comes first.
const ANSWER: Duration = Duration::from_secs(60);

/// A running generator. Dropping it kills it.
pub(super) struct Generator {
    child: Child,
    pid: u32,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Generator {
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let mut child = own_process("realtime-load")?;
        let pid = child.id().context("the generator ended at once")?;
        let mut orders = child.stdin.take().context("the generator's input")?;
        let answers = child.stdout.take().context("the generator's output")?;
        orders.write_all(format!("{}\n", serde_json::to_string(settings)?).as_bytes()).await?;
        Ok(Self { child, pid, orders, answers: BufReader::new(answers).lines() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives an order and returns how things are.
    pub(super) async fn ask(&mut self, order: &Order) -> anyhow::Result<Status> {
        self.orders.write_all(format!("{}\n", serde_json::to_string(order)?).as_bytes()).await?;
        let answer = timeout(ANSWER, self.answers.next_line());
        match answer.await.context("the generator does not answer")?? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => bail!("the generator ended: {}", self.child.wait().await?),
        }
    }

    /// Ends it, with its connections.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the generator cannot be ended")
    }
}

/// This program again, as something else. It ends with its input, and so with the bench.
pub(crate) fn own_process(name: &str) -> anyhow::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(name)
        // A group of its own: Ctrl-C is for the bench, which then ends it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} cannot be started"))
}
