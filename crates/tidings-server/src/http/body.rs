//! Request bodies, read within limits.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Problem;

/// The longest body where there is no need for long ones: of what users' tokens may send, which have no part
/// in the room for those.
const JSON_BYTES: usize = 1024 * 1024;
/// Bodies up to so many bytes take no room: there are as many of them at most as there are connections, and
/// `server.unattended_max` whose clients have gone.
const SMALL_BYTES: usize = 64 * 1024;
/// Room is counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;
/// When to come again if there is no room: bodies come and go within less.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

/// How much bodies may have, each and all together.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// The longest, in bytes.
    pub(super) one_bytes: usize,
    room: Arc<Semaphore>,
}

impl BodyLimits {
    /// `one_bytes` for each, and `all_bytes` for all that are held at once and are not small.
    #[must_use]
    pub fn new(one_bytes: usize, all_bytes: usize) -> Self {
        let units = all_bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { one_bytes, room: Arc::new(Semaphore::new(units)) }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(units).map_err(|_| {
            metrics::counter!("tidings_http_bodies_refused_total").increment(1);
            let detail =
                "the long bodies that are being read take all of server.bodies_limit_bytes";
            Problem::too_busy(detail, NO_ROOM_RETRY)
        })
    }
}

/// A whole body, and the room that it takes for as long as it lives.
pub(super) struct Whole {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for Whole {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a whole body, which may be long.
pub(super) async fn read(body: Body, limits: &BodyLimits) -> Result<Whole, Problem> {
    let mut pieces = Pieces::new(body, limits.one_bytes);
    let mut bytes = Vec::new();
    let mut room: Option<OwnedSemaphorePermit> = None;
    while let Some(piece) = pieces.next().await? {
        let taken = room.as_ref().map_or(SMALL_BYTES, |it| it.num_permits() * UNIT_BYTES);
        if bytes.len() + piece.len() > taken {
            // As much again each time, as the buffer grows; never more than the longest body.
            let enough = (bytes.len() + piece.len()).max(2 * taken).min(limits.one_bytes);
            let held = room.as_ref().map_or(0, |_| taken);
            let more = limits.take(enough.saturating_sub(held))?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Whole { bytes, _room: room })
}

/// Reads a body of a MiB at most.
pub(super) async fn read_short(body: Body, limits: &BodyLimits) -> Result<Vec<u8>, Problem> {
    let mut pieces = Pieces::new(body, limits.one_bytes.min(JSON_BYTES));
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads a body of a MiB at most as JSON, naming the field that does not fit.
pub(super) async fn read_json<T: DeserializeOwned>(
    body: Body,
    limits: &BodyLimits,
) -> Result<T, Problem> {
    parse(&read_short(body, limits).await?)
}

/// The same of a body that may be long; for server keys only.
pub(super) async fn read_long_json<T: DeserializeOwned>(
    body: Body,
    limits: &BodyLimits,
) -> Result<T, Problem> {
    parse(&read(body, limits).await?)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "" } else { &path };
        Problem::bad_input(field, error.inner().to_string())
    })
}

/// The pieces of a body as they arrive, at most `limit` bytes in all.
pub(super) struct Pieces {
    stream: axum::body::BodyDataStream,
    limit: usize,
    left: usize,
}

impl Pieces {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self { stream: body.into_data_stream(), limit, left: limit }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(piece) = self.stream.next().await else { return Ok(None) };
        let piece = piece
            .map_err(|error| Problem::bad_input("", format!("the body broke off: {error}")))?;
        self.left = self
            .left
            .checked_sub(piece.len())
            .ok_or_else(|| Problem::body_too_large(self.limit))?;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: usize) -> Body {
        let piece = Bytes::from_static(&[b'x'; 16 * 1024]);
        let pieces = (0..pieces).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn long_bodies_share_the_room_that_there_is_and_give_it_back() {
        let limits = BodyLimits::new(1 << 20, 1 << 20);
        let whole = read(body(64), &limits).await.ok().unwrap();
        assert_eq!((whole.len(), limits.room.available_permits()), (1 << 20, 0));
        // What is small is taken all the same.
        let small = read(body(4), &limits).await.ok().unwrap();
        assert_eq!(small.len(), SMALL_BYTES);
        assert!(read(body(5), &limits).await.is_err());
        drop(whole);
        assert_eq!(limits.room.available_permits(), 1024);
        let first = read(body(20), &limits).await.ok().unwrap();
        assert_eq!(limits.room.available_permits(), 1024 - 512);
        let second = read(body(20), &limits).await.ok().unwrap();
        assert!(read(body(5), &limits).await.is_err());
        drop((first, second));
        assert_eq!(limits.room.available_permits(), 1024);
    }

    #[tokio::test]
    async fn one_of_the_longest_fits_whatever_the_limits() {
        for limit in [1 << 20, 10_000_000] {
            let limits = BodyLimits::new(limit, limit);
            let longest = read(body(limit / (16 * 1024)), &limits).await.ok().unwrap();
            assert!(longest.len() + 16 * 1024 > limit);
        }
    }

    #[tokio::test]
    async fn a_short_body_takes_no_room_and_is_short() {
        let limits = BodyLimits::new(1 << 25, 1 << 25);
        let whole = read_short(body(64), &limits).await.ok().unwrap();
        assert_eq!((whole.len(), limits.room.available_permits()), (1 << 20, 1 << 15));
        assert!(read_short(body(65), &limits).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused_and_holds_nothing() {
        let limits = BodyLimits::new(100_000, 1 << 20);
        assert!(read(body(7), &limits).await.is_err());
        assert_eq!(limits.room.available_permits(), 1024);
        let longest = read(body(6), &limits).await.ok().unwrap();
        assert_eq!(limits.room.available_permits(), 1024 - 98);
        drop(longest);
    }
}
