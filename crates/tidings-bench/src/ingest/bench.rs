//! What a run has in common: its length, its names, its files, and what it leaves behind.
#![expect(clippy::print_stderr, reason = "a long run says how far it is")]

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Context;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{kafka, postgres};

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// For figures.
    Full,
    /// To see that it runs.
    Quick,
}

/// What has to be removed from the shared servers at the end.
#[derive(Debug)]
enum Leftover {
    Topic(String),
    Database(String),
}

/// A run.
pub(crate) struct Bench {
    /// What is measured, for what it says.
    name: &'static str,
    length: Length,
    /// How often contenders take turns, where a part says nothing else.
    pub(crate) rounds: u32,
    dir: TempDir,
    count: AtomicU32,
    leftovers: Mutex<Vec<Leftover>>,
    /// Cancelled by Ctrl-C: threads that block look at it.
    pub(super) stop: CancellationToken,
}

impl Bench {
    pub(crate) fn new(name: &'static str, length: Length) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("tidings-bench-").tempdir()?;
        Ok(Self {
            name,
            length,
            rounds: if length == Length::Full { 3 } else { 1 },
            dir,
            count: AtomicU32::new(0),
            leftovers: Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// One of the two by the length of the run.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        match self.length {
            Length::Full => full,
            Length::Quick => quick,
        }
    }

    /// Says how far the run is.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        eprintln!("{}: {text}", self.name);
    }

    /// A folder that nobody else has; it goes with the run.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("{number:03}-{name}"));
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// A new topic of `partitions` partitions.
    pub(super) async fn topic(&self, name: &str, partitions: i32) -> anyhow::Result<String> {
        let topic = unique_name(name);
        self.leave(Leftover::Topic(topic.clone()));
        kafka::create_topic(&topic, partitions).await?;
        Ok(topic)
    }

    /// A new database on the shared PostgreSQL.
    pub(super) async fn database(&self, name: &str) -> anyhow::Result<postgres::Database> {
        let database = unique_name(name);
        self.leave(Leftover::Database(database.clone()));
        postgres::create_database(&database).await
    }

    /// Removes a database before the end of the run: a backlog takes a gigabyte.
    pub(super) async fn drop_database(&self, database: postgres::Database) -> anyhow::Result<()> {
        let name = database.name().to_owned();
        drop(database);
        postgres::drop_database(&name).await?;
        self.lock().retain(|it| !matches!(it, Leftover::Database(left) if *left == name));
        Ok(())
    }

    /// Removes a topic before the end of the run.
    pub(super) async fn drop_topic(&self, topic: &str) -> anyhow::Result<()> {
        kafka::delete_topic(topic).await?;
        self.lock().retain(|it| !matches!(it, Leftover::Topic(left) if *left == topic));
        Ok(())
    }

    /// Removes what the run made on the shared servers.
    pub(crate) async fn clean_up(&self) {
        self.stop.cancel();
        let leftovers = std::mem::take(&mut *self.lock());
        for leftover in leftovers.into_iter().rev() {
            let removed = match &leftover {
                Leftover::Topic(topic) => kafka::delete_topic(topic).await,
                Leftover::Database(database) => postgres::drop_database(database).await,
            };
            if let Err(error) = removed {
                self.say(format_args!("{leftover:?} was not removed: {error:#}"));
            }
        }
    }

    fn leave(&self, leftover: Leftover) {
        self.lock().push(leftover);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Leftover>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other run uses, valid for topics, groups and databases.
pub(super) fn unique_name(name: &str) -> String {
    // The standard library seeds each of these differently, at random.
    format!("bench_{name}_{:016x}", RandomState::new().build_hasher().finish())
}

/// A program that was built beside this one.
pub(super) fn sibling_program(name: &str) -> anyhow::Result<PathBuf> {
    let mut path = std::env::current_exe().context("this program cannot be found")?;
    path.set_file_name(name);
    Ok(path)
}

/// The checkout that this program was built from.
pub(crate) fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The last lines of a log, for an error.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
