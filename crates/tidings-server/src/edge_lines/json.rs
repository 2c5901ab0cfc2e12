//! Edges as JSON objects.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ids::UserId,
};

use super::{EdgeLine, EdgeLineError};

/// What an object may name. One pair has to be whole, and the others absent.
#[derive(Deserialize)]
struct Members {
    follower: Option<UserId>,
    followee: Option<UserId>,
    blocker: Option<UserId>,
    blocked: Option<UserId>,
    muter: Option<UserId>,
    muted: Option<UserId>,
    at: Option<Timestamp>,
    /// Marks a place in an export.
    next: Option<IgnoredAny>,
}

pub(super) fn read(line: &[u8]) -> Result<Option<EdgeLine>, EdgeLineError> {
    let Members { follower, followee, blocker, blocked, muter, muted, at, next } =
        serde_json::from_slice(line)?;
    let (kind, source, target) = match (follower, followee, blocker, blocked, muter, muted) {
        (Some(source), Some(target), None, None, None, None) => (EdgeKind::Follow, source, target),
        (None, None, Some(source), Some(target), None, None) => (EdgeKind::Block, source, target),
        (None, None, None, None, Some(source), Some(target)) => (EdgeKind::Mute, source, target),
        (None, None, None, None, None, None) if next.is_some() => return Ok(None),
        _ => return Err(EdgeLineError::NoPair),
    };
    Ok(Some(EdgeLine { kind, source, target, at }))
}

/// An edge as it is written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum JsonEdge<'a> {
    Follow {
        follower: &'a str,
        followee: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    Block {
        blocker: &'a str,
        blocked: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    Mute {
        muter: &'a str,
        muted: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
}

impl<'a> From<&'a Edge> for JsonEdge<'a> {
    fn from(Edge { kind, source, target, at }: &'a Edge) -> Self {
        Self::new(*kind, source, target, Some(*at))
    }
}

impl<'a> From<&'a EdgeLine> for JsonEdge<'a> {
    fn from(EdgeLine { kind, source, target, at }: &'a EdgeLine) -> Self {
        Self::new(*kind, source, target, *at)
    }
}

impl<'a> JsonEdge<'a> {
    fn new(kind: EdgeKind, source: &'a UserId, target: &'a UserId, at: Option<Timestamp>) -> Self {
        let (source, target) = (source.as_str(), target.as_str());
        match kind {
            EdgeKind::Follow => Self::Follow { follower: source, followee: target, at },
            EdgeKind::Block => Self::Block { blocker: source, blocked: target, at },
            EdgeKind::Mute => Self::Mute { muter: source, muted: target, at },
        }
    }
}

/// Appends an edge as a line.
pub(crate) fn write<'a>(edge: impl Into<JsonEdge<'a>>, lines: &mut Vec<u8>) {
    // Texts in memory: there is no way to fail.
    let _written = serde_json::to_writer(&mut *lines, &edge.into()).is_ok();
    lines.push(b'\n');
}
