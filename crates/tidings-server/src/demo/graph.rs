//! The follow graph of the demo: a real one that ships in the binary, or a file.

use std::{
    fs::File,
    io::{BufRead, BufReader, Cursor, Read},
    path::Path,
};

use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use tidings_core::ids::UserId;
use tidings_graph::edge_list;

const SMALL: &[u8] = include_bytes!("../../../../data/wiki-vote.txt.gz");
const MEDIUM: &[u8] = include_bytes!("../../../../data/epinions.txt.gz");

/// Who follows whom, with users numbered from 0.
pub struct DemoGraph {
    /// The name for people.
    pub(super) name: String,
    /// The users' ids.
    pub(super) users: Vec<UserId>,
    /// All follows, `(follower, followee)`.
    pub follows: Vec<(u32, u32)>,
    /// Who follows each user.
    pub(super) followers: Vec<Vec<u32>>,
}

impl DemoGraph {
    /// Loads `small`, `medium`, or an edge list file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has a line that is not an edge.
    pub fn load(which: &str) -> anyhow::Result<Self> {
        match which {
            "small" => Self::read("wiki-vote", &mut unzip(SMALL)),
            "medium" => Self::read("epinions", &mut unzip(MEDIUM)),
            path => {
                let file = File::open(path).with_context(|| {
                    format!("{path:?} is neither `small`, `medium` nor a readable edge list")
                })?;
                let is_gzip = Path::new(path).extension().is_some_and(|it| it == "gz");
                let reader: Box<dyn Read> =
                    if is_gzip { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
                Self::read(path, &mut BufReader::new(reader))
            }
        }
    }

    fn read(name: &str, reader: &mut dyn BufRead) -> anyhow::Result<Self> {
        let mut graph = Self {
            name: name.to_owned(),
            users: Vec::new(),
            follows: Vec::new(),
            followers: Vec::new(),
        };
        let mut numbers = std::collections::HashMap::new();
        for edge in edge_list::read(reader) {
            let (follower, followee) = edge.with_context(|| format!("in the graph {name}"))?;
            let follower = graph.number(&mut numbers, &follower)?;
            let followee = graph.number(&mut numbers, &followee)?;
            if follower != followee {
                graph.follows.push((follower, followee));
            }
        }
        graph.follows.sort_unstable();
        graph.follows.dedup();
        for (follower, followee) in &graph.follows {
            graph.followers[*followee as usize].push(*follower);
        }
        if graph.follows.is_empty() {
            bail!("the graph {name} has no follows");
        }
        Ok(graph)
    }

    fn number(
        &mut self,
        numbers: &mut std::collections::HashMap<String, u32>,
        name: &str,
    ) -> anyhow::Result<u32> {
        if let Some(number) = numbers.get(name) {
            return Ok(*number);
        }
        let number = u32::try_from(self.users.len()).context("too many users")?;
        self.users.push(UserId::new(&format!("u_{name}")).context("not a user id")?);
        self.followers.push(Vec::new());
        numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Follows as the lines of an import (NDJSON).
    #[must_use]
    pub fn import_lines(&self, follows: &[(u32, u32)]) -> String {
        let line = |(follower, followee): &(u32, u32)| {
            let [follower, followee] = [*follower, *followee].map(|it| self.user(it).as_str());
            format!("{}\n", serde_json::json!({"follower": follower, "followee": followee}))
        };
        follows.iter().map(line).collect()
    }

    /// The id of a user.
    pub(super) fn user(&self, number: u32) -> &UserId {
        &self.users[number as usize]
    }
}

fn unzip(bytes: &'static [u8]) -> BufReader<GzDecoder<Cursor<&'static [u8]>>> {
    BufReader::new(GzDecoder::new(Cursor::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graphs_that_ship_are_those_that_data_readme_describes() {
        for (which, users, follows, most_followers) in
            [("small", 7_115, 103_689, 457), ("medium", 75_879, 508_837, 3_035)]
        {
            let graph = DemoGraph::load(which).unwrap();
            assert_eq!((graph.users.len(), graph.follows.len()), (users, follows));
            assert_eq!(graph.followers.iter().map(Vec::len).max(), Some(most_followers));
        }
    }
}
