//! Tokens of the app's users: JWT (RFC 7519), signed by the app.

use std::sync::{Arc, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};
use tidings_core::{clock::Timestamp, ids::UserId};

use super::jwks::{JwksRefresher, KeySet};
use crate::config::TokensSection;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToken {
    /// Whose it is.
    pub user: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was issued, if it says so.
    pub issued_at: Option<Timestamp>,
}

/// Why a token is not accepted. Says nothing that would help to make a better one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The configuration names no keys to check tokens with.
    #[error("this node is not configured to accept user tokens (auth.tokens)")]
    NotConfigured,
    /// The time in `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// Its user was signed out everywhere since it was issued.
    #[error("the token has been revoked")]
    Revoked,
    /// The signature, the issuer, the audience or the form is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// The token was signed by a key that is not in the key set.
    #[error("the token names a key that is not known")]
    UnknownKey,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
}

enum Keys {
    /// `user:ID` is taken for a token. Loopback without any configured key only.
    Open,
    None,
    Secret(Box<DecodingKey>),
    Set {
        keys: Arc<RwLock<KeySet>>,
        refresher: Option<Arc<JwksRefresher>>,
    },
}

/// Checks tokens.
pub struct TokenVerifier {
    keys: Keys,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_secs: u64,
}

impl TokenVerifier {
    /// Takes `user:ID` for a token of that user.
    #[must_use]
    pub fn open() -> Self {
        Self { keys: Keys::Open, issuer: None, audience: None, leeway_secs: 0 }
    }

    /// Accepts no token.
    #[must_use]
    pub fn none() -> Self {
        Self { keys: Keys::None, issuer: None, audience: None, leeway_secs: 0 }
    }

    /// Accepts HS256 with the secret of `section`.
    #[must_use]
    pub fn with_secret(section: &TokensSection) -> Self {
        let key = DecodingKey::from_secret(section.hs256_secret.expose().as_bytes());
        Self::with(Keys::Secret(Box::new(key)), section)
    }

    /// Accepts RS256 and ES256 with the keys of a set, which `refresher` keeps up to date.
    #[must_use]
    pub fn with_key_set(
        keys: Arc<RwLock<KeySet>>,
        refresher: Option<Arc<JwksRefresher>>,
        section: &TokensSection,
    ) -> Self {
        Self::with(Keys::Set { keys, refresher }, section)
    }

    fn with(keys: Keys, section: &TokensSection) -> Self {
        let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            keys,
            issuer: set(&section.issuer),
            audience: set(&section.audience),
            leeway_secs: section.leeway_secs,
        }
    }

    /// Checks `token`.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when it is not to be accepted.
    pub fn verify(&self, token: &str) -> Result<UserToken, TokenError> {
        let data = match &self.keys {
            Keys::Open => return verify_open(token),
            Keys::None => return Err(TokenError::NotConfigured),
            Keys::Secret(key) => self.decode(token, key, Algorithm::HS256)?,
            Keys::Set { keys, refresher } => {
                self.decode_with_set(token, keys, refresher.as_deref())?
            }
        };
        let user = UserId::new(&data.claims.sub).map_err(|_| TokenError::Invalid)?;
        let Claims { exp, iat, .. } = data.claims;
        // What is accepted lasts for as long as it would be accepted again.
        let expires_at = from_secs(exp.saturating_add(self.leeway_secs));
        Ok(UserToken { user, expires_at, issued_at: iat.map(from_secs) })
    }

    fn decode_with_set(
        &self,
        token: &str,
        keys: &RwLock<KeySet>,
        refresher: Option<&JwksRefresher>,
    ) -> Result<TokenData<Claims>, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let found = {
            let keys = keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            keys.find(header.kid.as_deref())
        };
        let Some(found) = found else {
            if let Some(refresher) = refresher {
                refresher.key_is_missing();
            }
            return Err(TokenError::UnknownKey);
        };
        // The key decides the algorithm, never the token: a public key must not verify HS256.
        self.decode(token, &found.key, found.algorithm)
    }

    fn decode(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<TokenData<Claims>, TokenError> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway_secs;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        jsonwebtoken::decode(token, key, &validation).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
            _ => TokenError::Invalid,
        })
    }
}

fn from_secs(secs: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(secs.saturating_mul(1000)).unwrap_or(i64::MAX))
}

fn verify_open(token: &str) -> Result<UserToken, TokenError> {
    let id = token.strip_prefix("user:").ok_or(TokenError::Invalid)?;
    let user = UserId::new(id).map_err(|_| TokenError::Invalid)?;
    Ok(UserToken { user, expires_at: Timestamp::from_millis(i64::MAX), issued_at: None })
}

/// Makes a token for `user` with an HS256 secret: for tests, and for trying things out.
///
/// # Errors
///
/// [`TokenError::Invalid`] if it cannot be signed.
pub fn mint_hs256(
    section: &TokensSection,
    user: &UserId,
    issued_at: Timestamp,
    expires_at: Timestamp,
) -> Result<String, TokenError> {
    let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let claims = Claims {
        sub: user.as_str().to_owned(),
        exp: expires_at.as_secs(),
        iat: Some(issued_at.as_secs()),
        iss: set(&section.issuer),
        aud: set(&section.audience).map(Into::into),
    };
    let key = EncodingKey::from_secret(section.hs256_secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| TokenError::Invalid)
}
