//! The part of the HTTP API that moves, sizes and trims the social graph.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tidings_core::ids::UserId;

use crate::{
    api::{Api, Imported},
    error::ApiError,
};

/// A part of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportPart {
    /// Edges as lines of JSON, each with its end.
    pub lines: String,
    /// How many they are.
    pub edges: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// How large the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphSize {
    /// Users that it knows.
    pub users: u64,
    /// Follows.
    pub follows: u64,
    /// Blocks.
    pub blocks: u64,
    /// Mutes.
    pub mutes: u64,
}

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Erased {
    removed: u64,
}

/// The line after a page of edges.
#[derive(Deserialize)]
struct Next {
    next: String,
}

impl ExportPart {
    /// Takes the places apart from the edges; the last place is where the part ends.
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut part = Self { lines: String::with_capacity(text.len()), ..Self::default() };
        for line in text.lines() {
            if line.starts_with(r#"{"next""#) {
                part.next = Some(serde_json::from_str::<Next>(line)?.next);
            } else {
                part.lines.push_str(line);
                part.lines.push('\n');
                part.edges += 1;
                // Edges behind the last place: the end of the graph.
                part.next = None;
            }
        }
        Ok(part)
    }
}

impl Api {
    /// Imports edges, NDJSON lines as an export has them.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; some edges may be in, importing again is safe.
    pub async fn import_edges(&self, lines: String) -> Result<Imported, ApiError> {
        self.send(Method::POST, &["v1", "graph", "import"], lines).await
    }

    /// Up to `limit` edges of the whole graph, from `cursor` on, which is [`ExportPart::next`] of the
    /// part before.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn export_edges(
        &self,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<ExportPart, ApiError> {
        let mut url = self.url(&["v1", "graph", "export"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
        }
        let text = self.fetch(url).await?;
        ExportPart::read(&text).map_err(|source| self.unreadable(source))
    }

    /// How large the graph is.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn graph_size(&self) -> Result<GraphSize, ApiError> {
        self.send(Method::GET, &["v1", "graph", "stats"], String::new()).await
    }

    /// Erases a user from the graph; says how many edges are gone.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; some edges may be gone, erasing again is safe.
    pub async fn erase_from_graph(&self, user: &UserId) -> Result<u64, ApiError> {
        let path = ["v1", "users", user.as_str(), "graph"];
        let Erased { removed } = self.send(Method::DELETE, &path, String::new()).await?;
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_at_its_last_place_or_at_the_end_of_the_graph() {
        let edge = |n: u32| format!("{{\"follower\":\"{n}\",\"followee\":\"b\"}}\n");
        let text = format!("{}{{\"next\":\"x1\"}}\n{}{{\"next\":\"x2\"}}\n", edge(1), edge(2));
        let part = ExportPart::read(&text).unwrap();
        let lines = edge(1) + &edge(2);
        assert_eq!(part, ExportPart { lines, edges: 2, next: Some("x2".into()) });
        let part = ExportPart::read(&(text + &edge(3))).unwrap();
        assert_eq!((part.edges, part.next), (3, None));
        assert_eq!(ExportPart::read("").unwrap(), ExportPart::default());
        assert!(ExportPart::read("{\"next\":1}\n").is_err());
    }
}
