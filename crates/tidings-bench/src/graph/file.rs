//! A real graph, from a file.

use std::{
    collections::HashMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tidings_graph::edge_list;

use super::people::People;

/// An edge list that was packed by gzip.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GraphFile {
    pub(super) path: PathBuf,
    /// Whether each line is a pair of friends, who follow each other.
    pub(super) is_mutual: bool,
}

/// What is in it.
#[derive(Debug)]
pub(super) struct FileGraph {
    edges: Vec<(u64, u64)>,
    /// Most followed first.
    popular: Vec<u64>,
    /// Those who follow the most first.
    busy: Vec<u64>,
}

impl GraphFile {
    /// Reads it; users are numbered as they come.
    pub(super) fn read(&self) -> anyhow::Result<FileGraph> {
        let whole = || format!("{} is no edge list", self.path.display());
        read(&self.path, self.is_mutual).with_context(whole)
    }
}

fn read(path: &Path, is_mutual: bool) -> anyhow::Result<FileGraph> {
    let unpacked = BufReader::new(MultiGzDecoder::new(BufReader::new(File::open(path)?)));
    let mut numbers = HashMap::new();
    let mut edges = Vec::new();
    for edge in edge_list::read(unpacked) {
        let (follower, followee) = edge?;
        let mut number = |id: String| {
            let next = numbers.len() as u64;
            *numbers.entry(id).or_insert(next)
        };
        let ends = (number(follower), number(followee));
        edges.push(ends);
        if is_mutual {
            edges.push((ends.1, ends.0));
        }
    }
    let users = numbers.len() as u64;
    let popular = by_count(users, edges.iter().map(|it| it.1));
    let busy = by_count(users, edges.iter().map(|it| it.0));
    Ok(FileGraph { edges, popular, busy })
}

/// All users, those first who come most often.
fn by_count(users: u64, seen: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut counts = HashMap::new();
    for user in seen {
        *counts.entry(user).or_insert(0u64) += 1;
    }
    let mut ranked: Vec<_> = (0..users).collect();
    ranked.sort_by_key(|user| std::cmp::Reverse(counts.get(user).copied().unwrap_or(0)));
    ranked
}

fn at(list: &[u64], rank: u64) -> u64 {
    // A graph may be smaller than what is asked of it.
    let place = rank % (list.len() as u64).max(1);
    usize::try_from(place).ok().and_then(|place| list.get(place)).copied().unwrap_or(0)
}

impl People for FileGraph {
    fn users(&self) -> u64 {
        self.popular.len() as u64
    }

    fn follows(&self) -> u64 {
        self.edges.len() as u64
    }

    fn ends(&self, n: u64) -> Option<(u64, u64)> {
        let ends = self.edges.get(usize::try_from(n).ok()?).copied()?;
        (ends.0 != ends.1).then_some(ends)
    }

    fn popular(&self, rank: u64) -> u64 {
        at(&self.popular, rank)
    }

    fn busy(&self, rank: u64) -> u64 {
        at(&self.busy, rank)
    }

    fn stride(&self) -> usize {
        super::queries::PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::repo_root;

    #[test]
    fn a_file_is_read_whole_and_its_celebrity_comes_first() {
        let path = repo_root().join("data/facebook-combined.txt.gz");
        let graph = GraphFile { path, is_mutual: true }.read().unwrap();
        // As its README says.
        assert_eq!((graph.users(), graph.follows()), (4_039, 176_468));
        let of = |user| graph.edges.iter().filter(|it| it.1 == user).count();
        assert_eq!(of(graph.popular(0)), 1_045);
        assert!(of(graph.popular(1)) >= of(graph.popular(2)));
        assert_eq!(graph.popular(4_039), graph.popular(0));
    }
}
