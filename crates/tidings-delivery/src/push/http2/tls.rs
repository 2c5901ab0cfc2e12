//! Whom to trust, and who we are.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use tokio_rustls::TlsConnector;

use crate::push::PushSetupError;

/// The protocols of the push services with one host.
pub(crate) const HTTP2_ONLY: &[&[u8]] = &[b"h2"];

/// A certificate chain and its key, checked to belong together.
pub(crate) struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PushSetupError> {
        let signs = provider().key_provider.load_private_key(key.clone_key());
        let signs = signs.map_err(|_| PushSetupError::ClientKey)?;
        match CertifiedKey::new(chain.clone(), signs).keys_match() {
            Ok(()) => Ok(Self { chain, key }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(PushSetupError::ClientKeyMismatch),
            Err(_) => Err(PushSetupError::ClientCertificate),
        }
    }

    #[cfg(test)]
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

/// The certificates that servers are checked against: the system's, and configured ones.
#[derive(Clone)]
pub(crate) struct Trust {
    connector: TlsConnector,
}

impl Trust {
    /// Reads the system's certificates and adds those in `ca_pem`. Servers have to speak HTTP/2.
    pub(crate) fn load(ca_pem: Option<&str>) -> Result<Self, PushSetupError> {
        Self::load_for(ca_pem, HTTP2_ONLY, None)
    }

    /// As [`load`](Self::load), for servers that speak one of `protocols` (ALPN, ours first), and
    /// that ask who we are if there is an `identity`.
    pub(crate) fn load_for(
        ca_pem: Option<&str>,
        protocols: &[&[u8]],
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, PushSetupError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(PushSetupError::Tls)?
            .with_root_certificates(roots(ca_pem)?);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(ClientIdentity { chain, key }) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(PushSetupError::Tls)?,
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(ca_pem: Option<&str>) -> Result<RootCertStore, PushSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in
        ca_pem.into_iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()))
    {
        let certificate = certificate.map_err(PushSetupError::CaPem)?;
        roots.add(certificate).map_err(PushSetupError::CaCertificate)?;
    }
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    // The system's store may hold oddities that no server uses: those are left out.
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(added, ignored, "read the system's certificates");
    if roots.is_empty() {
        return Err(PushSetupError::NoCertificates);
    }
    Ok(roots)
}
