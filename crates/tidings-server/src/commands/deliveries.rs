//! `tidings deliveries`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tidings_client::{Api, ApiError, DeliveryLogPage, DeliveryLogQuery};

use super::dlq::connect;
use crate::cli::{DeliveriesCommand, DeliveryFilterArgs};

/// Attempts that are read at a time.
const PAGE: usize = 1000;
/// How often a page is asked for while the node is busy or away.
const ATTEMPTS: u32 = 10;
/// What is looked at of a file's end to find where its last whole line ends: more than a line has.
const TAIL_BYTES: u64 = 64 * 1024;

pub(super) async fn run(command: DeliveriesCommand) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::Export { node, filter, after, out } => {
            let api = connect(&node)?;
            let output = Output::open(out.as_deref(), after)?;
            export(&api, query(filter), after, output).await
        }
    }
}

fn query(filter: DeliveryFilterArgs) -> DeliveryLogQuery {
    let DeliveryFilterArgs { since, until, channel, outcome, user } = filter;
    DeliveryLogQuery { since, until, channel, outcome, user }
}

/// Where the lines go.
enum Output {
    Stdout,
    File(BufWriter<File>),
}

impl Output {
    /// A new file; or, for an export that goes on, the end of the one that is there.
    fn open(path: Option<&Path>, after: Option<u64>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let mut options = File::options();
        match after {
            // An export that took hours is not overwritten by a slip.
            None => options.write(true).create_new(true),
            Some(_) => options.read(true).write(true).create(true),
        };
        let unusable = || format!("{} cannot be written to", path.display());
        let mut file = options.open(path).with_context(unusable)?;
        if after.is_some() {
            cut_torn_line(&mut file).with_context(unusable)?;
        }
        Ok(Self::File(BufWriter::new(file)))
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            // Page by page: what the node was asked for is in the file when it is asked for more.
            Self::File(file) => {
                file.write_all(lines)?;
                file.flush()
            }
        }
    }
}

/// Goes to the end of the last whole line; what an export that was cut off has begun there goes.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    // Without the end of a line in so many bytes it is no export of ours: nothing is cut then.
    let end = if whole == 0 && from > 0 { len } else { from + whole as u64 };
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
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
