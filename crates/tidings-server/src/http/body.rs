//! Request bodies, read within a limit.

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut pieces = Pieces::new(body, limit);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads a body as JSON, naming the field that does not fit.
pub(super) async fn read_json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Problem> {
    let bytes = read(body, limit).await?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
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
