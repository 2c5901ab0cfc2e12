//! How APNs is reached, and as whom.

use tidings_core::device::Environment;

use super::ApnsCertificate;
use crate::push::{ConnectionConfig, SecretText};

/// How an [`ApnsClient`](super::ApnsClient) reaches APNs, and as whom.
#[derive(Debug, Clone)]
pub struct ApnsConfig {
    /// Which of Apple's two services.
    pub environment: Environment,
    /// Another address than Apple's for that environment: its port 2197, or a simulator.
    pub endpoint: Option<String>,
    /// Who sends.
    pub auth: ApnsAuth,
    /// Certificates (PEM) to trust besides the system's, for a simulator.
    pub ca_pem: Option<String>,
    /// How long to wait after a failure of Apple's own (500, 503), in milliseconds. Apple asks for
    /// 15 minutes.
    pub outage_wait_ms: u64,
    /// Limits of the connections.
    pub connection: ConnectionConfig,
}

/// Who sends.
#[derive(Debug, Clone)]
pub enum ApnsAuth {
    /// A signing key: for all apps of a team, and never out of date.
    Token {
        /// The text of the `.p8` file from Apple's developer site.
        key_pem: SecretText,
        /// The key's id, 10 characters.
        key_id: String,
        /// The team's id, 10 characters.
        team_id: String,
    },
    /// A certificate: for one app, and for 13 months.
    Certificate(ApnsCertificate),
}

impl ApnsConfig {
    /// Apple's production service, and defaults for the rest.
    #[must_use]
    pub fn new(auth: ApnsAuth) -> Self {
        Self {
            environment: Environment::Production,
            endpoint: None,
            auth,
            ca_pem: None,
            outage_wait_ms: 15 * 60 * 1_000,
            connection: ConnectionConfig::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        match (&self.endpoint, self.environment) {
            (Some(endpoint), _) => endpoint,
            (None, Environment::Production) => "https://api.push.apple.com",
            (None, Environment::Sandbox) => "https://api.sandbox.push.apple.com",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_to_unless_an_address_does() {
        let auth = ApnsAuth::Token {
            key_pem: SecretText::new(String::new()),
            key_id: String::new(),
            team_id: String::new(),
        };
        let mut config = ApnsConfig::new(auth);
        assert_eq!(config.endpoint(), "https://api.push.apple.com");
        config.environment = Environment::Sandbox;
        assert_eq!(config.endpoint(), "https://api.sandbox.push.apple.com");
        config.endpoint = Some("https://api.push.apple.com:2197".to_owned());
        assert_eq!(config.endpoint(), "https://api.push.apple.com:2197");
    }
}
