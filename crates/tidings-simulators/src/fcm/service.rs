//! From request to answer.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, StatusCode};
use rand::Rng;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::FcmControl;
use super::message::{self, Target};
use super::oauth::TokenEndpoint;
use super::refusal::{Refusal, Status};
use crate::ledger::Entry;
use crate::transport::{Answer, Body, GoAwayCause, Protocol, Service};
use crate::{Clock, Ledger};

const TOKEN_PATH: &str = "/token";

pub(super) struct FcmService {
    pub(super) project_id: String,
    pub(super) identity_key: String,
    pub(super) endpoint: Arc<TokenEndpoint>,
    pub(super) control: FcmControl,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
}

/// A message that is right, and whether it only was to be checked.
enum Judged<'a> {
    Send(Entry<'a>),
    ValidateOnly,
}

impl FcmService {
    fn judge<'a>(&self, head: &Parts, body: &'a Body, now_ms: i64) -> Result<Judged<'a>, Refusal> {
        let project_id = project_of(head.uri.path());
        let project_id = project_id.filter(|_| head.method == Method::POST);
        let project_id = project_id.ok_or_else(|| Refusal::plain(Status::NotFound))?;
        self.endpoint.check_bearer(&head.headers, now_ms)?;
        if project_id != self.project_id {
            return Err(Refusal::plain(Status::PermissionDenied));
        }
        let quota = self.control.quota();
        quota
            .take_project(now_ms)
            .map_err(|wait| Refusal::plain(Status::QuotaExceeded).retry_after(Some(wait)))?;
        let Body::Complete(payload) = body else {
            return Err(Refusal::invalid_json("", "Request payload size exceeds the limit."));
        };
        let message = message::judge(payload, &self.identity_key)?;
        if let Some(failure) = self.control.take_failure() {
            return Err(failure.refusal());
        }
        let token = match message.target {
            Target::Device(token) => token,
            Target::Topic(topic) => format!("/topics/{topic}"),
            Target::Condition(condition) => condition,
        };
        let state = self.control.find_device(&token);
        if let Some(refusal) = state.and_then(|state| state.refusal(now_ms)) {
            return Err(refusal);
        }
        if !quota.take_device(&token, now_ms) {
            return Err(Refusal::device_quota());
        }
        if message.validate_only {
            return Ok(Judged::ValidateOnly);
        }
        let (identity, collapse_id) = (message.identity, message.collapse_key);
        Ok(Judged::Send(Entry { identity, token, collapse_id, payload }))
    }

    /// `0:<microseconds>%<16 hex digits>`, the form that senders see.
    fn message_id(now_ms: i64) -> String {
        let mut random = rand::rng();
        let micros = now_ms.saturating_mul(1_000).saturating_add(random.random_range(0..1_000));
        format!("0:{micros}%{:016x}", random.random::<u64>())
    }
}

impl Service for FcmService {
    type Connection = ();

    const PROTOCOLS: &'static [Protocol] = &[Protocol::Http2, Protocol::Http1];

    const UNASKED: Option<Protocol> = Some(Protocol::Http1);

    fn connected(&self, _certificate: Option<&CertificateDer<'_>>) {}

    fn answer(&self, (): &(), head: &Parts, body: &Body) -> Answer {
        let now_ms = (self.clock)();
        if head.uri.path() == TOKEN_PATH {
            return self.endpoint.answer(head, body, now_ms);
        }
        let (id, accepted) = match self.judge(head, body, now_ms) {
            Ok(Judged::Send(entry)) => {
                self.ledger.accept(entry);
                (Self::message_id(now_ms), true)
            }
            Ok(Judged::ValidateOnly) => ("fake_message_id".to_owned(), false),
            Err(refusal) => {
                self.ledger.reject(refusal.reason());
                tracing::trace!(reason = refusal.reason(), "message refused");
                return refusal.answer();
            }
        };
        let body = json!({ "name": format!("projects/{}/messages/{id}", self.project_id) });
        Answer { accepted, ..Answer::json(StatusCode::OK, &body) }
    }

    /// Google's own words, as senders have seen them; for an ordered shutdown, too.
    fn go_away_data(&self, cause: &GoAwayCause) -> Cow<'static, [u8]> {
        match cause {
            GoAwayCause::Shutdown | GoAwayCause::IdleTimeout => Cow::Borrowed(b"session_timed_out"),
            GoAwayCause::ExcessStreams => Cow::Borrowed(b"exceeded_max_concurrent_streams"),
            GoAwayCause::Named(reason) => Cow::Owned(reason.clone().into_bytes()),
        }
    }
}

/// The project in `/v1/projects/<id>/messages:send`.
fn project_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/projects/")?
        .strip_suffix("/messages:send")
        .filter(|id| !id.is_empty() && !id.contains('/'))
}
