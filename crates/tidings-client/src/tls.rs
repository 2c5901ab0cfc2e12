//! TLS for `https` nodes.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Why TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The system trusts nobody.
    #[error("the system has no certificates to trust")]
    NoCertificates,
    /// The library refused its parameters.
    #[error("tls cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Trusts whom the system trusts. The crypto library is named here: which one is the default of the
/// process depends on what else is linked into it.
pub(crate) fn config() -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are passed over: one broken file must not lock out the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoCertificates);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
