//! `Idempotency-Key`: a request that is sent again gets the answer it got before.
//!
//! Events are told once whatever is repeated, so the key protects the answer: a client that lost it
//! learns what it would have read. Answers are kept in the store, so any node gives them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use tidings_core::{
    error_chain::ErrorChain,
    ports::{KeptAnswer, MAX_IDEMPOTENCY_KEY_BYTES, RequestKey},
};

use super::{error::Problem, state::App};
use crate::auth::Caller;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longer answers are not kept: a request that is repeated is answered anew, with duplicates.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The header, if the request has it.
pub(super) struct IdempotencyKey(Option<String>);

impl FromRequestParts<Arc<App>> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(&IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = value.to_str().unwrap_or_default();
        if (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) {
            return Ok(Self(Some(key.to_owned())));
        }
        let detail = format!("has from 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
        Err(Problem::bad_input("Idempotency-Key", detail))
    }
}

/// Requests with a key that this node is answering.
#[derive(Debug, Default)]
pub struct RequestsUnderWay(Mutex<HashSet<RequestKey>>);

impl RequestsUnderWay {
    fn begin(&self, key: &RequestKey) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone())
    }

    fn end(&self, key: &RequestKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(key);
    }
}

/// A request that its sender may repeat, while it is being answered.
pub(super) struct Repeatable<'a> {
    app: &'a App,
    key: RequestKey,
}

impl Drop for Repeatable<'_> {
    fn drop(&mut self) {
        self.app.requests.end(&self.key);
    }
}

impl<'a> Repeatable<'a> {
    /// Begins to answer; `None` for a request without a key.
    pub(super) fn begin(
        app: &'a App,
        caller: &Caller,
        key: IdempotencyKey,
    ) -> Result<Option<Self>, Problem> {
        let IdempotencyKey(Some(key)) = key else { return Ok(None) };
        let sender = match caller {
            Caller::Open => String::new(),
            Caller::Server { name, .. } => name.clone(),
            Caller::User(token) => format!("user:{}", token.user),
        };
        let key = RequestKey { sender, key };
        if app.requests.begin(&key) {
            return Ok(Some(Self { app, key }));
        }
        let detail = "a request with this key is being answered; send it again later";
        let status = StatusCode::CONFLICT;
        Err(Problem::new(status, "request-under-way", "Request under way", detail))
    }

    /// What the request was answered before, if it was.
    pub(super) async fn kept(&self) -> Result<Option<KeptAnswer>, Problem> {
        Ok(self.app.answers.find_answer(&self.key).await?)
    }

    /// Keeps an answer. One that cannot be kept is given all the same.
    pub(super) async fn keep(&self, digest: RequestDigest, status: StatusCode, body: &[u8]) {
        if body.len() > MAX_KEPT_BYTES {
            return;
        }
        let answer = KeptAnswer {
            request_digest: digest.finish(),
            status: status.as_u16(),
            body: body.to_vec(),
            at: self.app.clock.now(),
        };
        if let Err(error) = self.app.answers.put_answer(&self.key, answer).await {
            tracing::warn!(error = %ErrorChain(&error), "an answer was not kept");
        }
    }
}

/// Tells requests apart that come with the same key.
#[derive(Default)]
pub(super) struct RequestDigest(Sha256);

impl RequestDigest {
    /// The digest of a request to `path`.
    pub(super) fn of(path: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(path);
        digest.update([0]);
        Self(digest)
    }

    /// Takes a piece of the body.
    pub(super) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Gives an answer again, provided that the request is the same.
pub(super) fn again(kept: KeptAnswer, digest: RequestDigest) -> Result<Response, Problem> {
    if kept.request_digest != digest.finish() {
        let detail = "another request was answered under this key; take a new one";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::new(status, "key-reused", "Idempotency key reused", detail));
    }
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = json(status, kept.body);
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// An answer of JSON that is written already.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, body).into_response()
}
