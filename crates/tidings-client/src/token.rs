//! Where the tokens of a session come from.

use std::sync::Arc;

use futures_util::future::BoxFuture;

/// No token is to be had now. The subscription asks again with its next attempt.
#[derive(Debug, thiserror::Error)]
#[error("no token is to be had")]
pub struct TokenError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where the tokens of a session come from.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is valid now. Asked for before every connection, and once more when the server
    /// did not accept the last: what it answers then has to be another one, or the subscription ends.
    fn token(&self) -> BoxFuture<'_, Result<Arc<str>, TokenError>>;
}

/// A token that cannot be renewed.
pub(crate) struct FixedToken(pub(crate) Arc<str>);

impl TokenSource for FixedToken {
    fn token(&self) -> BoxFuture<'_, Result<Arc<str>, TokenError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
    }
}
