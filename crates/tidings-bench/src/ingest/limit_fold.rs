//! Folds the log of the bare limit of SQLite beside its commits, as the store does.
//!
//! SQLite's own way, at the end of the commit that made the log long, holds up the next transaction for
//! thousands of pages: with it the store was faster than its limit.

use std::{cell::Cell, sync::mpsc};

use anyhow::Context;
use rusqlite::Connection;
use tokio::task::JoinSet;

/// Pages of the log at which it is folded: 32 MiB, as in the store.
const FOLD_AT_PAGES: i32 = 8_192;

thread_local! {
    /// Pages of the log after the last commit of this thread.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// What the thread that commits keeps of it.
pub(super) struct Folding {
    requests: mpsc::SyncSender<()>,
    answers: mpsc::Receiver<()>,
    is_asked: bool,
}

impl Folding {
    /// Takes the place of SQLite's own folding in `writer`; `beside` is another connection, for a thread
    /// of its own that ends when this is dropped.
    pub(super) fn start(
        writer: &Connection,
        beside: Connection,
        threads: &mut JoinSet<anyhow::Result<()>>,
    ) -> Self {
        writer.wal_hook(Some(|_, pages| {
            PAGES.set(pages);
            Ok(())
        }));
        let (requests, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::sync_channel(1);
        threads.spawn_blocking(move || {
            while asked.recv().is_ok() {
                fold(&beside)?;
                if answer.send(()).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self { requests, answers, is_asked: false }
    }

    /// To be called after a commit, by the thread that made it.
    pub(super) fn after_commit(&mut self, writer: &Connection) -> anyhow::Result<()> {
        if self.is_asked {
            if self.answers.try_recv().is_ok() {
                self.is_asked = false;
                // What came meanwhile. The next commit starts the log over.
                fold(writer)?;
            }
        } else if PAGES.get() >= FOLD_AT_PAGES {
            self.requests.send(()).context("the thread that folds the log has ended")?;
            self.is_asked = true;
        }
        Ok(())
    }
}

/// Waits for nobody.
fn fold(db: &Connection) -> anyhow::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .context("the log cannot be folded")
}
