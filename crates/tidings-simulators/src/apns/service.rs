//! From request to answer.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use uuid::Uuid;

use super::headers::{self, APNS_ID};
use super::token::{ConnectionTokens, ProviderKey, Verifier};
use super::{ApnsControl, ApnsReason, device, payload};
use crate::http2::{Answer, Body, Service};
use crate::ledger::Entry;
use crate::{Clock, Ledger, SimulatorError};

const DEVICE_PATH: &str = "/3/device";

pub(super) struct ApnsService {
    verifier: Verifier,
    topics: Vec<String>,
    control: ApnsControl,
    ledger: Arc<Ledger>,
    clock: Clock,
}

struct Refusal {
    reason: ApnsReason,
    timestamp_ms: Option<i64>,
}

impl From<ApnsReason> for Refusal {
    fn from(reason: ApnsReason) -> Self {
        Self { reason, timestamp_ms: None }
    }
}

impl ApnsService {
    pub(super) fn new(
        keys: &[ProviderKey],
        topics: Vec<String>,
        control: ApnsControl,
        ledger: Arc<Ledger>,
        clock: Clock,
    ) -> Result<Self, SimulatorError> {
        Ok(Self { verifier: Verifier::new(keys)?, topics, control, ledger, clock })
    }

    fn judge<'a>(
        &self,
        tokens: &ConnectionTokens,
        head: &Parts,
        body: &'a Body,
        apns_id: Uuid,
    ) -> Result<Entry<'a>, Refusal> {
        let token = device_token(head.uri.path())?;
        if head.method != Method::POST {
            return Err(ApnsReason::MethodNotAllowed.into());
        }
        let now_secs = (self.clock)().div_euclid(1_000);
        let authorization = head.headers.get(http::header::AUTHORIZATION);
        tokens.check(&self.verifier, authorization, now_secs)?;
        headers::message_id(&head.headers)?;
        let headers = headers::check(&head.headers, &self.topics)?;
        let payload = payload::check(body, headers.push_type)?;
        if let Some(failure) = self.control.take_failure() {
            return Err(ApnsReason::from(failure).into());
        }
        if !device::is_well_formed(token) {
            return Err(ApnsReason::BadDeviceToken.into());
        }
        let token = token.to_ascii_lowercase();
        if let Some(state) = self.control.find_device(&token) {
            let (reason, timestamp_ms) = state.refusal();
            return Err(Refusal { reason, timestamp_ms });
        }
        let identity = Some(apns_id.to_string());
        Ok(Entry { identity, token, collapse_id: headers.collapse_id, payload })
    }
}

impl Service for ApnsService {
    type Connection = ConnectionTokens;

    // Inferred from aioapns, a client in wide use, which offers no protocol and is served.
    const HTTP2_UNASKED: bool = true;

    fn connected(&self) -> ConnectionTokens {
        ConnectionTokens::default()
    }

    fn answer(&self, tokens: &ConnectionTokens, head: &Parts, body: &Body) -> Answer {
        // Every answer has an apns-id: the client's, in lowercase, or a new one.
        let apns_id = headers::message_id(&head.headers).ok().flatten();
        let apns_id = apns_id.unwrap_or_else(Uuid::now_v7);
        let echo = HeaderValue::from_str(&apns_id.to_string());
        let headers = echo.map(|id| vec![(APNS_ID, id)]).unwrap_or_default();
        match self.judge(tokens, head, body, apns_id) {
            Ok(push) => {
                self.ledger.accept(push);
                Answer { status: StatusCode::OK, headers, body: Bytes::new(), accepted: true }
            }
            Err(Refusal { reason, timestamp_ms }) => {
                self.ledger.reject(reason.as_str());
                tracing::trace!(reason = reason.as_str(), "push refused");
                let body = match timestamp_ms {
                    None => serde_json::json!({ "reason": reason.as_str() }),
                    Some(at) => serde_json::json!({ "reason": reason.as_str(), "timestamp": at }),
                };
                let body = body.to_string().into();
                Answer { status: reason.status(), headers, body, accepted: false }
            }
        }
    }
}

fn device_token(path: &str) -> Result<&str, ApnsReason> {
    match path.strip_prefix(DEVICE_PATH) {
        Some("" | "/") => Err(ApnsReason::MissingDeviceToken),
        Some(rest) => match rest.strip_prefix('/') {
            Some(token) if !token.contains('/') => Ok(token),
            _ => Err(ApnsReason::BadPath),
        },
        None => Err(ApnsReason::BadPath),
    }
}
