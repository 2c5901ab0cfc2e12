//! The versions of lists, and the marks of those who write: in this process, or in Redis for all nodes.

mod connect;
mod lapse;
mod link;
mod local;
mod scripts;
mod shared;

pub(super) use link::Fill;
use local::LocalVersions;
pub(super) use shared::SharedVersions;

use super::scope::{Scope, Standing};

/// The versions of lists, and the marks of those who write.
pub(super) enum Versions {
    Local(LocalVersions),
    Shared(Box<SharedVersions>),
}

/// That scopes are marked, or need not be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Whose mark it is.
    operation: u64,
    /// The version that nobody has seen, under which the scopes are marked.
    version: u64,
    /// Whether nobody else is writing to any of the scopes.
    pub(super) is_alone: bool,
}

impl Mark {
    fn new() -> Self {
        Self { operation: rand::random(), version: rand::random(), is_alone: false }
    }
}

impl Versions {
    pub(super) fn local(write_lease: std::time::Duration) -> Self {
        Self::Local(LocalVersions::new(write_lease))
    }

    /// Reads the versions of `scopes`, and with them what the other nodes have kept under `name`.
    pub(super) async fn look(
        &self,
        scopes: &[Scope],
        name: Option<&[u8]>,
    ) -> (Standing, Option<Vec<u8>>) {
        match self {
            Self::Local(versions) => (versions.look(scopes), None),
            Self::Shared(versions) => versions.look(scopes, name).await,
        }
    }

    /// Reads what the other nodes have kept under `name`.
    pub(super) async fn fetch(&self, name: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Local(_) => None,
            Self::Shared(versions) => versions.fetch(name).await,
        }
    }

    /// Marks `scopes`: when it returns, nobody anywhere holds an answer that depends on them for valid,
    /// until the mark is taken away or its lease is over.
    pub(super) async fn mark(&self, scopes: &[Scope]) -> Mark {
        match self {
            Self::Local(versions) => versions.mark(scopes),
            Self::Shared(versions) => versions.mark(scopes).await,
        }
    }

    /// Gives `scopes` new versions and takes the mark away: when it returns, what was kept before counts
    /// nowhere. Says whether nobody else has written to them since they were marked.
    pub(super) async fn settle(&self, scopes: &[Scope], mark: Mark) -> bool {
        metrics::counter!("tidings_graph_cache_invalidations_total").increment(scopes.len() as u64);
        match self {
            Self::Local(versions) => versions.settle(scopes, mark),
            Self::Shared(versions) => versions.settle(scopes, mark).await,
        }
    }

    /// Lets the mark stand until its lease is over: nobody knows whether the write has been done, or will be.
    pub(super) fn leave(&self, scopes: Vec<Scope>) {
        metrics::counter!("tidings_graph_cache_unsettled_total").increment(1);
        match self {
            Self::Local(versions) => versions.leave(&scopes),
            Self::Shared(versions) => versions.leave(scopes),
        }
    }
}
