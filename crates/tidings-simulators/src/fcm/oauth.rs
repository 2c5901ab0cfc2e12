//! The OAuth 2.0 token endpoint: a signed assertion for an access token (RFC 7523).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rand::Rng;
use serde::Deserialize;
use serde_json::json;

use super::refusal::{Refusal, Status};
use crate::faults::Failures;
use crate::transport::{Answer, Body};
use crate::{FcmCredentials, SimulatorError};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Either may send messages; the second is what Google's own admin libraries ask for.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
];

const MAX_ASSERTION_LIFE_SECS: i64 = 3_600;

/// Access tokens remembered at a time; a new one then ends the one that would expire first.
const MAX_ACCESS_TOKENS: usize = 1_024;

/// The public side of a service account.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// `iss` of its assertions.
    pub client_email: String,
    /// `kid` of its assertions, where they have one.
    pub private_key_id: String,
    /// RSA public key, SPKI PEM.
    pub public_key_pem: String,
}

impl From<&FcmCredentials> for ServiceAccount {
    fn from(credentials: &FcmCredentials) -> Self {
        Self {
            client_email: credentials.client_email.clone(),
            private_key_id: credentials.private_key_id.clone(),
            public_key_pem: credentials.public_key_pem.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    scope: Option<String>,
    iat: i64,
    exp: i64,
}

/// `error` and `error_description` of a refusal.
type OauthError = (&'static str, Cow<'static, str>);

pub(super) struct TokenEndpoint {
    account: ServiceAccount,
    key: DecodingKey,
    validation: Validation,
    audiences: Vec<String>,
    ttl_secs: u32,
    /// Access token to its end, in milliseconds since 1970.
    live: Mutex<HashMap<String, i64>>,
    issued: AtomicU64,
    failures: Failures<()>,
}

impl TokenEndpoint {
    pub(super) fn new(
        account: &ServiceAccount,
        audiences: Vec<String>,
        ttl_secs: u32,
    ) -> Result<Self, SimulatorError> {
        let key =
            DecodingKey::from_rsa_pem(account.public_key_pem.as_bytes()).map_err(|source| {
                SimulatorError::PublicKey { owner: account.client_email.clone(), source }
            })?;
        let mut validation = Validation::new(Algorithm::RS256);
        // The claims are judged here, one by one, against the simulator's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self {
            account: account.clone(),
            key,
            validation,
            audiences,
            ttl_secs,
            live: Mutex::default(),
            issued: AtomicU64::new(0),
            failures: Failures::none(),
        })
    }

    /// Answers `POST /token`.
    pub(super) fn answer(&self, head: &Parts, body: &Body, now_ms: i64) -> Answer {
        if self.failures.take().is_some() {
            let body = json!({ "error": "temporarily_unavailable" });
            return Answer::json(StatusCode::SERVICE_UNAVAILABLE, &body);
        }
        match self.grant(head, body, now_ms) {
            Ok(access_token) => {
                let body = json!({
                    "access_token": access_token,
                    "expires_in": self.ttl_secs,
                    "token_type": "Bearer",
                });
                Answer::json(StatusCode::OK, &body)
            }
            Err((error, description)) => {
                let body = json!({ "error": error, "error_description": description });
                Answer::json(StatusCode::BAD_REQUEST, &body)
            }
        }
    }

    /// Whether the request carries an access token that lives at `now_ms`.
    pub(super) fn check_bearer(&self, headers: &HeaderMap, now_ms: i64) -> Result<(), Refusal> {
        let value = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| Refusal::plain(Status::MissingCredential))?;
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match token.and_then(|(_, token)| live.get(token.trim())) {
            Some(end_ms) if now_ms < *end_ms => Ok(()),
            _ => Err(Refusal::plain(Status::InvalidCredential)),
        }
    }

    pub(super) fn fail_next(&self, requests: u64) {
        self.failures.set((), requests);
    }

    pub(super) fn revoke_all(&self) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    fn grant(&self, head: &Parts, body: &Body, now_ms: i64) -> Result<String, OauthError> {
        let (grant_type, assertion) = read_form(head, body)?;
        match grant_type.as_deref() {
            Some(GRANT_TYPE) => {}
            Some(other) => {
                let what = format!("Invalid grant_type: {other}");
                return Err(("unsupported_grant_type", what.into()));
            }
            None => return Err(invalid_request("Required parameter is missing: grant_type")),
        }
        let assertion =
            assertion.ok_or_else(|| invalid_request("Required parameter is missing: assertion"))?;
        self.check_assertion(&assertion, now_ms.div_euclid(1_000))?;
        Ok(self.issue(now_ms))
    }

    /// The descriptions are those that senders have recorded from Google.
    fn check_assertion(&self, assertion: &str, now_secs: i64) -> Result<(), OauthError> {
        let signature = || invalid_grant("Invalid JWT Signature.");
        let header = jsonwebtoken::decode_header(assertion)
            .map_err(|_| invalid_grant("Invalid JWT: Failed to parse the assertion."))?;
        if header.kid.is_some_and(|kid| kid != self.account.private_key_id) {
            return Err(signature());
        }
        let claims = jsonwebtoken::decode::<Claims>(assertion, &self.key, &self.validation)
            .map_err(|_| signature())?
            .claims;
        if claims.iss != self.account.client_email {
            return Err(invalid_grant("Invalid grant: account not found"));
        }
        if !self.audiences.contains(&claims.aud) {
            return Err(invalid_grant(format!(
                "Invalid JWT: Failed audience check. The right audience is {}",
                self.audiences.first().map(String::as_str).unwrap_or_default()
            )));
        }
        // No tolerance for skew: stricter than Google, whose tolerance is not published.
        let life_secs = claims.exp.saturating_sub(claims.iat);
        if life_secs > MAX_ASSERTION_LIFE_SECS || claims.iat > now_secs || claims.exp <= now_secs {
            return Err(invalid_grant(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                 timeframe. Check your iat and exp values in the JWT claim.",
            ));
        }
        let scopes = claims.scope.as_deref().unwrap_or_default();
        if scopes.trim().is_empty() {
            return Err(("invalid_scope", "Empty or missing scope not allowed.".into()));
        }
        if !scopes.split_whitespace().any(|scope| SCOPES.contains(&scope)) {
            let what = "Invalid OAuth scope or ID token audience provided.";
            return Err(("invalid_scope", what.into()));
        }
        Ok(())
    }

    fn issue(&self, now_ms: i64) -> String {
        let token = format!("ya29.{}", URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>()));
        let end_ms = now_ms.saturating_add(i64::from(self.ttl_secs) * 1_000);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, end_ms| *end_ms > now_ms);
        if live.len() >= MAX_ACCESS_TOKENS {
            let first = live.iter().min_by_key(|(_, end_ms)| **end_ms).map(|(token, _)| token);
            if let Some(first) = first.cloned() {
                live.remove(&first);
            }
        }
        live.insert(token.clone(), end_ms);
        self.issued.fetch_add(1, Ordering::Relaxed);
        token
    }
}

/// `grant_type` and `assertion` of the form.
fn read_form(head: &Parts, body: &Body) -> Result<(Option<String>, Option<String>), OauthError> {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = content_type.starts_with("application/x-www-form-urlencoded");
    let Body::Complete(body) = body else {
        return Err(invalid_request("The request is too long."));
    };
    if head.method != Method::POST || !is_form {
        return Err(invalid_request("Could not parse the request as a form."));
    }
    let (mut grant_type, mut assertion) = (None, None);
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "grant_type" => grant_type = Some(value.into_owned()),
            "assertion" => assertion = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok((grant_type, assertion))
}

fn invalid_grant(description: impl Into<Cow<'static, str>>) -> OauthError {
    ("invalid_grant", description.into())
}

fn invalid_request(description: &'static str) -> OauthError {
    ("invalid_request", description.into())
}
