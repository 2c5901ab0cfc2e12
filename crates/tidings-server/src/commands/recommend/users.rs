//! For whom to recommend.

use std::{collections::VecDeque, vec};

use anyhow::{Context, bail};
use serde::Deserialize;
use tidings_client::Api;
use tidings_core::ids::UserId;

use super::patiently;

/// Edges that are asked for at a time: what is held of the graph.
const PART: u64 = 20_000;

/// For whom to recommend, one after the other.
pub(super) enum Users {
    Named { users: vec::IntoIter<UserId>, done: u64 },
    All(Box<Sources>),
}

impl Users {
    pub(super) fn named(names: &[String]) -> anyhow::Result<Self> {
        let users = names
            .iter()
            .map(|name| UserId::new(name).with_context(|| format!("{name:?} is not a user id")));
        let users: Vec<_> = users.collect::<anyhow::Result<_>>()?;
        Ok(Self::Named { users: users.into_iter(), done: 0 })
    }

    /// Everyone who follows somebody, in the order of an export; after a user, if told.
    pub(super) async fn all(api: Api, after: Option<UserId>) -> anyhow::Result<Self> {
        let size = patiently(async || api.graph_size().await).await?;
        let total = size.follows + size.blocks + size.mutes;
        Ok(Self::All(Box::new(Sources {
            api,
            total,
            after,
            read: 0,
            last: None,
            cursor: None,
            is_done: false,
            waiting: VecDeque::new(),
        })))
    }

    /// The highest position.
    pub(super) fn total(&self) -> u64 {
        match self {
            Self::Named { users, .. } => users.len() as u64,
            Self::All(sources) => sources.total,
        }
    }

    /// The next user, and how far that is.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<(UserId, u64)>> {
        match self {
            Self::Named { users, done } => {
                *done += 1;
                Ok(users.next().map(|user| (user, *done)))
            }
            Self::All(sources) => sources.next().await,
        }
    }
}

/// Everyone who follows somebody: the follows of a user come together in an export.
pub(super) struct Sources {
    api: Api,
    total: u64,
    /// Those up to this one are passed over.
    after: Option<UserId>,
    read: u64,
    last: Option<UserId>,
    cursor: Option<String>,
    is_done: bool,
    waiting: VecDeque<(UserId, u64)>,
}

/// What is looked at of an edge: blocks and mutes have no follower.
#[derive(Deserialize)]
struct Line {
    follower: Option<UserId>,
}

impl Sources {
    async fn next(&mut self) -> anyhow::Result<Option<(UserId, u64)>> {
        while self.waiting.is_empty() && !self.is_done {
            self.read_part().await?;
        }
        let next = self.waiting.pop_front();
        if let (None, Some(after)) = (&next, &self.after) {
            bail!(
                "{after}, who --after names, follows nobody now: begin anew, or after another user"
            );
        }
        Ok(next)
    }

    async fn read_part(&mut self) -> anyhow::Result<()> {
        let from = self.cursor.as_deref();
        let part = patiently(async || self.api.export_edges(PART, from).await).await?;
        for line in part.lines.lines() {
            self.read += 1;
            let line: Line =
                serde_json::from_str(line).context("the node exports lines that are no edges")?;
            let Some(follower) = line.follower else { continue };
            if self.last.as_ref() == Some(&follower) {
                continue;
            }
            self.last = Some(follower.clone());
            match &self.after {
                None => self.waiting.push_back((follower, self.read)),
                Some(after) if *after == follower => self.after = None,
                Some(_) => {}
            }
        }
        self.is_done = part.next.is_none();
        self.cursor = part.next;
        Ok(())
    }
}
