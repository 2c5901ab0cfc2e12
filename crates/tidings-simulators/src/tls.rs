//! A throw-away certificate authority and the server certificate that it signs.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::SimulatorError;
use crate::transport::{ClientCertificates, Protocol};

/// What the certificate is good for: this machine, and the vendors' hosts, because some clients know
/// no others and are led here by the names that their machine resolves.
const NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "fcm.googleapis.com",
    "oauth2.googleapis.com",
];

/// A certificate for `localhost`, `127.0.0.1`, `::1` and the hosts of Apple and Google, and the
/// authority that signed it.
///
/// Made anew by each [`generate`](Self::generate) and kept in memory only. Cloning shares it, so
/// that several simulators can be trusted through one authority.
#[derive(Clone)]
pub struct SimulatorTls {
    ca_pem: Arc<str>,
    issuer: Arc<CertifiedIssuer<'static, KeyPair>>,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl SimulatorTls {
    /// Makes a new authority and a server certificate.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::KeyMaterial`] if the random source or the library fails.
    pub fn generate() -> Result<Self, SimulatorError> {
        let made = |what| move |source| SimulatorError::KeyMaterial { what, source };

        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "Tidings simulator authority");
        let key = KeyPair::generate().map_err(made("authority key"))?;
        let authority =
            CertifiedIssuer::self_signed(authority, key).map_err(made("authority certificate"))?;

        let names = NAMES.map(String::from);
        let mut server = CertificateParams::new(names).map_err(made("server certificate"))?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Strict verifiers (OpenSSL with X509_STRICT, Python 3.13) ask for it.
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(made("server key"))?;
        let server = server.signed_by(&key, &authority).map_err(made("server certificate"))?;

        Ok(Self {
            ca_pem: authority.pem().into(),
            issuer: Arc::new(authority),
            chain: vec![server.der().clone()],
            key: Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der()).into()),
        })
    }

    /// The authority's certificate as PEM: what a client must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The authority, to sign with.
    pub(crate) fn issuer(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.issuer
    }

    /// An acceptor that offers these protocols.
    ///
    /// A client that offers others only gets a fatal `no_application_protocol` alert. One that
    /// offers none completes the handshake: what to make of it is the caller's to say. A client
    /// certificate has to be from this authority and in date, or the handshake fails.
    pub(crate) fn acceptor(
        &self,
        protocols: &[Protocol],
        certificates: ClientCertificates,
    ) -> Result<TlsAcceptor, SimulatorError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(SimulatorError::Tls)?;
        let builder = match certificates {
            ClientCertificates::Ignored => builder.with_no_client_auth(),
            ClientCertificates::Optional => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).map_err(SimulatorError::Tls)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(SimulatorError::ClientVerifier)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(SimulatorError::Tls)?;
        config.alpn_protocols = protocols.iter().map(|it| it.alpn().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for SimulatorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorTls").finish_non_exhaustive()
    }
}
