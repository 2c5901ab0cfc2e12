//! `tidings deliveries`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

use std::{io, time::Duration};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tidings_client::{Api, ApiError, DeliveryLogPage, DeliveryLogQuery};

use super::{
    dlq::connect,
    output::{Begin, Output},
    tail::printable,
};
use crate::cli::{DeliveriesCommand, DeliveryFilterArgs};

/// Attempts that are read at a time.
const PAGE: usize = 1000;
/// How often a page is asked for while the node is busy or away.
const ATTEMPTS: u32 = 10;

pub(super) async fn run(command: DeliveriesCommand) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::Show { node, notification, json } => {
            show(&connect(&node)?, &notification, json).await
        }
        DeliveriesCommand::Export { node, filter, after, out } => {
            let api = connect(&node)?;
            let begin = if after.is_some() { Begin::GoOn } else { Begin::Anew };
            let output = Output::open(out.as_deref(), begin)?;
            export(&api, query(filter), after, output).await
        }
    }
}

fn query(filter: DeliveryFilterArgs) -> DeliveryLogQuery {
    let DeliveryFilterArgs { since, until, channel, outcome, user } = filter;
    DeliveryLogQuery { since, until, channel, outcome, user }
}

/// An attempt, as far as a line shows it.
#[derive(Deserialize)]
struct Attempt {
    at: String,
    channel: String,
    target: String,
    attempt: u32,
    outcome: String,
    latency_ms: u64,
    reason: Option<String>,
}

impl Attempt {
    fn line(&self) -> String {
        let Self { at, channel, target, attempt, outcome, latency_ms, reason } = self;
        let target = if target.is_empty() { "-" } else { target };
        let reason = reason.as_deref().unwrap_or_default();
        let line = format!(
            "{at}  {channel:<9}  {}  attempt {attempt}  {outcome:<9}  {latency_ms} ms  {}",
            printable(target),
            printable(reason),
        );
        format!("{}\n", line.trim_end())
    }
}

async fn show(api: &Api, notification: &str, json: bool) -> anyhow::Result<()> {
    let mut output = Output::open(None, Begin::Anew)?;
    let mut cursor = None;
    let mut shown: usize = 0;
    loop {
        let page = api.notification_deliveries(notification, PAGE, cursor.as_deref()).await?;
        let mut lines = String::new();
        for item in &page.items {
            if json {
                lines.extend([item.get(), "\n"]);
            } else {
                let attempt: Attempt = serde_json::from_str(item.get())
                    .context("the node gives attempts of another version")?;
                lines.push_str(&attempt.line());
            }
        }
        match output.write(lines.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.context("the result cannot be written")?,
        }
        shown += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if shown == 0 {
        eprintln!("nothing was tried yet, or the log keeps it no more");
    }
    Ok(())
}

async fn export(
    api: &Api,
    query: DeliveryLogQuery,
    after: Option<u64>,
    mut output: Output,
) -> anyhow::Result<()> {
    let progress = progress();
    let mut cursor = after.map(|number| number.to_string());
    let mut upto = after.unwrap_or(0);
    let mut exported: u64 = 0;
    loop {
        let page = patiently(api, &query, cursor.as_deref()).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                progress.finish_and_clear();
                if exported == 0 {
                    return Err(error.into());
                }
                let so_far =
                    format!("stopped after {exported} attempts; go on with --after {upto}");
                return Err(error).context(so_far);
            }
        };
        match output.write(&lines(&page)) {
            // A reader that has seen enough may close its end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            result => result.context("the result cannot be written")?,
        }
        exported += page.items.len() as u64;
        upto = page.upto;
        progress.set_position(exported);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    progress.finish_and_clear();
    eprintln!("{exported} attempts; later ones with --after {upto}");
    Ok(())
}

fn lines(page: &DeliveryLogPage) -> Vec<u8> {
    let mut lines = Vec::new();
    for item in &page.items {
        lines.extend_from_slice(item.get().as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// A node that is busy is asked again, as often as it takes a short fault to pass.
async fn patiently(
    api: &Api,
    query: &DeliveryLogQuery,
    cursor: Option<&str>,
) -> Result<DeliveryLogPage, ApiError> {
    for _ in 1..ATTEMPTS {
        match api.read_deliveries(query, PAGE, cursor).await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
            }
            answer => return answer,
        }
    }
    api.read_deliveries(query, PAGE, cursor).await
}

/// Counts on a terminal only: nobody knows how many there will be.
fn progress() -> ProgressBar {
    let progress = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {pos} attempts, {per_sec}") {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}
