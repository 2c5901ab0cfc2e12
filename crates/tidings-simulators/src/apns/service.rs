//! From request to answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::certificate::PushCertificate;
use super::connection::{ApnsConnection, StreamTrust};
use super::headers::{self, APNS_ID, PushHeaders, Topics};
use super::token::Verifier;
use super::{ApnsControl, ApnsDeviceState, ApnsEnvironment, ApnsReason, device, payload};
use crate::ledger::Entry;
use crate::transport::{Answer, Body, ClientCertificates, GoAwayCause, Protocol, Service};
use crate::{Clock, Ledger};

const DEVICE_PATH: &str = "/3/device";

const APNS_UNIQUE_ID: HeaderName = HeaderName::from_static("apns-unique-id");

pub(super) struct ApnsService {
    pub(super) verifier: Verifier,
    pub(super) topics: Vec<String>,
    pub(super) environment: ApnsEnvironment,
    pub(super) trust: StreamTrust,
    pub(super) control: ApnsControl,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
}

/// A push that is accepted, and how it is kept if its device is offline.
struct Accepted<'a> {
    entry: Entry<'a>,
    kept: Option<Kept>,
}

/// How a push waits for a device that is offline: one of each topic, until its expiration.
struct Kept {
    topic: String,
    until_ms: Option<i64>,
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
    fn judge<'a>(
        &self,
        connection: &ApnsConnection,
        head: &Parts,
        body: &'a Body,
        apns_id: Uuid,
    ) -> Result<Accepted<'a>, Refusal> {
        let token = device_token(head.uri.path())?;
        if head.method != Method::POST {
            return Err(ApnsReason::MethodNotAllowed.into());
        }
        let now_ms = (self.clock)();
        let headers = self.check_sender(connection, head, now_ms.div_euclid(1_000))?;
        let payload = payload::check(body, headers.push_type)?;
        if let Some(failure) = self.control.take_failure() {
            return Err(ApnsReason::from(failure).into());
        }
        if !device::is_well_formed(token) {
            return Err(ApnsReason::BadDeviceToken.into());
        }
        let token = token.to_ascii_lowercase();
        let state = self.control.find_device(&token);
        if let Some((reason, timestamp_ms)) = state.and_then(|state| state.refusal(now_ms)) {
            return Err(Refusal { reason, timestamp_ms });
        }
        let offline = state == Some(ApnsDeviceState::Offline);
        // An expiration in the past, as 0 is, means that it is not kept.
        let until_ms = headers.expires_at_secs.map(|secs| secs.saturating_mul(1_000));
        let is_kept = offline && until_ms.is_none_or(|until_ms| now_ms < until_ms);
        let kept = is_kept.then_some(Kept { topic: headers.topic, until_ms });
        let identity = Some(apns_id.to_string());
        let entry = Entry { identity, token, collapse_id: headers.collapse_id, payload };
        Ok(Accepted { entry, kept })
    }

    /// Who sends, by certificate or provider token, and whether headers and topic are right for that
    /// sender.
    fn check_sender(
        &self,
        connection: &ApnsConnection,
        head: &Parts,
        now_secs: i64,
    ) -> Result<PushHeaders, ApnsReason> {
        // With a certificate the header is ignored.
        if let Some(certificate) = &connection.certificate {
            let certificate = certificate.as_ref().map_err(|reason| *reason)?;
            headers::message_id(&head.headers)?;
            return headers::check(&head.headers, Topics::OfCertificate(&certificate.topics));
        }
        let key = connection.tokens.check(
            &self.verifier,
            head.headers.get(http::header::AUTHORIZATION),
            now_secs,
            self.control.expired_up_to_secs(),
        )?;
        headers::message_id(&head.headers)?;
        let headers = headers::check(&head.headers, Topics::OfBundles(&self.topics))?;
        if !key.is_for(&headers.topic) {
            return Err(ApnsReason::UnrelatedKeyIdInToken);
        }
        Ok(headers)
    }
}

impl Service for ApnsService {
    type Connection = ApnsConnection;

    const PROTOCOLS: &'static [Protocol] = &[Protocol::Http2];

    // Inferred from aioapns, a client in wide use, which offers no protocol and is served.
    const UNASKED: Option<Protocol> = Some(Protocol::Http2);

    const CLIENT_CERTIFICATES: ClientCertificates = ClientCertificates::Optional;

    fn connected(&self, certificate: Option<&CertificateDer<'_>>) -> ApnsConnection {
        let read = |certificate| PushCertificate::read(certificate, self.environment);
        ApnsConnection::new(certificate.map(read))
    }

    fn answer(&self, connection: &ApnsConnection, head: &Parts, body: &Body) -> Answer {
        // Every answer has an apns-id: the client's, in lowercase, or a new one.
        let apns_id = headers::message_id(&head.headers).ok().flatten();
        let apns_id = apns_id.unwrap_or_else(Uuid::now_v7);
        let mut headers = vec![(APNS_ID, uuid_value(apns_id))];
        if self.environment == ApnsEnvironment::Sandbox {
            headers.push((APNS_UNIQUE_ID, uuid_value(Uuid::now_v7())));
        }
        let judged = self.judge(connection, head, body, apns_id);
        let outcome = judged.as_ref().map(|_| ()).map_err(|refusal| refusal.reason);
        connection.answered(outcome, &self.trust);
        match judged {
            Ok(Accepted { entry, kept }) => {
                let push = self.ledger.accept(entry);
                if let Some(Kept { topic, until_ms }) = kept {
                    self.control.pending().keep(Some(topic), until_ms, push);
                }
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

    fn stream_limit(&self, connection: &ApnsConnection, configured: u32) -> u32 {
        if connection.is_trusted() {
            configured
        } else {
            configured.min(self.trust.untrusted_streams)
        }
    }

    fn go_away_data(&self, cause: &GoAwayCause) -> Cow<'static, [u8]> {
        let reason = match cause {
            GoAwayCause::Shutdown => "Shutdown",
            GoAwayCause::IdleTimeout => "IdleTimeout",
            // Inferred: Apple refuses such streams and says no more.
            GoAwayCause::ExcessStreams => "TooManyRequests",
            GoAwayCause::Named(reason) => reason,
        };
        Cow::Owned(serde_json::json!({ "reason": reason }).to_string().into_bytes())
    }
}

/// A UUID is always a header value; the fallback keeps the code free of a panic.
fn uuid_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
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
