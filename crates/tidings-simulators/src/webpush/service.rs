//! From request to answer.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::headers::{self, MessageHeaders};
use super::refusal::Refusal;
use super::subscription::{PUSH_PATH, WebPushSubscription};
use super::vapid::Verifier;
use super::{VapidRule, WebPushControl, WebPushDeviceState, encryption};
use crate::ledger::Entry;
use crate::transport::{Answer, Body, Protocol, Service};
use crate::{Clock, Ledger};

const TTL: HeaderName = HeaderName::from_static("ttl");

pub(super) struct WebPushService {
    pub(super) verifier: Verifier,
    pub(super) vapid: VapidRule,
    pub(super) max_body_bytes: usize,
    pub(super) max_ttl_secs: u32,
    pub(super) identity_pointers: Vec<String>,
    pub(super) control: WebPushControl,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
}

/// A message that is accepted.
struct Accepted {
    subscription: Arc<WebPushSubscription>,
    headers: MessageHeaders,
    text: Vec<u8>,
    offline: bool,
}

impl WebPushService {
    fn judge(&self, head: &Parts, body: &Body, now_ms: i64) -> Result<Accepted, Refusal> {
        let id = head.uri.path().strip_prefix(PUSH_PATH).ok_or(Refusal::NoEndpoint)?;
        if head.method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let subscription = self.control.subscriptions().find(id).ok_or(Refusal::Expired)?;
        let sender_key = self.check_sender(head, &subscription, now_ms.div_euclid(1_000))?;
        let Body::Complete(body) = body else { return Err(Refusal::TooLarge) };
        let headers = headers::check(&head.headers, body.len())?;
        if body.len() > self.max_body_bytes {
            return Err(Refusal::TooLarge);
        }
        let text = if body.is_empty() {
            Vec::new()
        } else {
            if sender_key.is_some_and(|key| encryption::sender_key(body) == Ok(&key[..])) {
                return Err(Refusal::SigningKeyEncrypts);
            }
            subscription.keys.decrypt(body)?
        };
        if let Some(failure) = self.control.take_failure() {
            return Err(failure.refusal());
        }
        let state = self.control.find_device(subscription.endpoint());
        if let Some(refusal) = state.and_then(WebPushDeviceState::refusal) {
            return Err(refusal);
        }
        let offline = state == Some(WebPushDeviceState::Offline);
        Ok(Accepted { subscription, headers, text, offline })
    }

    /// The key that the sender signed with.
    fn check_sender(
        &self,
        head: &Parts,
        subscription: &WebPushSubscription,
        now_secs: i64,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let sender = self.verifier.check(&head.headers, now_secs)?;
        match (sender, &subscription.restricted_to) {
            (Some(sender), Some(key)) if sender.key != *key => Err(Refusal::OtherKey),
            (Some(sender), _) => Ok(Some(sender.key.clone())),
            (None, Some(_)) => Err(Refusal::MissingVapid),
            (None, None) if self.vapid == VapidRule::Required => Err(Refusal::MissingVapid),
            (None, None) => Ok(None),
        }
    }

    fn accept(&self, accepted: Accepted, now_ms: i64) -> Answer {
        let Accepted { subscription, headers, text, offline } = accepted;
        let ttl_secs = headers.ttl_secs.min(self.max_ttl_secs);
        let push = self.ledger.accept(Entry {
            identity: self.identity(&text),
            token: subscription.endpoint().to_owned(),
            collapse_id: headers.topic.clone(),
            payload: &text,
        });
        if offline {
            let until_ms = now_ms.saturating_add(i64::from(ttl_secs) * 1_000);
            self.control.pending().keep(headers.topic, Some(until_ms), push);
        }
        let origin = self.control.subscriptions().origin();
        let location = format!("{origin}/message/{}", Uuid::now_v7().simple());
        let location = HeaderValue::from_str(&location);
        let mut answered = vec![(TTL, HeaderValue::from(ttl_secs))];
        answered.extend(location.ok().map(|location| (header::LOCATION, location)));
        let status =
            if headers.asks_for_receipt { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        Answer { status, headers: answered, body: Bytes::new(), accepted: true }
    }

    /// What the sender calls the message, if it is JSON that says so.
    fn identity(&self, text: &[u8]) -> Option<String> {
        if text.first() != Some(&b'{') {
            return None;
        }
        let message: serde_json::Value = serde_json::from_slice(text).ok()?;
        let named = self.identity_pointers.iter().find_map(|it| message.pointer(it)?.as_str());
        named.map(str::to_owned)
    }
}

impl Service for WebPushService {
    type Connection = ();

    const PROTOCOLS: &'static [Protocol] = &[Protocol::Http2, Protocol::Http1];

    const UNASKED: Option<Protocol> = Some(Protocol::Http1);

    fn connected(&self, _certificate: Option<&CertificateDer<'_>>) {}

    fn answer(&self, (): &(), head: &Parts, body: &Body) -> Answer {
        let now_ms = (self.clock)();
        match self.judge(head, body, now_ms) {
            Ok(accepted) => self.accept(accepted, now_ms),
            Err(refusal) => {
                self.ledger.reject(refusal.reason());
                tracing::trace!(reason = refusal.reason(), "message refused");
                refusal.answer()
            }
        }
    }
}
