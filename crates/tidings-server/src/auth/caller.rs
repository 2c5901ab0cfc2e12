//! From the bearer token of a request to who is calling, and what they may do.

use std::sync::{Arc, RwLock};

use tidings_core::{clock::Timestamp, ids::UserId};

use super::{
    jwks::{JwksError, JwksRefresher, KeySet},
    keys::{ApiKeys, KnownKey},
    revoked::RevokedTokens,
    scope::Scope,
    tokens::{TokenError, TokenVerifier, UserToken},
};
use crate::config::AuthSection;

/// Who is calling.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Anyone, on a node that is open: everything is allowed.
    Open,
    /// The app's backend, with a key.
    Server {
        /// The key's name in the configuration.
        name: String,
        /// What the key may do.
        scopes: Vec<Scope>,
    },
    /// One of the app's users, with a token.
    User(UserToken),
}

/// The caller may not do this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// The key lacks a scope.
    #[error("the key lacks the scope {}", .0.as_str())]
    Scope(Scope),
    /// A user's token opens that user's own things only.
    #[error("a user's token opens that user's own resources only")]
    NotYours,
    /// Only servers may do this.
    #[error("this needs a server key with the scope {}", .0.as_str())]
    ServersOnly(Scope),
    /// `me` stands for the user of a token, and there is none.
    #[error("`me` stands for the user of a token, and this request has none")]
    NoMe,
    /// The path names a user that cannot exist.
    #[error("the path names no valid user id")]
    BadUser,
}

/// Why a request's credentials are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There are none.
    #[error("send a server key or a user's token as `Authorization: Bearer …`")]
    Missing,
    /// The key is not configured.
    #[error("the key is not known")]
    UnknownKey,
    /// The token is not accepted.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthSetupError {
    /// The keys of user tokens cannot be had.
    #[error("the keys for user tokens cannot be set up")]
    Jwks(#[from] JwksError),
}

/// Checks credentials.
pub struct Authenticator {
    keys: ApiKeys,
    tokens: TokenVerifier,
    revoked: Arc<RevokedTokens>,
    open: bool,
}

impl Authenticator {
    /// Sets up what `section` says. The second part, if any, has to be run for keys to stay fresh.
    ///
    /// # Errors
    ///
    /// [`AuthSetupError`]; a key set address that does not answer yet is not an error.
    pub fn new(
        section: &AuthSection,
    ) -> Result<(Self, Option<Arc<JwksRefresher>>), AuthSetupError> {
        let keys = ApiKeys::from_config(&section.keys);
        let config = &section.tokens;
        let mut to_run = None;
        let tokens = if !config.hs256_secret.is_empty() {
            TokenVerifier::with_secret(config)
        } else if !config.jwks_file.as_os_str().is_empty() {
            let set = Arc::new(RwLock::new(KeySet::from_file(&config.jwks_file)?));
            TokenVerifier::with_key_set(set, None, config)
        } else if !config.jwks_url.is_empty() {
            let set = Arc::new(RwLock::new(KeySet::default()));
            let refresher =
                Arc::new(JwksRefresher::new(config.jwks_url.clone(), Arc::clone(&set))?);
            to_run = Some(Arc::clone(&refresher));
            TokenVerifier::with_key_set(set, Some(refresher), config)
        } else if keys.is_empty() {
            TokenVerifier::open()
        } else {
            TokenVerifier::none()
        };
        // Without keys the configuration allows a loopback address only.
        let open = keys.is_empty();
        let revoked = Arc::new(RevokedTokens::new(section.revocations_max));
        Ok((Self { keys, tokens, revoked, open }, to_run))
    }

    /// Whether the node takes requests without credentials.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Says who sent a request with this `Authorization` bearer.
    ///
    /// # Errors
    ///
    /// [`AuthError`]. On an open node a request without credentials is fine, one with wrong ones is
    /// not.
    pub fn caller(&self, bearer: Option<&str>) -> Result<Caller, AuthError> {
        match bearer {
            None if self.open => Ok(Caller::Open),
            None => Err(AuthError::Missing),
            Some(key) if ApiKeys::is_key(key) => {
                let known = self.keys.find(key).ok_or(AuthError::UnknownKey)?;
                let KnownKey { name, scopes } = &*known;
                Ok(Caller::Server { name: name.clone(), scopes: scopes.clone() })
            }
            Some(token) => Ok(Caller::User(self.user(token)?)),
        }
    }

    /// Checks the token of a live session.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn user(&self, token: &str) -> Result<UserToken, TokenError> {
        let token = self.tokens.verify(token)?;
        self.recheck(&token.user, token.issued_at)?;
        Ok(token)
    }

    /// Checks that a token that was accepted has not been revoked since.
    ///
    /// # Errors
    ///
    /// [`TokenError::Revoked`].
    pub fn recheck(&self, user: &UserId, issued_at: Option<Timestamp>) -> Result<(), TokenError> {
        if self.revoked.is_revoked(user, issued_at) { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// The tokens that are refused although they are valid.
    #[must_use]
    pub fn revoked(&self) -> &Arc<RevokedTokens> {
        &self.revoked
    }
}

impl Caller {
    /// Checks that the caller may do `scope` for everyone.
    ///
    /// # Errors
    ///
    /// [`Forbidden`].
    pub fn server(&self, scope: Scope) -> Result<(), Forbidden> {
        match self {
            Self::Open => Ok(()),
            Self::Server { scopes, .. } if scopes.contains(&scope) => Ok(()),
            Self::Server { .. } => Err(Forbidden::Scope(scope)),
            Self::User(_) => Err(Forbidden::ServersOnly(scope)),
        }
    }

    /// Checks that the caller may do `scope` for the user that a path names, and returns that user.
    /// `me` is the user of the token.
    ///
    /// # Errors
    ///
    /// [`Forbidden`].
    pub fn for_user(&self, scope: Scope, named: &str) -> Result<UserId, Forbidden> {
        if let Self::User(token) = self {
            let own = named == "me" || named == token.user.as_str();
            return if own { Ok(token.user.clone()) } else { Err(Forbidden::NotYours) };
        }
        self.server(scope)?;
        if named == "me" {
            return Err(Forbidden::NoMe);
        }
        UserId::new(named).map_err(|_| Forbidden::BadUser)
    }
}
