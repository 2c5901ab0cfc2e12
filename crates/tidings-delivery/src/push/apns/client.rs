//! Sends pushes to APNs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, StatusCode};
use tidings_core::{
    clock::Clock,
    delivery::{Push, PushAnswer, PushStyle, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tokio::time::Instant;

use super::{
    ApnsAuth, ApnsCertificate, ApnsConfig, ApnsPushType,
    error::{RefusalBody, ends_connection, verdict},
    payload::{APNS_ID, Headers, payload},
    token::ProviderTokens,
};
use crate::push::{
    PushSetupError,
    answer::{retry_after, unanswered, unfit, with_cut, without_id},
    fit::Cuts,
    http2::{
        Answer, CredentialSlot, Endpoint, HTTP2_ONLY, Http2Client, Http2Error, Outgoing, Trust,
    },
};

/// Sends pushes to APNs over a few HTTP/2 connections.
///
/// A push carries its identity as `apns-id` and the device's app as `apns-topic`. It is sent again
/// here only if APNs provably has not processed it, or refused the provider token as expired and a
/// new one may be had, or refused the connection's change of tokens or keys; then with the same
/// identity.
pub struct ApnsClient {
    http: Http2Client,
    sender: Sender,
    clock: Arc<dyn Clock>,
    outage_wait: Duration,
    cuts: Cuts,
}

/// Who sends.
enum Sender {
    Tokens(Box<ProviderTokens>),
    /// The connections say it.
    Certificate(ApnsCertificate),
}

impl ApnsClient {
    /// Reads the key and the certificates; connects when the first push comes.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when the configuration, the key or the certificate cannot be used, or the
    /// certificate has expired.
    pub fn new(config: ApnsConfig, clock: Arc<dyn Clock>) -> Result<Self, PushSetupError> {
        let endpoint = Endpoint::parse(config.endpoint())?;
        let ca_pem = config.ca_pem.as_deref();
        let (trust, sender) = match config.auth {
            ApnsAuth::Token { key_pem, key_id, team_id } => {
                let tokens = ProviderTokens::new(&key_pem, &key_id, &team_id, Arc::clone(&clock))?;
                (Trust::load(ca_pem)?, Sender::Tokens(Box::new(tokens)))
            }
            ApnsAuth::Certificate(certificate) => {
                certificate.check(clock.now())?;
                let trust = Trust::load_for(ca_pem, HTTP2_ONLY, Some(certificate.identity()))?;
                (trust, Sender::Certificate(certificate))
            }
        };
        let outage_wait = Duration::from_millis(config.outage_wait_ms);
        let http = Http2Client::new(endpoint, trust, config.connection);
        Ok(Self { http, sender, clock, outage_wait, cuts: Cuts::new(Platform::Apns) })
    }

    /// Sends `push` as a push of this type; otherwise as [`send`](PushProvider::send) does.
    ///
    /// Types whose payload says more than a notification does are refused, as are those that the
    /// credential does not allow.
    pub async fn send_as(&self, push: &Push, push_type: ApnsPushType) -> PushAnswer {
        if let Some(refusal) = self.refusal(push_type) {
            return refusal;
        }
        let headers = match Headers::of(push, push_type) {
            Ok(headers) => headers,
            Err(reason) => return without_id(Verdict::Reject, reason),
        };
        let (cut, body) = match payload(push, push_type) {
            Ok(rendered) => (self.cuts.note(push, &rendered), rendered.message.into()),
            Err(error) => return unfit(&error),
        };
        let request = Request { headers, body, deadline: self.http.deadline() };
        let answer = match self.post(&request).await {
            Ok(judged) if judged.is_to_be_sent_again => self.post(&request).await,
            judged => judged,
        };
        answer.map_or_else(|error| unanswered(&error), |judged| with_cut(judged.answer, cut))
    }

    /// Why nothing of this type can be sent at all.
    fn refusal(&self, push_type: ApnsPushType) -> Option<PushAnswer> {
        if !push_type.is_made_of_notifications() {
            return Some(without_id(Verdict::Reject, "push_type_has_its_own_payload"));
        }
        let Sender::Certificate(certificate) = &self.sender else { return None };
        if push_type.needs_provider_token() {
            return Some(without_id(Verdict::Reject, "push_type_needs_provider_token"));
        }
        // APNs would refuse it in the handshake, which looks like any broken connection.
        let is_expired = certificate.is_expired(self.clock.now());
        is_expired.then(|| without_id(Verdict::CallAPerson, "certificate_expired"))
    }

    async fn post(&self, request: &Request) -> Result<Judged, Http2Error> {
        let mut used = None;
        let headers = |connection: &CredentialSlot| {
            used = match &self.sender {
                Sender::Tokens(tokens) => Some(tokens.authorization(connection)?),
                Sender::Certificate(_) => None,
            };
            Some(request.headers.to_map(used.clone()))
        };
        let outgoing = Outgoing { path: &request.headers.path, body: &request.body };
        let answer = self.http.post(outgoing, request.deadline, headers).await?;
        let provider_id = answer.headers.get(APNS_ID);
        let provider_id = provider_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        if answer.status == StatusCode::OK {
            let verdict = Verdict::Delivered;
            let answer = PushAnswer { verdict, reason: None, provider_id };
            return Ok(Judged { answer, is_to_be_sent_again: false });
        }
        Ok(self.judge_refusal(&answer, used.as_ref(), provider_id))
    }

    fn judge_refusal(
        &self,
        answer: &Answer,
        used: Option<&HeaderValue>,
        provider_id: Option<String>,
    ) -> Judged {
        let body = RefusalBody::read(&answer.body);
        let after = retry_after(&answer.headers, self.clock.now());
        let verdict = verdict(answer.status.as_u16(), &body, after, self.outage_wait);
        let is_to_be_sent_again = match (&self.sender, used, body.reason.as_str()) {
            (Sender::Tokens(tokens), Some(used), "ExpiredProviderToken") => {
                let is_replaced = tokens.replace(used);
                if is_replaced {
                    // It may be bound to the old token for a while yet; a new one is not.
                    self.http.retire_connection_of(answer);
                }
                is_replaced
            }
            (Sender::Tokens(tokens), _, "TooManyProviderTokenUpdates") => {
                tokens.hold();
                true
            }
            (Sender::Tokens(_), _, "UnrelatedKeyIdInToken") => true,
            _ => false,
        };
        if ends_connection(&body.reason) {
            self.http.retire_connection_of(answer);
        }
        let reason = if body.reason.is_empty() { answer.status.as_str() } else { &body.reason };
        let answer = PushAnswer { provider_id, ..without_id(verdict, reason) };
        Judged { answer, is_to_be_sent_again }
    }
}

struct Request {
    headers: Headers,
    body: bytes::Bytes,
    deadline: Instant,
}

struct Judged {
    answer: PushAnswer,
    /// The refusal was about the connection's provider token: another may be better.
    is_to_be_sent_again: bool,
}

#[async_trait]
impl PushProvider for ApnsClient {
    fn platform(&self) -> Platform {
        Platform::Apns
    }

    async fn send(&self, push: &Push) -> PushAnswer {
        let push_type = match push.style {
            PushStyle::Alert => ApnsPushType::Alert,
            PushStyle::Silent => ApnsPushType::Background,
        };
        self.send_as(push, push_type).await
    }
}
