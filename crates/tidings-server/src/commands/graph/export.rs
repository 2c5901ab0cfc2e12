//! `tidings graph export`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

use std::{io, path::Path};

use anyhow::{Context, bail};
use tidings_client::Api;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{patiently, progress::Progress};
use crate::commands::output::{Begin, Output};

/// Edges that are asked for at a time: each part is written whole before the next is asked for.
const PART: u64 = 50_000;

pub(super) async fn run(
    api: &Api,
    out: Option<&Path>,
    cursor: Option<String>,
) -> anyhow::Result<()> {
    let begin = if cursor.is_some() { Begin::GoOn } else { Begin::Anew };
    // Before the file is made: whoever mistypes the address gets no empty file.
    let size = patiently(async || api.graph_size().await).await?;
    let mut output = Output::open_packed(out, begin)?;
    let total = (begin == Begin::Anew).then_some(size.follows + size.blocks + size.mutes);
    let progress = Progress::new(total);
    let mut export = Export { cursor, edges: 0 };
    let exported = export.run(api, &mut output, &progress, signal(SignalKind::interrupt())?).await;
    progress.finish();
    let summary = progress.summary(export.edges);
    match (exported, export.cursor) {
        (Ok(()), _) => {
            eprintln!("{summary}");
            Ok(())
        }
        (Err(error), Some(cursor)) => {
            Err(error).context(format!("stopped after {summary}; go on with --cursor {cursor}"))
        }
        (Err(error), None) => Err(error),
    }
}

struct Export {
    /// Everything before it is written.
    cursor: Option<String>,
    edges: u64,
}

impl Export {
    async fn run(
        &mut self,
        api: &Api,
        output: &mut Output,
        progress: &Progress,
        mut interrupt: Signal,
    ) -> anyhow::Result<()> {
        loop {
            let from = self.cursor.as_deref();
            // A part that is not waited for is asked for again.
            let part = tokio::select! {
                _ = interrupt.recv() => bail!("interrupted"),
                part = patiently(async || api.export_edges(PART, from).await) => part?,
            };
            match output.write(part.lines.as_bytes()) {
                // A reader that has seen enough may close its end.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result.context("the result cannot be written")?,
            }
            self.edges += part.edges;
            progress.set(self.edges, self.edges);
            let Some(next) = part.next else { return Ok(()) };
            self.cursor = Some(next);
        }
    }
}
