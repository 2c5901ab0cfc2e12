//! Follows as edge lists, the way SNAP publishes graphs.

use tidings_core::{clock::Timestamp, follow::EdgeKind};

use super::{EdgeLine, EdgeLineError, id};

pub(super) fn read(line: &str) -> Result<Option<EdgeLine>, EdgeLineError> {
    let Some(words) = words(line) else { return Ok(None) };
    match words[..] {
        [follower, followee] => follow(follower, followee, None).map(Some),
        _ => Err(EdgeLineError::Words(words.len())),
    }
}

pub(super) fn read_timed(line: &str) -> Result<Option<EdgeLine>, EdgeLineError> {
    let Some(words) = words(line) else { return Ok(None) };
    match words[..] {
        [follower, followee] => follow(follower, followee, None).map(Some),
        [follower, followee, at] => follow(follower, followee, Some(time(at)?)).map(Some),
        _ => Err(EdgeLineError::TimedWords(words.len())),
    }
}

/// The words of a line; `None` if it is empty or a comment.
fn words(line: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.first().is_some_and(|word| !word.starts_with('#')).then_some(words)
}

fn follow(
    follower: &str,
    followee: &str,
    at: Option<Timestamp>,
) -> Result<EdgeLine, EdgeLineError> {
    Ok(EdgeLine {
        kind: EdgeKind::Follow,
        source: id("follower", follower)?,
        target: id("followee", followee)?,
        at,
    })
}

fn time(text: &str) -> Result<Timestamp, EdgeLineError> {
    let millis = text.parse().ok();
    // A time that is moved to fit would be as old as others that are not.
    let at = millis.map(Timestamp::from_millis).filter(|at| Some(at.as_millis()) == millis);
    at.ok_or_else(|| EdgeLineError::Integer {
        text: text.to_owned(),
        most: Timestamp::from_millis(i64::MAX).as_millis(),
    })
}
