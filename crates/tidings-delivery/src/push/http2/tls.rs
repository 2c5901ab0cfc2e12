//! Whom to trust.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use crate::push::PushSetupError;

/// The certificates that servers are checked against: the system's, and configured ones.
#[derive(Clone)]
pub(crate) struct Trust {
    connector: TlsConnector,
}

impl Trust {
    /// Reads the system's certificates and adds those in `ca_pem`.
    pub(crate) fn load(ca_pem: Option<&str>) -> Result<Self, PushSetupError> {
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(PushSetupError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}
