//! Sends pushes to browsers.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use tidings_core::{
    clock::Clock,
    delivery::{Push, PushAnswer, Verdict},
    device::Platform,
    error_chain::ErrorChain,
    ports::PushProvider,
};
use tokio::time::{Instant, timeout_at};

use super::{
    WebPushConfig,
    encrypt::{MAX_PLAINTEXT_BYTES, encrypt},
    endpoint::EndpointRules,
    error::{reason, verdict},
    message::{headers, message},
    origins::{Authorization, Origins},
    transport::{Answer, Transport, TransportError},
    vapid::Sender,
};
use crate::push::{
    PushSetupError,
    answer::{retry_after, unfit, with_cut, without_id},
    fit::Cuts,
};

/// Sends pushes to browsers: encrypted for each, to the push service that each has named.
///
/// A push carries its identity as `tidings_id` in what only the browser reads. It is sent again here
/// only if nothing of it was sent. Endpoints may be anywhere, so they are gone to only if they are
/// of the public internet; no redirect is followed.
pub struct WebPushClient {
    transport: Transport,
    rules: EndpointRules,
    origins: Origins,
    sender: Sender,
    clock: Arc<dyn Clock>,
    config: WebPushConfig,
    cuts: Cuts,
}

impl WebPushClient {
    /// Signs once, and reads the certificates to trust; connects when the first push comes.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when the subject or the key cannot be used, or no certificates are there.
    pub fn new(config: WebPushConfig, clock: Arc<dyn Clock>) -> Result<Self, PushSetupError> {
        let sender = Sender::new(config.vapid_key.clone(), &config.subject)?;
        let requests_max = u16::try_from(config.requests_per_origin_max).unwrap_or(u16::MAX);
        let rules = EndpointRules::new(&config.allowed_hosts, config.allow_loopback);
        Ok(Self {
            transport: Transport::new(&config)?,
            rules,
            origins: Origins::new(usize::from(requests_max)),
            sender,
            clock,
            config,
            cuts: Cuts::new(Platform::WebPush),
        })
    }

    /// What is sent, and down to which part it had to be cut; an answer if nothing is.
    fn encrypted(&self, push: &Push) -> Result<(Vec<u8>, Option<&'static str>), PushAnswer> {
        let reject = |reason| without_id(Verdict::Reject, reason);
        let keys = push.device.web_push.as_ref().ok_or_else(|| reject("no_subscription_keys"))?;
        let limit_bytes = self.config.max_plaintext_bytes.min(MAX_PLAINTEXT_BYTES);
        let rendered = message(push, limit_bytes).map_err(|error| unfit(&error))?;
        let cut = self.cuts.note(push, &rendered);
        let sealed = encrypt(keys, &rendered.message);
        Ok((sealed.map_err(|_| reject("unusable_subscription_keys"))?, cut))
    }

    async fn post(&self, push: &Push) -> Result<Posted, PushAnswer> {
        let deadline = Instant::now() + self.config.request_timeout();
        let endpoint = self.rules.check(push.device.token.expose());
        let endpoint = endpoint.map_err(|error| without_id(Verdict::Reject, error.reason()))?;
        let (body, cut) = self.encrypted(push)?;
        let origin = self.origins.of(&endpoint.origin);
        // One slow service holds up its own pushes only.
        let place = timeout_at(deadline, origin.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(unanswered(&TransportError::NotSentInTime));
        };
        let now = self.clock.now();
        let authorization = origin.authorization(&self.sender, &endpoint.origin, now);
        let authorization = authorization.map_err(|error| {
            tracing::error!(error = %ErrorChain(&error), "a push cannot be signed");
            without_id(Verdict::CallAPerson, "vapid_unsigned")
        })?;
        let mut headers = headers(push, now);
        headers.insert(AUTHORIZATION, authorization.value.clone());
        let answer = self.transport.post(endpoint.uri, headers, body, deadline).await;
        match answer {
            Ok(answer) => Ok(Posted { answer, authorization, cut }),
            // It has worked: one connection broke.
            Err(error @ TransportError::Lost(_)) if authorization.is_proven() => {
                Err(PushAnswer { verdict: Verdict::Interrupted, ..unanswered(&error) })
            }
            Err(error) => Err(unanswered(&error)),
        }
    }
}

/// A push that the service has answered.
struct Posted {
    answer: Answer,
    authorization: Authorization,
    /// The last part of it that had to be cut.
    cut: Option<&'static str>,
}

fn unanswered(error: &TransportError) -> PushAnswer {
    let (verdict, reason) = match error {
        TransportError::AddressNotPublic => (Verdict::Reject, "endpoint_not_public"),
        TransportError::NotSentInTime => (Verdict::SlowDown { after: None }, "not_sent_in_time"),
        TransportError::Connect(_) => (Verdict::Unavailable { after: None }, "no_connection"),
        TransportError::NotAnsweredInTime => {
            (Verdict::Unavailable { after: None }, "not_answered_in_time")
        }
        TransportError::Lost(_) => (Verdict::Unavailable { after: None }, "connection_lost"),
    };
    tracing::debug!(reason, error = %ErrorChain(error), "a push has no answer");
    without_id(verdict, reason)
}

#[async_trait]
impl PushProvider for WebPushClient {
    fn platform(&self) -> Platform {
        Platform::WebPush
    }

    async fn send(&self, push: &Push) -> PushAnswer {
        let Posted { answer, authorization, cut } = match self.post(push).await {
            Ok(posted) => posted,
            Err(answer) => return answer,
        };
        let status = answer.status.as_u16();
        if answer.status.is_success() {
            authorization.prove();
            // The URL under which the service knows the push is none of the log's business: who
            // knows it can take the push back.
            let delivered =
                PushAnswer { verdict: Verdict::Delivered, reason: None, provider_id: None };
            return with_cut(delivered, cut);
        }
        let after = retry_after(&answer.headers, self.clock.now());
        let is_proven = authorization.is_proven();
        without_id(verdict(status, after, is_proven), &reason(status, is_proven))
    }
}
