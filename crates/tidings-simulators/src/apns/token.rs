//! Provider tokens: ES256 JWTs, verified once per connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::{ApnsEnvironment, ApnsReason};
use crate::{ApnsCredentials, SimulatorError};

/// A provider token may be at most an hour old ("Establishing a token-based connection to APNs").
const MAX_AGE_SECS: i64 = 3_600;

/// A new token is taken at most once per 20 minutes on one connection (same page).
const MIN_REFRESH_SECS: i64 = 1_200;

/// The public half of a signing key, registered for a team.
#[derive(Debug, Clone)]
pub struct ProviderKey {
    /// `kid` of the tokens it signs.
    pub key_id: String,
    /// `iss` of the tokens it signs.
    pub team_id: String,
    /// P-256 public key, SPKI PEM.
    pub public_key_pem: String,
    /// The environment that it is for; `None` is both, as of old.
    pub environment: Option<ApnsEnvironment>,
    /// The bundle ids that it is for; empty is all of the team.
    pub topics: Vec<String>,
}

impl From<&ApnsCredentials> for ProviderKey {
    fn from(credentials: &ApnsCredentials) -> Self {
        Self {
            key_id: credentials.key_id.clone(),
            team_id: credentials.team_id.clone(),
            public_key_pem: credentials.public_key_pem.clone(),
            environment: None,
            topics: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
}

/// A registered key.
pub(super) struct Registered {
    team_id: String,
    key: DecodingKey,
    environment: Option<ApnsEnvironment>,
    topics: Vec<String>,
}

impl Registered {
    /// Whether tokens of both may be used on one connection: "If you first push with a team-scoped key,
    /// you cannot then push with a topic-specific key". Relations between topic-specific keys are not
    /// simulated.
    fn is_related_to(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.topics.is_empty() && other.topics.is_empty())
    }

    /// Whether the key may sign for this topic, a bundle id with or without the suffix of a push
    /// type.
    pub(super) fn is_for(&self, topic: &str) -> bool {
        let is_bundle_of = |bundle: &String| {
            topic
                .strip_prefix(bundle.as_str())
                .is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'.', ..]))
        };
        self.topics.is_empty() || self.topics.iter().any(is_bundle_of)
    }
}

/// Verifies tokens against the registered keys.
pub(super) struct Verifier {
    keys: HashMap<String, Arc<Registered>>,
    environment: ApnsEnvironment,
    validation: Validation,
}

/// A token whose signature, key and team are right; its age is judged at each use.
#[derive(Clone)]
struct Verified {
    key: Arc<Registered>,
    issued_at_secs: i64,
}

impl Verifier {
    pub(super) fn new(
        keys: &[ProviderKey],
        environment: ApnsEnvironment,
    ) -> Result<Self, SimulatorError> {
        let mut registered = HashMap::new();
        for key in keys {
            let decoding =
                DecodingKey::from_ec_pem(key.public_key_pem.as_bytes()).map_err(|source| {
                    SimulatorError::PublicKey { owner: key.key_id.clone(), source }
                })?;
            let known = Registered {
                team_id: key.team_id.clone(),
                key: decoding,
                environment: key.environment,
                topics: key.topics.clone(),
            };
            registered.insert(key.key_id.clone(), Arc::new(known));
        }
        let mut validation = Validation::new(Algorithm::ES256);
        // Only iss and iat are Apple's; both are judged here, against the simulator's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self { keys: registered, environment, validation })
    }

    fn verify(&self, jwt: &str) -> Result<Verified, ApnsReason> {
        let invalid = |_| ApnsReason::InvalidProviderToken;
        let header = jsonwebtoken::decode_header(jwt).map_err(invalid)?;
        let key = header.kid.and_then(|kid| self.keys.get(&kid));
        let key = key.ok_or(ApnsReason::InvalidProviderToken)?;
        let claims = jsonwebtoken::decode::<Claims>(jwt, &key.key, &self.validation)
            .map_err(invalid)?
            .claims;
        if claims.iss != key.team_id {
            return Err(ApnsReason::InvalidProviderToken);
        }
        if key.environment.is_some_and(|environment| environment != self.environment) {
            return Err(ApnsReason::BadEnvironmentKeyIdInToken);
        }
        Ok(Verified { key: Arc::clone(key), issued_at_secs: claims.iat })
    }
}

/// The provider tokens that one connection has used.
#[derive(Default)]
pub(super) struct ConnectionTokens {
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    /// At most four: they are adopted 20 minutes apart and forgotten after an hour.
    tokens: Vec<(Box<str>, Verified)>,
    /// The key of the first push.
    first: Option<Arc<Registered>>,
    adopted_at_secs: Option<i64>,
}

impl ConnectionTokens {
    /// Judges the value of `authorization` at `now_secs` and returns the key that signed it. Tokens
    /// issued up to `expired_up_to_secs` count as expired.
    ///
    /// A token is verified when it is first seen on the connection and remembered by its text.
    pub(super) fn check(
        &self,
        verifier: &Verifier,
        authorization: Option<&http::HeaderValue>,
        now_secs: i64,
        expired_up_to_secs: i64,
    ) -> Result<Arc<Registered>, ApnsReason> {
        let check_age = |token: &Verified| {
            if token.issued_at_secs <= expired_up_to_secs {
                return Err(ApnsReason::ExpiredProviderToken);
            }
            check_age(token.issued_at_secs, now_secs)
        };
        let value = authorization.ok_or(ApnsReason::MissingProviderToken)?;
        let value = value.to_str().map_err(|_| ApnsReason::InvalidProviderToken)?;
        let jwt = match value.split_once(' ') {
            Some((scheme, jwt)) if scheme.eq_ignore_ascii_case("bearer") => jwt.trim(),
            _ => "",
        };
        if jwt.is_empty() {
            return Err(ApnsReason::MissingProviderToken);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, token)) = used.tokens.iter().find(|(known, _)| **known == *jwt) {
            return check_age(token).map(|()| Arc::clone(&token.key));
        }
        let token = verifier.verify(jwt)?;
        check_age(&token)?;
        let key = Arc::clone(&token.key);
        used.adopt(jwt, token, now_secs).map(|()| key)
    }
}

impl Used {
    fn adopt(&mut self, jwt: &str, token: Verified, now_secs: i64) -> Result<(), ApnsReason> {
        // A connection serves one team; that this is the reason given otherwise is inferred.
        let first = self.first.get_or_insert_with(|| Arc::clone(&token.key));
        if first.team_id != token.key.team_id {
            return Err(ApnsReason::InvalidProviderToken);
        }
        if !first.is_related_to(&token.key) {
            return Err(ApnsReason::UnrelatedKeyIdInToken);
        }
        if self.adopted_at_secs.is_some_and(|at| now_secs.saturating_sub(at) < MIN_REFRESH_SECS) {
            return Err(ApnsReason::TooManyProviderTokenUpdates);
        }
        self.tokens.retain(|(_, known)| check_age(known.issued_at_secs, now_secs).is_ok());
        self.adopted_at_secs = Some(now_secs);
        self.tokens.push((jwt.into(), token));
        Ok(())
    }
}

fn check_age(issued_at_secs: i64, now_secs: i64) -> Result<(), ApnsReason> {
    match now_secs.saturating_sub(issued_at_secs) {
        ..0 => Err(ApnsReason::InvalidProviderToken),
        0..=MAX_AGE_SECS => Ok(()),
        _ => Err(ApnsReason::ExpiredProviderToken),
    }
}
