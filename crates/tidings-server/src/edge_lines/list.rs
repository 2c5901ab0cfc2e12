//! Follows as edge lists, the way SNAP publishes graphs.

use tidings_core::follow::EdgeKind;

use super::{EdgeLine, EdgeLineError, id};

pub(super) fn read(line: &str) -> Result<Option<EdgeLine>, EdgeLineError> {
    let mut words = line.split_ascii_whitespace();
    let Some(follower) = words.next().filter(|word| !word.starts_with('#')) else {
        return Ok(None);
    };
    let (Some(followee), None) = (words.next(), words.next()) else {
        return Err(EdgeLineError::Words(line.split_ascii_whitespace().count()));
    };
    Ok(Some(EdgeLine {
        kind: EdgeKind::Follow,
        source: id("follower", follower)?,
        target: id("followee", followee)?,
        at: None,
    }))
}
