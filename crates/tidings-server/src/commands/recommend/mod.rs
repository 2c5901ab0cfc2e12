//! `tidings recommend`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

mod notice;
mod users;

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use tidings_client::Api;
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{notice::Notices, users::Users};
use super::{
    dlq::connect,
    graph::patiently,
    output::{Begin, Output},
};
use crate::cli::RecommendArgs;

/// Lists that are written, and told of, together.
const CHUNK: usize = 100;

/// A user's list.
pub(super) struct List {
    user: UserId,
    recommendations: Vec<Box<RawValue>>,
}

pub(super) async fn run(args: RecommendArgs) -> anyhow::Result<()> {
    let api = connect(&args.node)?;
    let after = args.after.as_deref().map(UserId::new).transpose();
    let after = after.context("--after is not a user id")?;
    let begin = if after.is_some() { Begin::GoOn } else { Begin::Anew };
    let notices = args.notify.then(|| Notices::new(args.title.clone(), SystemClock.now()));
    let users =
        if args.all { Users::all(api.clone(), after).await? } else { Users::named(&args.users)? };
    let wants_lines = args.out.is_some() || notices.is_none();
    let output =
        wants_lines.then(|| Output::open_packed(args.out.as_deref(), begin)).transpose()?;
    let progress = progress(users.total());
    let mut work = Work { output, notices, last: None, done: 0, told: 0, begun: Instant::now() };
    let interrupt = signal(SignalKind::interrupt())?;
    let worked = work.run(&api, &args, users, &progress, interrupt).await;
    progress.finish_and_clear();
    let summary = work.summary();
    match (worked, &work.last) {
        (Ok(()), _) => {
            eprintln!("{summary}");
            Ok(())
        }
        (Err(error), Some(last)) if args.all => {
            Err(error).context(format!("stopped after {summary}; go on with --after {last}"))
        }
        (Err(error), _) => Err(error),
    }
}

/// Draws on a terminal only. The position is that of the users in the graph's edges, or among those named.
fn progress(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{spinner} {wide_bar} {percent}%  {msg}  {elapsed} gone, {eta} to go";
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

struct Work {
    /// Where the lines go, if they are wanted.
    output: Option<Output>,
    /// How users are told, if they are to be.
    notices: Option<Notices>,
    /// All up to this user are done.
    last: Option<UserId>,
    done: u64,
    told: u64,
    begun: Instant,
}

impl Work {
    async fn run(
        &mut self,
        api: &Api,
        args: &RecommendArgs,
        users: Users,
        progress: &ProgressBar,
        mut interrupt: Signal,
    ) -> anyhow::Result<()> {
        let limit = args.limit.map(usize::from);
        // A notification says why.
        let explain = args.explain || args.notify;
        let users = stream::try_unfold(users, async |mut users| {
            let next = users.next().await?;
            anyhow::Ok(next.map(|next| (next, users)))
        });
        // In their order, so that one that was reached says that all before it are done.
        let lists = users
            .map_ok(|(user, position)| async move {
                let ask = async || api.recommendations(&user, limit, explain).await;
                let recommendations = patiently(ask).await?;
                Ok((List { user, recommendations }, position))
            })
            .try_buffered(args.concurrency.into())
            .ready_chunks(CHUNK);
        let mut lists = std::pin::pin!(lists);
        loop {
            // What is dropped here was not written: it is asked for again.
            let chunk = tokio::select! {
                _ = interrupt.recv() => bail!("interrupted"),
                chunk = lists.next() => chunk,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            if !self.take(api, chunk, progress).await? {
                return Ok(());
            }
        }
    }

    /// Writes and tells what was asked for until the first fault; `false` when nobody reads on.
    async fn take(
        &mut self,
        api: &Api,
        chunk: Vec<anyhow::Result<(List, u64)>>,
        progress: &ProgressBar,
    ) -> anyhow::Result<bool> {
        let mut lists = Vec::new();
        let mut fault = None;
        for list in chunk {
            match list {
                Ok((list, position)) => {
                    progress.set_position(position);
                    lists.push(list);
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        if let Some(notices) = &self.notices {
            self.told += notices.tell(api, &lists).await?;
        }
        if let Some(output) = &mut self.output {
            match output.write(&lines(&lists)?) {
                // A reader that has seen enough may close its end.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                result => result.context("the result cannot be written")?,
            }
        }
        self.done += lists.len() as u64;
        self.last = lists.pop().map(|it| it.user).or(self.last.take());
        progress.set_message(format!("{} users", HumanCount(self.done)));
        fault.map_or(Ok(true), Err)
    }

    fn summary(&self) -> String {
        let secs = self.begun.elapsed().as_secs_f64();
        let told = match self.notices {
            Some(_) => format!(", {} told", HumanCount(self.told)),
            None => String::new(),
        };
        format!("{} users in {secs:.1} s{told}", HumanCount(self.done))
    }
}

fn lines(lists: &[List]) -> anyhow::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        user: &'a UserId,
        recommendations: &'a [Box<RawValue>],
    }
    let mut lines = Vec::new();
    for List { user, recommendations } in lists {
        serde_json::to_writer(&mut lines, &Line { user, recommendations })?;
        lines.push(b'\n');
    }
    Ok(lines)
}
