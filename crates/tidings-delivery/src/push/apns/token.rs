//! The provider token: an ES256 JWT that says who sends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tidings_core::clock::{Clock, Timestamp};

use crate::push::{
    PushSetupError, SecretText,
    http2::{CredentialSlot, Pinned},
};

/// "Refresh your token no more than once every 20 minutes and no less than once every 60 minutes."
const MIN_AGE: Duration = Duration::from_secs(20 * 60);

/// So early that a connection may keep a token for [`MIN_PIN`] after that and it is not too old.
const RENEW_AGE: Duration = Duration::from_secs(30 * 60);

/// So late is a token renewed in any case.
const MAX_AGE: Duration = Duration::from_secs(55 * 60);

/// How long a connection keeps the token it has: APNs counts new ones by connection and allows one
/// in 20 minutes. A little longer, for the time that requests take.
const MIN_PIN: Duration = Duration::from_secs(20 * 60 + 30);

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
    /// APNs was given too many: no other before this.
    hold_until: Option<Timestamp>,
    /// The last one that APNs called expired.
    refused: Option<HeaderValue>,
}

/// Signs provider tokens and keeps the one in use: the same for all new connections.
///
/// A connection keeps the token that it got for [`MIN_PIN`], also when a newer one is there.
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
        let signed = Signed { authorization, at: now, hold_until: None, refused: None };
        let current = Mutex::new(signed);
        Ok(Self { key, header, team_id: team_id.to_owned(), clock, current })
    }

    /// The `authorization` of the next push on a connection; `None` if the connection is bound to a
    /// token that APNs no longer takes, and will not do.
    pub(super) fn authorization(&self, connection: &CredentialSlot) -> Option<HeaderValue> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_to_be_renewed(now) {
            self.renew(&mut current, now);
        }
        connection.update(|pinned| match pinned {
            Some(old)
                if old.authorization != current.authorization && now.since(old.since) < MIN_PIN =>
            {
                let is_refused = current.refused.as_ref() == Some(&old.authorization);
                (!is_refused).then(|| old.authorization.clone())
            }
            Some(same) if same.authorization == current.authorization => {
                Some(same.authorization.clone())
            }
            _ => {
                let authorization = current.authorization.clone();
                *pinned = Some(Pinned { authorization: authorization.clone(), since: now });
                Some(authorization)
            }
        })
    }

    /// Takes note that APNs called `refused` expired, and returns whether there is a newer token.
    ///
    /// There is none if it would be too early to have one.
    pub(super) fn replace(&self, refused: &HeaderValue) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.authorization == *refused {
            let now = self.clock.now();
            if now.since(current.at) < MIN_AGE || current.is_held(now) {
                return false;
            }
            self.renew(&mut current, now);
        }
        let is_replaced = current.authorization != *refused;
        if is_replaced {
            current.refused = Some(refused.clone());
        }
        is_replaced
    }

    /// Takes note that APNs was given too many tokens: the one in use is kept for longer.
    pub(super) fn hold(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.hold_until = Some(self.clock.now().after(MIN_PIN));
    }

    fn renew(&self, current: &mut Signed, now: Timestamp) {
        match sign(&self.key, &self.header, &self.team_id, now) {
            Ok(authorization) => {
                current.authorization = authorization;
                current.at = now;
                current.hold_until = None;
            }
            // The same key has signed before. The old token serves until APNs refuses it.
            Err(error) => tracing::error!(%error, "the apns provider token cannot be renewed"),
        }
    }
}

impl Signed {
    fn is_to_be_renewed(&self, now: Timestamp) -> bool {
        let age = now.since(self.at);
        let is_old = age >= RENEW_AGE && (!self.is_held(now) || age >= MAX_AGE);
        is_old || self.at.since(now) > MAX_STEP_BACK
    }

    fn is_held(&self, now: Timestamp) -> bool {
        self.hold_until.is_some_and(|until| now < until)
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

    fn on(connection: &CredentialSlot, tokens: &ProviderTokens) -> HeaderValue {
        tokens.authorization(connection).unwrap()
    }

    /// What a new connection would get.
    fn newest(tokens: &ProviderTokens) -> HeaderValue {
        on(&CredentialSlot::default(), tokens)
    }

    #[test]
    fn a_token_is_kept_for_20_minutes_and_renewed_before_60() {
        let (tokens, clock) = tokens();
        let first = newest(&tokens);
        clock.advance(29 * MINUTE);
        assert_eq!(newest(&tokens), first);
        clock.advance(MINUTE);
        assert_ne!(newest(&tokens), first);
    }

    #[test]
    fn a_connection_keeps_its_token_for_20_minutes_and_never_until_it_is_too_old() {
        let (tokens, clock) = tokens();
        let (early, late) = (CredentialSlot::default(), CredentialSlot::default());
        let first = on(&early, &tokens);
        clock.advance(29 * MINUTE);
        assert_eq!(on(&late, &tokens), first);
        clock.advance(MINUTE);
        let second = on(&early, &tokens);
        assert_ne!(second, first, "this connection has had the first for half an hour");
        assert_eq!(on(&late, &tokens), first, "and this one for a minute");
        clock.advance(19 * MINUTE);
        assert_eq!(on(&late, &tokens), first);
        clock.advance(MINUTE);
        assert_eq!(on(&late, &tokens), second);
    }

    #[test]
    fn a_token_called_expired_is_replaced_once_and_not_before_20_minutes() {
        let (tokens, clock) = tokens();
        let first = newest(&tokens);
        assert!(!tokens.replace(&first));
        assert_eq!(newest(&tokens), first);
        clock.advance(20 * MINUTE);
        let bound = CredentialSlot::default();
        assert_eq!(on(&bound, &tokens), first);
        assert!(tokens.replace(&first));
        let second = newest(&tokens);
        assert_ne!(second, first);
        // Another push that was refused with the first token gets the second one, not a third.
        assert!(tokens.replace(&first));
        assert_eq!(newest(&tokens), second);
        assert!(!tokens.replace(&second));
        assert_eq!(tokens.authorization(&bound), None, "it may not have another yet");
    }

    #[test]
    fn when_apns_was_given_too_many_tokens_the_old_one_is_kept_for_longer() {
        let (tokens, clock) = tokens();
        let first = newest(&tokens);
        clock.advance(25 * MINUTE);
        tokens.hold();
        clock.advance(20 * MINUTE);
        assert_eq!(newest(&tokens), first);
        assert!(!tokens.replace(&first));
        clock.advance(MINUTE);
        assert_ne!(newest(&tokens), first);
    }

    #[test]
    fn a_token_says_who_signed_it_and_when() {
        let (tokens, _) = tokens();
        let value = newest(&tokens);
        let jwt = value.to_str().unwrap().strip_prefix("bearer ").unwrap();
        let header = jsonwebtoken::decode_header(jwt).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::ES256, Some("KEY0000001")));
        let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(jwt).unwrap();
        assert_eq!(claims.claims["iss"], "TEAM000001");
        assert_eq!(claims.claims["iat"], 1_795_424_400);
    }
}
