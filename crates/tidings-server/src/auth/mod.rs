//! Who is calling: server API keys with scopes, and the tokens of the app's users.

mod caller;
mod jwks;
mod keys;
mod revoked;
mod scope;
mod tokens;

pub use caller::{AuthError, AuthSetupError, Authenticator, Caller, Forbidden};
pub use jwks::{JwksError, JwksRefresher};
pub use keys::{ApiKey, ApiKeys};
pub use revoked::RevokedTokens;
pub use scope::Scope;
pub use tokens::{TokenError, TokenVerifier, UserToken, mint_hs256};
