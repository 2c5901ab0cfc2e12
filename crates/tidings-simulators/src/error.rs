//! Why a simulator could not be set up or told what to do.

use std::net::SocketAddr;

/// Why a simulator could not be set up or told what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// A key or a certificate could not be made.
    #[error("could not make the {what}")]
    KeyMaterial {
        /// What was being made.
        what: &'static str,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refused the certificate or its parameters.
    #[error("tls could not be set up")]
    Tls(#[source] rustls::Error),
    /// The TLS library refused the authority of client certificates.
    #[error("client certificates could not be set up")]
    ClientVerifier(#[source] rustls::server::VerifierBuilderError),
    /// A registered public key cannot be read.
    #[error("the public key of {owner} is not usable")]
    PublicKey {
        /// Key id or account that the key belongs to.
        owner: String,
        /// The cause.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    /// The address cannot be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The table of device states is full; forget some first.
    #[error("the limit of {limit} device states is reached")]
    TooManyDeviceStates {
        /// The configured limit.
        limit: usize,
    },
    /// Shares of failures are not shares of one whole.
    #[error("shares have to be from 0 to 1 and to add up to 1 at most")]
    Shares,
    /// A browser's key could not be made: the random source failed.
    #[error("could not make the keys of a subscription")]
    UserAgentKey,
    /// The key that a subscription is to be for is not a P-256 point in base64url.
    #[error("the application server key is not a P-256 public key in base64url")]
    ApplicationServerKey,
    /// The name of a subscription cannot stand in a path.
    #[error("the name is not 1 to 200 letters, digits, dots, dashes or underscores")]
    SubscriptionName,
    /// There are too many subscriptions.
    #[error("the limit of {limit} subscriptions is reached")]
    TooManySubscriptions {
        /// The configured limit.
        limit: usize,
    },
}
