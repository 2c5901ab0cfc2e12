//! The provider token: an ES256 JWT that says who sends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tidings_core::clock::{Clock, Timestamp};

use crate::push::{PushSetupError, SecretText};

/// "Refresh your token no more than once every 20 minutes and no less than once every 60 minutes."
const MIN_AGE: Duration = Duration::from_secs(20 * 60);
const RENEW_AGE: Duration = Duration::from_secs(40 * 60);

/// A clock that was set back by more than this makes a token from the future, which is refused.
const MAX_STEP_BACK: Duration = Duration::from_secs(60);

const WHAT: &str = "apns signing key";

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
}

struct Signed {
    authorization: HeaderValue,
    at: Timestamp,
}

/// Signs provider tokens and keeps the one in use: the same for all pushes and connections.
pub(super) struct ProviderTokens {
    key: EncodingKey,
    header: Header,
    team_id: String,
    clock: Arc<dyn Clock>,
    current: Mutex<Signed>,
}

impl ProviderTokens {
    /// Reads the key and signs a first token with it, so that a wrong key shows at once.
    pub(super) fn new(
        key_pem: &SecretText,
        key_id: &str,
        team_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PushSetupError> {
        let key = EncodingKey::from_ec_pem(key_pem.expose().as_bytes())
            .map_err(|source| PushSetupError::Key { what: WHAT, source })?;
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::ES256) };
        let now = clock.now();
        let authorization = sign(&key, &header, team_id, now)?;
        let current = Mutex::new(Signed { authorization, at: now });
        Ok(Self { key, header, team_id: team_id.to_owned(), clock, current })
    }

    /// The `authorization` of the next push.
    pub(super) fn current(&self) -> HeaderValue {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if now.since(current.at) >= RENEW_AGE || current.at.since(now) > MAX_STEP_BACK {
            self.renew(&mut current, now);
        }
        current.authorization.clone()
    }

    /// Another token after `refused` was called expired; `None` if that would be too early to have
    /// a new one.
    pub(super) fn replacement_of(&self, refused: &HeaderValue) -> Option<HeaderValue> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.authorization == *refused {
            let now = self.clock.now();
            if now.since(current.at) < MIN_AGE {
                return None;
            }
            self.renew(&mut current, now);
        }
        (current.authorization != *refused).then(|| current.authorization.clone())
    }

    fn renew(&self, current: &mut Signed, now: Timestamp) {
        match sign(&self.key, &self.header, &self.team_id, now) {
            Ok(authorization) => *current = Signed { authorization, at: now },
            // The same key has signed before. The old token serves until APNs refuses it.
            Err(error) => tracing::error!(%error, "the apns provider token cannot be renewed"),
        }
    }
}

fn sign(
    key: &EncodingKey,
    header: &Header,
    team_id: &str,
    now: Timestamp,
) -> Result<HeaderValue, PushSetupError> {
    let claims = Claims { iss: team_id, iat: now.as_secs() };
    let jwt = jsonwebtoken::encode(header, &claims, key)
        .map_err(|source| PushSetupError::Key { what: WHAT, source })?;
    let mut value = HeaderValue::try_from(format!("bearer {jwt}"))
        .map_err(|_| PushSetupError::Id { what: "apns key id or team id" })?;
    // Kept out of logs, and of the compression tables of HTTP/2, as Apple asks.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use tidings_core::clock::ManualClock;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn tokens() -> (ProviderTokens, Arc<ManualClock>) {
        let pem = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let clock = ManualClock::new("2026-11-23T09:00:00Z".parse().unwrap());
        let manual: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let tokens = ProviderTokens::new(&SecretText::new(pem), "KEY0000001", "TEAM000001", manual);
        (tokens.unwrap(), clock)
    }

    #[test]
    fn a_token_is_kept_for_20_minutes_and_renewed_before_60() {
        let (tokens, clock) = tokens();
        let first = tokens.current();
        clock.advance(39 * MINUTE);
        assert_eq!(tokens.current(), first);
        clock.advance(MINUTE);
        assert_ne!(tokens.current(), first);
    }

    #[test]
    fn a_token_called_expired_is_replaced_once_and_not_before_20_minutes() {
        let (tokens, clock) = tokens();
        let first = tokens.current();
        assert_eq!(tokens.replacement_of(&first), None);
        clock.advance(20 * MINUTE);
        let second = tokens.replacement_of(&first).unwrap();
        assert_ne!(second, first);
        // Another push that was refused with the first token gets the second one, not a third.
        assert_eq!(tokens.replacement_of(&first), Some(second.clone()));
        assert_eq!(tokens.replacement_of(&second), None);
    }

    #[test]
    fn a_token_says_who_signed_it_and_when() {
        let (tokens, _) = tokens();
        let value = tokens.current();
        let jwt = value.to_str().unwrap().strip_prefix("bearer ").unwrap();
        let header = jsonwebtoken::decode_header(jwt).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::ES256, Some("KEY0000001")));
        let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(jwt).unwrap();
        assert_eq!(claims.claims["iss"], "TEAM000001");
        assert_eq!(claims.claims["iat"], 1_795_424_400);
    }
}
