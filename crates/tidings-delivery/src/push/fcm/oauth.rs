//! Access tokens: had for a signed assertion, kept, and renewed before they end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use tidings_core::{
    clock::{Clock, Timestamp},
    delivery::{PushAnswer, Verdict},
    error_chain::ErrorChain,
};
use tokio::time::Instant;

use super::account::ServiceAccount;
use crate::push::{
    PushSetupError,
    answer::{retry_after, unanswered, without_id},
    http2::{Answer, CredentialSlot, Http2Client, Http2Error, Outgoing},
};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

/// How long an assertion lives; Google takes up to an hour.
const ASSERTION_LIFE_SECS: u64 = 3_600;

/// A token is renewed this long before it ends, or a fifth of its life if that is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The longest that a push waits for a renewal while the old token still serves.
const RENEWAL_WAIT: Duration = Duration::from_secs(3);

/// After a failure nobody asks again for this long.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What Google says of a refusal is cut to this many bytes before it goes to the log.
const MAX_DESCRIPTION_BYTES: usize = 256;

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub(super) enum OauthError {
    #[error("the token endpoint did not answer")]
    Unanswered(#[source] Http2Error),
    #[error("the token endpoint refused with status {status} {error}: {description}")]
    Refused { status: u16, error: String, description: String, after: Option<Duration> },
    #[error("the answer of the token endpoint is not an access token")]
    Unreadable,
    #[error("the assertion cannot be signed")]
    Unsigned(#[source] jsonwebtoken::errors::Error),
}

impl OauthError {
    /// What becomes of a push that needs the token.
    pub(super) fn answer(&self) -> PushAnswer {
        match self {
            Self::Unanswered(error) => unanswered(error),
            Self::Refused { status: 429, after, .. } => {
                without_id(Verdict::SlowDown { after: *after }, "oauth_too_many_requests")
            }
            Self::Refused { status: 500.., after, .. } => {
                without_id(Verdict::Unavailable { after: *after }, "oauth_unavailable")
            }
            // A key that was withdrawn, an account that is gone, a clock that is wrong.
            Self::Refused { error, .. } => {
                without_id(Verdict::CallAPerson, &format!("oauth_{error}"))
            }
            Self::Unreadable => {
                without_id(Verdict::Unavailable { after: None }, "oauth_unreadable")
            }
            Self::Unsigned(_) => without_id(Verdict::CallAPerson, "oauth_unsigned"),
        }
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

// No `Debug`: it holds the token.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: u64,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Clone)]
struct AccessToken {
    authorization: HeaderValue,
    renew_at: Timestamp,
    ends_at: Timestamp,
}

/// Keeps the access token that all pushes use.
pub(super) struct AccessTokens {
    account: ServiceAccount,
    http: Http2Client,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<AccessToken>>,
    /// Held by whoever fetches; holds the last failure.
    fetching: tokio::sync::Mutex<Option<(Instant, Arc<OauthError>)>>,
}

impl AccessTokens {
    /// Signs a first assertion, so that a wrong key shows at once; asks for a token when the first
    /// push comes.
    pub(super) fn new(
        account: ServiceAccount,
        http: Http2Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PushSetupError> {
        let current = Mutex::new(None);
        let tokens =
            Self { account, http, clock, current, fetching: tokio::sync::Mutex::default() };
        let what = "private_key of the service account";
        tokens.sign(tokens.clock.now()).map_err(|source| PushSetupError::Key { what, source })?;
        Ok(tokens)
    }

    /// The `authorization` of the next push, fetched if there is none.
    ///
    /// However many ask, one fetches. While the old token lives the others go on with it.
    pub(super) async fn current(&self, deadline: Instant) -> Result<HeaderValue, Arc<OauthError>> {
        let now = self.clock.now();
        let Some(token) = self.find(now) else { return self.first(deadline).await };
        if now >= token.renew_at
            && let Ok(mut failure) = self.fetching.try_lock()
            && !is_recent(failure.as_ref())
        {
            let deadline = deadline.min(Instant::now() + RENEWAL_WAIT);
            return match self.fetch(&mut failure, deadline).await {
                Ok(newer) => Ok(newer),
                Err(_) => Ok(token.authorization),
            };
        }
        Ok(token.authorization)
    }

    /// Forgets a token that was refused, unless another has taken its place.
    pub(super) fn forget(&self, refused: &HeaderValue) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|token| token.authorization == *refused) {
            *current = None;
        }
    }

    fn find(&self, now: Timestamp) -> Option<AccessToken> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|token| now < token.ends_at).cloned()
    }

    async fn first(&self, deadline: Instant) -> Result<HeaderValue, Arc<OauthError>> {
        let asked_at = Instant::now();
        let mut failure = self.fetching.lock().await;
        // Whoever held the lock before may have a token, or have failed while we waited.
        if let Some(token) = self.find(self.clock.now()) {
            return Ok(token.authorization);
        }
        if let Some((at, error)) = &*failure
            && (*at >= asked_at || is_recent(failure.as_ref()))
        {
            return Err(Arc::clone(error));
        }
        self.fetch(&mut failure, deadline).await
    }

    async fn fetch(
        &self,
        failure: &mut Option<(Instant, Arc<OauthError>)>,
        deadline: Instant,
    ) -> Result<HeaderValue, Arc<OauthError>> {
        match self.ask(deadline).await {
            Ok(token) => {
                *failure = None;
                let authorization = token.authorization.clone();
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(authorization)
            }
            Err(error) => {
                let error = Arc::new(error);
                tracing::warn!(error = %ErrorChain(&*error), "no access token for fcm");
                *failure = Some((Instant::now(), Arc::clone(&error)));
                Err(error)
            }
        }
    }

    async fn ask(&self, deadline: Instant) -> Result<AccessToken, OauthError> {
        let now = self.clock.now();
        let assertion = self.sign(now).map_err(OauthError::Unsigned)?;
        let headers = |_: &CredentialSlot| {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            let json = HeaderValue::from_static("application/json");
            Some(HeaderMap::from_iter([(CONTENT_TYPE, form), (ACCEPT, json)]))
        };
        // A JWT consists of characters that need no escape.
        let body = format!("{GRANT}{assertion}").into();
        let outgoing = Outgoing { path: &self.account.token_path, body: &body };
        let answer = self.http.post(outgoing, deadline, headers).await;
        read(&answer.map_err(OauthError::Unanswered)?, now)
    }

    fn sign(&self, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let account = &self.account;
        let header = Header { kid: Some(account.key_id.clone()), ..Header::new(Algorithm::RS256) };
        let claims = Claims {
            iss: &account.client_email,
            scope: SCOPE,
            aud: &account.token_uri,
            iat: now.as_secs(),
            exp: now.as_secs() + ASSERTION_LIFE_SECS,
        };
        jsonwebtoken::encode(&header, &claims, &account.key)
    }
}

fn is_recent(failure: Option<&(Instant, Arc<OauthError>)>) -> bool {
    failure.is_some_and(|(at, _)| at.elapsed() < FAILURE_PAUSE)
}

fn read(answer: &Answer, now: Timestamp) -> Result<AccessToken, OauthError> {
    if answer.status != StatusCode::OK {
        let mut refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
        let end = refusal.error_description.floor_char_boundary(MAX_DESCRIPTION_BYTES);
        refusal.error_description.truncate(end);
        return Err(OauthError::Refused {
            status: answer.status.as_u16(),
            error: refusal.error,
            description: refusal.error_description,
            after: retry_after(&answer.headers, now),
        });
    }
    // The parser's own words are dropped: they may quote the token.
    let grant: Grant = serde_json::from_slice(&answer.body).map_err(|_| OauthError::Unreadable)?;
    let authorization = HeaderValue::try_from(format!("Bearer {}", grant.access_token));
    let mut authorization = authorization.map_err(|_| OauthError::Unreadable)?;
    authorization.set_sensitive(true);
    let life = Duration::from_secs(grant.expires_in);
    let ends_at = now.after(life);
    Ok(AccessToken { authorization, renew_at: ends_at.before(RENEW_AHEAD.min(life / 5)), ends_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, error: &str, after: Option<Duration>) -> OauthError {
        let (error, description) = (error.to_owned(), "because".to_owned());
        OauthError::Refused { status, error, description, after }
    }

    #[test]
    fn a_refusal_is_for_a_person_and_a_failure_passes_by_itself() {
        let after = Some(Duration::from_secs(7));
        let down = Verdict::Unavailable { after: None };
        let table = [
            (refused(400, "invalid_grant", None), Verdict::CallAPerson, "oauth_invalid_grant"),
            (refused(400, "invalid_scope", None), Verdict::CallAPerson, "oauth_invalid_scope"),
            (refused(401, "invalid_client", None), Verdict::CallAPerson, "oauth_invalid_client"),
            (refused(403, "", None), Verdict::CallAPerson, "oauth_"),
            (refused(429, "", after), Verdict::SlowDown { after }, "oauth_too_many_requests"),
            (refused(500, "", None), down, "oauth_unavailable"),
            (refused(503, "", after), Verdict::Unavailable { after }, "oauth_unavailable"),
            (OauthError::Unreadable, down, "oauth_unreadable"),
            (OauthError::Unanswered(Http2Error::Closed), down, "not_taken"),
            (OauthError::Unanswered(Http2Error::NotAnsweredInTime), down, "not_answered_in_time"),
        ];
        for (error, verdict, reason) in table {
            let answer = error.answer();
            assert_eq!((answer.verdict, answer.reason.as_deref()), (verdict, Some(reason)));
        }
    }

    #[test]
    fn what_google_says_is_cut_before_it_is_logged() {
        let body = serde_json::json!({
            "error": "invalid_grant", "error_description": "é".repeat(10_000),
        });
        let answer = Answer::for_test(StatusCode::BAD_REQUEST, body.to_string().into());
        let Err(OauthError::Refused { description, .. }) = read(&answer, Timestamp::from_millis(0))
        else {
            panic!("taken");
        };
        assert_eq!(description.len(), MAX_DESCRIPTION_BYTES);
    }
}
