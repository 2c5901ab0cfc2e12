//! `tidings graph import`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, bail};
use tidings_client::Api;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    input::{BadLine, Batch, Input, Wanted},
    patiently,
    progress::Progress,
};
use crate::{
    cli::ImportArgs,
    commands::{dlq::connect, print},
    edge_lines::LineFormat,
};

/// Batches that are read ahead of the one that is being sent.
const READ_AHEAD: usize = 2;

pub(super) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let api = connect(&args.node)?;
    let from_line = args.from_line;
    let wanted = Wanted {
        format: args.format,
        // A third word could be of any unit, and these times are kept.
        list: LineFormat::List,
        undirected: args.undirected,
        from_line,
        batch_edges: args.batch.into(),
    };
    let bytes = Arc::new(AtomicU64::new(0));
    let (input, total) = Input::open(&args.file, wanted, Arc::clone(&bytes))?;
    let (sender, batches) = mpsc::channel(READ_AHEAD);
    // A thread of its own, and not of the runtime: it ends with the text, or when nobody takes its batches
    // any more, but an interrupted command does not wait for a standard input that is silent.
    let reading = thread::spawn(move || read(input, &sender));
    let mut sending = Sending {
        api,
        progress: Progress::new(total),
        bytes,
        next_line: from_line,
        edges: 0,
        added: 0,
    };
    let sent = sending.run(batches).await;
    sending.progress.finish();
    let summary = sending.progress.summary(sending.edges);
    let added = sending.added;
    if let Err(error) = sent {
        let go_on =
            format!("stopped after {summary}; go on with --from-line {}", sending.next_line);
        return Err(error).context(go_on);
    }
    let read = reading.join().map_err(|_| anyhow::anyhow!("the file was not read to its end"))?;
    match read {
        Ok(()) => {
            eprintln!("{summary}");
            print(&format!("{} edges, {added} new\n", sending.edges))
        }
        Err(fault) => {
            let go_on = format!(
                "stopped after {summary}; everything before line {line} is in: mend it and go on with \
                 --from-line {line}",
                line = fault.line
            );
            Err(fault).context(go_on)
        }
    }
}

fn read(mut input: Input, sender: &mpsc::Sender<Batch>) -> Result<(), BadLine> {
    while let Some(batch) = input.next_batch()? {
        if sender.blocking_send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

struct Sending {
    api: Api,
    progress: Progress,
    bytes: Arc<AtomicU64>,
    /// Everything before this line is in.
    next_line: u64,
    edges: u64,
    added: u64,
}

impl Sending {
    /// Sends one batch after the other: lists are in the order in which edges arrive.
    async fn run(&mut self, mut batches: mpsc::Receiver<Batch>) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            // What is dropped here was not answered: it is sent again from its first line.
            tokio::select! {
                _ = interrupt.recv() => bail!("interrupted"),
                batch = batches.recv() => match batch {
                    Some(batch) => tokio::select! {
                        _ = interrupt.recv() => bail!("interrupted"),
                        sent = self.send(batch) => sent?,
                    },
                    None => return Ok(()),
                },
            }
        }
    }

    async fn send(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch { lines, edges, next_line } = batch;
        let lines = String::from_utf8(lines).context("an edge is not UTF-8")?;
        let imported = patiently(async || self.api.import_edges(lines.clone()).await).await?;
        self.next_line = next_line;
        self.edges += edges;
        self.added += imported.added;
        self.progress.set(self.bytes.load(Ordering::Relaxed), self.edges);
        Ok(())
    }
}
