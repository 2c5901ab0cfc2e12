//! Why a client for a push service cannot be made.

use tidings_core::clock::Timestamp;

/// Why a client for a push service cannot be made: its configuration or a key is wrong.
///
/// Neither a message nor its sources hold any part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushSetupError {
    /// The address is not of the form `https://host[:port]`.
    #[error("the address {endpoint} is not https://host or https://host:port")]
    Endpoint {
        /// The address as it was given.
        endpoint: String,
    },
    /// The address of the token endpoint in a service account is no `https` URL.
    #[error("token_uri of the service account is not an https url")]
    TokenUri,
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust are not valid PEM")]
    CaPem(#[source] rustls::pki_types::pem::Error),
    /// A certificate to trust cannot be used.
    #[error("a certificate to trust cannot be used")]
    CaCertificate(#[source] rustls::Error),
    /// The system has no certificates to trust, and the configuration names none.
    #[error("there are no certificates to trust, neither the system's nor configured ones")]
    NoCertificates,
    /// The TLS library refused its parameters.
    #[error("tls cannot be set up")]
    Tls(#[source] rustls::Error),
    /// A signing key cannot be read or used.
    #[error("the {what} cannot be used")]
    Key {
        /// Which key.
        what: &'static str,
        /// The cause.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    /// A key id, team id or project id cannot stand where it has to.
    #[error("the {what} is not valid")]
    Id {
        /// Which id.
        what: &'static str,
    },
    /// A client certificate is no certificate, or of a form that cannot be used.
    #[error("the client certificate cannot be read")]
    ClientCertificate,
    /// The key of a client certificate is no key, or of a form that cannot be used.
    #[error("the key of the client certificate cannot be read")]
    ClientKey,
    /// The key is not that of the client certificate.
    #[error("the key does not belong to the client certificate")]
    ClientKeyMismatch,
    /// A `.p12` file is none, has another password, or holds no certificate with its key.
    #[error(
        "the .p12 file cannot be read with this password, or holds no certificate with its key"
    )]
    ClientPkcs12,
    /// The time of a client certificate has not come.
    #[error("the client certificate is not valid before {from}")]
    ClientCertificateNotYetValid {
        /// When it begins to be valid.
        from: Timestamp,
    },
    /// The time of a client certificate is over.
    #[error("the client certificate expired at {at}")]
    ClientCertificateExpired {
        /// When it ended.
        at: Timestamp,
    },
    /// The key that browsers subscribe to is none, or of another curve than P-256.
    #[error("the vapid key is no private key on p-256")]
    VapidKey,
    /// Push services are to be told whom to write to, and are not.
    #[error("the vapid subject is not a mailto: or https: url")]
    VapidSubject,
    /// The service account file is not what Google hands out.
    // The parser's own words are left out: they may quote the file, and it holds a key.
    #[error("the service account file is not valid at line {line}, column {column}")]
    ServiceAccount {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
}
