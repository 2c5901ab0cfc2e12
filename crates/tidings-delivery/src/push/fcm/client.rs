//! Sends pushes to FCM.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    uri::PathAndQuery,
};
use serde::Deserialize;
use tidings_core::{
    clock::Clock,
    delivery::{Push, PushAnswer, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tokio::time::Instant;

use super::{
    account::ServiceAccount,
    error::{Refusal, verdict},
    message::message,
    oauth::AccessTokens,
};
use crate::push::{
    ConnectionConfig, PushSetupError, SecretText,
    answer::{retry_after, unanswered, unfit, with_cut, without_id},
    fit::Cuts,
    http2::{CredentialSlot, Endpoint, Http2Client, Outgoing, Trust},
};

/// How an [`FcmClient`] reaches FCM, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcmConfig {
    /// `https://fcm.googleapis.com`, or a simulator.
    #[serde(default = "production")]
    pub endpoint: String,
    /// The service account: the text of the JSON file from the Firebase console. It names the
    /// project, and where access tokens are had.
    pub service_account_json: SecretText,
    /// Certificates (PEM) to trust besides the system's, for a simulator.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// Limits of the connections.
    #[serde(default)]
    pub connection: ConnectionConfig,
}

fn production() -> String {
    "https://fcm.googleapis.com".to_owned()
}

impl FcmConfig {
    /// Google's service, and defaults for the rest.
    #[must_use]
    pub fn new(service_account_json: SecretText) -> Self {
        Self {
            endpoint: production(),
            service_account_json,
            ca_pem: None,
            connection: ConnectionConfig::default(),
        }
    }
}

/// Sends pushes to FCM (HTTP v1) over a few HTTP/2 connections, as a service account.
///
/// A push carries its identity as `data.tidings_id`; FCM itself knows none. It is sent again here
/// only if FCM provably has not processed it, or the access token was refused and a new one may be
/// had; then with the same identity.
pub struct FcmClient {
    http: Http2Client,
    tokens: AccessTokens,
    clock: Arc<dyn Clock>,
    path: PathAndQuery,
    cuts: Cuts,
}

impl FcmClient {
    /// Reads the service account and the certificates to trust; connects when the first push comes.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when the configuration or the service account cannot be used.
    pub fn new(config: FcmConfig, clock: Arc<dyn Clock>) -> Result<Self, PushSetupError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let trust = Trust::load(config.ca_pem.as_deref())?;
        let account = ServiceAccount::parse(&config.service_account_json)?;
        let path = format!("/v1/projects/{}/messages:send", account.project_id);
        let path = PathAndQuery::try_from(path)
            .map_err(|_| PushSetupError::Id { what: "project_id of the service account" })?;
        let oauth = Http2Client::new(
            account.token_endpoint.clone(),
            trust.clone(),
            config.connection.clone(),
        );
        let tokens = AccessTokens::new(account, oauth, Arc::clone(&clock))?;
        let http = Http2Client::new(endpoint, trust, config.connection);
        Ok(Self { http, tokens, clock, path, cuts: Cuts::new(Platform::Fcm) })
    }

    async fn post(&self, body: &Bytes, deadline: Instant) -> Posted {
        let authorization = match self.tokens.current(deadline).await {
            Ok(authorization) => authorization,
            Err(error) => return Posted::Answered(error.answer()),
        };
        let outgoing = Outgoing { path: &self.path, body };
        let headers = |_: &CredentialSlot| {
            // With room for the length, which is added later.
            let mut headers = HeaderMap::with_capacity(3);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(AUTHORIZATION, authorization.clone());
            Some(headers)
        };
        let answer = match self.http.post(outgoing, deadline, headers).await {
            Ok(answer) => answer,
            Err(error) => return Posted::Answered(unanswered(&error)),
        };
        if answer.status == StatusCode::OK {
            let sent: Sent = serde_json::from_slice(&answer.body).unwrap_or_default();
            let verdict = Verdict::Delivered;
            return Posted::Answered(PushAnswer { verdict, reason: None, provider_id: sent.name });
        }
        let refusal = Refusal::read(answer.status.as_u16(), &answer.body);
        let after = retry_after(&answer.headers, self.clock.now());
        let answered = without_id(verdict(&refusal, after), &refusal.reason());
        if refusal.is_of_another_project() {
            // The app was built for another project, or the device registered with the wrong one:
            // pruning would hide that.
            metrics::counter!("tidings_push_foreign_tokens_total", "channel" => "fcm").increment(1);
        }
        if refusal.is_unauthenticated() {
            self.tokens.forget(&authorization);
            Posted::TokenRefused(answered)
        } else {
            Posted::Answered(answered)
        }
    }
}

enum Posted {
    Answered(PushAnswer),
    /// The access token was not taken, and is forgotten.
    TokenRefused(PushAnswer),
}

#[derive(Default, Deserialize)]
struct Sent {
    name: Option<String>,
}

#[async_trait]
impl PushProvider for FcmClient {
    fn platform(&self) -> Platform {
        Platform::Fcm
    }

    async fn send(&self, push: &Push) -> PushAnswer {
        let (cut, body) = match message(push, self.clock.now()) {
            Ok(rendered) => (self.cuts.note(push, &rendered), rendered.message.into()),
            Err(error) => return unfit(&error),
        };
        let deadline = self.http.deadline();
        if let Posted::Answered(answer) = self.post(&body, deadline).await {
            return with_cut(answer, cut);
        }
        // Once, with a new access token. What is refused again is not a matter of its age.
        match self.post(&body, deadline).await {
            Posted::Answered(answer) | Posted::TokenRefused(answer) => with_cut(answer, cut),
        }
    }
}
