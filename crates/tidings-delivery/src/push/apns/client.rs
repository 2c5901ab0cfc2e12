//! Sends pushes to APNs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, StatusCode, header::AUTHORIZATION, uri::PathAndQuery};
use serde::Deserialize;
use tidings_core::{
    clock::Clock,
    delivery::{Push, PushAnswer, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tokio::time::Instant;

use super::{
    error::{RefusalBody, ends_connection, verdict},
    payload::{APNS_ID, headers, payload},
    token::ProviderTokens,
};
use crate::push::{
    ConnectionConfig, PushSetupError, SecretText,
    answer::{retry_after, unanswered, without_id},
    fit::FitError,
    http2::{Answer, Endpoint, Http2Client, Http2Error, Outgoing, Trust},
};

/// How an [`ApnsClient`] reaches APNs, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsConfig {
    /// `https://api.push.apple.com`, `https://api.sandbox.push.apple.com`, or a simulator.
    #[serde(default = "production")]
    pub endpoint: String,
    /// The signing key: the text of the `.p8` file from Apple's developer site.
    pub key_pem: SecretText,
    /// The key's id, 10 characters.
    pub key_id: String,
    /// The team's id, 10 characters.
    pub team_id: String,
    /// Certificates (PEM) to trust besides the system's, for a simulator.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// How long to wait after a failure of Apple's own (500, 503), in milliseconds. Apple asks for
    /// 15 minutes.
    #[serde(default = "fifteen_minutes_ms")]
    pub outage_wait_ms: u64,
    /// Limits of the connection.
    #[serde(default)]
    pub connection: ConnectionConfig,
}

fn production() -> String {
    "https://api.push.apple.com".to_owned()
}

fn fifteen_minutes_ms() -> u64 {
    15 * 60 * 1_000
}

impl ApnsConfig {
    /// Apple's production service, and defaults for the rest.
    #[must_use]
    pub fn new(key_pem: SecretText, key_id: &str, team_id: &str) -> Self {
        Self {
            endpoint: production(),
            key_pem,
            key_id: key_id.to_owned(),
            team_id: team_id.to_owned(),
            ca_pem: None,
            outage_wait_ms: fifteen_minutes_ms(),
            connection: ConnectionConfig::default(),
        }
    }
}

/// Sends pushes to APNs over one HTTP/2 connection, with a provider token.
///
/// A push carries its identity as `apns-id` and the device's app as `apns-topic`. It is sent again
/// here only if APNs provably has not processed it, or refused the provider token as expired and a
/// new one may be had; then with the same identity.
pub struct ApnsClient {
    http: Http2Client,
    tokens: ProviderTokens,
    clock: Arc<dyn Clock>,
    outage_wait: Duration,
}

impl ApnsClient {
    /// Reads the key and the certificates to trust; connects when the first push comes.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when the configuration or the key cannot be used.
    pub fn new(config: ApnsConfig, clock: Arc<dyn Clock>) -> Result<Self, PushSetupError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let trust = Trust::load(config.ca_pem.as_deref())?;
        let ApnsConfig { key_pem, key_id, team_id, .. } = &config;
        let tokens = ProviderTokens::new(key_pem, key_id, team_id, Arc::clone(&clock))?;
        let outage_wait = Duration::from_millis(config.outage_wait_ms);
        let http = Http2Client::new(endpoint, trust, config.connection);
        Ok(Self { http, tokens, clock, outage_wait })
    }

    async fn post(
        &self,
        outgoing: &mut Outgoing,
        authorization: &HeaderValue,
        deadline: Instant,
    ) -> Result<Judged, Http2Error> {
        outgoing.headers.insert(AUTHORIZATION, authorization.clone());
        let answer = self.http.post(outgoing, deadline).await?;
        let provider_id = answer.headers.get(APNS_ID);
        let provider_id = provider_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        if answer.status == StatusCode::OK {
            let verdict = Verdict::Delivered;
            let answer = PushAnswer { verdict, reason: None, provider_id };
            return Ok(Judged { answer, is_token_expired: false });
        }
        Ok(self.judge_refusal(&answer, provider_id))
    }

    fn judge_refusal(&self, answer: &Answer, provider_id: Option<String>) -> Judged {
        let body = RefusalBody::read(&answer.body);
        let status = answer.status.as_u16();
        let after = retry_after(&answer.headers, self.clock.now());
        let verdict = verdict(status, &body, after, self.outage_wait);
        if ends_connection(&body.reason) {
            self.http.retire_connection_of(answer);
        }
        let is_token_expired = body.reason == "ExpiredProviderToken";
        let reason = if body.reason.is_empty() { answer.status.as_str() } else { &body.reason };
        let answer = PushAnswer { provider_id, ..without_id(verdict, reason) };
        Judged { answer, is_token_expired }
    }
}

struct Judged {
    answer: PushAnswer,
    is_token_expired: bool,
}

#[async_trait]
impl PushProvider for ApnsClient {
    fn platform(&self) -> Platform {
        Platform::Apns
    }

    async fn send(&self, push: &Push) -> PushAnswer {
        let mut outgoing = match prepare(push) {
            Ok(outgoing) => outgoing,
            Err(answer) => return answer,
        };
        let deadline = self.http.deadline();
        let authorization = self.tokens.current();
        let judged = self.post(&mut outgoing, &authorization, deadline).await;
        let answer = match judged {
            Ok(judged) if judged.is_token_expired => {
                match self.tokens.replacement_of(&authorization) {
                    Some(newer) => self.post(&mut outgoing, &newer, deadline).await,
                    None => Ok(judged),
                }
            }
            judged => judged,
        };
        answer.map_or_else(|error| unanswered(&error), |judged| judged.answer)
    }
}

fn prepare(push: &Push) -> Result<Outgoing, PushAnswer> {
    let token = push.device.token.expose();
    // It stands in the path. APNs' tokens are hexadecimal, so another one is nobody's.
    let is_token = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = format!("/3/device/{token}");
    let path = PathAndQuery::try_from(path).ok().filter(|_| is_token);
    let path = path.ok_or_else(|| without_id(Verdict::Reject, "malformed_token"))?;
    let headers = headers(push).ok_or_else(|| without_id(Verdict::Reject, "malformed_app"))?;
    let rendered = payload(push).map_err(|error| match error {
        FitError::TooLarge { .. } => without_id(Verdict::Reject, "payload_too_large"),
        FitError::Json(_) => without_id(Verdict::Reject, "payload_unwritable"),
    })?;
    Ok(Outgoing { path, headers, body: rendered.message.into() })
}
