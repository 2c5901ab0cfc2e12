//! From a URL to a driver: address, routing, TLS.

use std::{path::Path, sync::Arc};

use neo4j::driver::{
    ConnectionConfig, Driver, DriverConfig, KeepAliveConfig, auth::AuthToken,
    notification::NotificationFilter,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tidings_core::ports::BoxError;

use std::time::Duration;

use super::{config::Neo4jGraphConfig, error::Neo4jOpenError};

/// What a URL has to be.
const EXPECTED: &str =
    "bolt://host:port or neo4j://host:port, or bolt+s:// or neo4j+s:// for TLS, without a user";

/// A connection that has been idle for so long is asked for a sign of life before it is used.
const IDLE: Duration = Duration::from_secs(1);
/// How long a connection is silent before the kernel asks whether the other end is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Makes the driver; nothing is connected yet.
pub(super) fn driver(config: &Neo4jGraphConfig) -> Result<Driver, Neo4jOpenError> {
    let wrong = |source: BoxError| Neo4jOpenError::Address { expected: EXPECTED, source };
    let (scheme, rest) = config.url.split_once("://").ok_or_else(|| wrong("no scheme".into()))?;
    let (scheme, is_secure) = match scheme.strip_suffix("+s") {
        Some(scheme) => (scheme, true),
        None => (scheme, false),
    };
    if !matches!(scheme, "bolt" | "neo4j") {
        return Err(wrong(format!("the scheme is {scheme}").into()));
    }
    // The driver would show a user and password of the URL in its error.
    if rest.contains('@') {
        return Err(wrong("it holds a user".into()));
    }
    // Without TLS as far as the driver is concerned: its own way to set it up takes the process's
    // default cryptography, of which there may be none.
    let mut to: ConnectionConfig =
        format!("{scheme}://{rest}").parse().map_err(|error| wrong(Box::new(error)))?;
    if is_secure {
        to = to.with_encryption_custom_tls_config(tls(config.ca.as_deref())?);
    } else if let Some(path) = &config.ca {
        let source = "the address asks for no TLS: begin it with bolt+s:// or neo4j+s://".into();
        return Err(Neo4jOpenError::Certificates { path: path.clone(), source });
    }
    let auth = AuthToken::new_basic_auth(config.user.as_str(), config.password.as_str());
    let how = DriverConfig::new()
        .with_auth(Arc::new(auth))
        .with_user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")).to_owned())
        // One for each thread, and one to spare for the driver's own questions about routes.
        .with_max_connection_pool_size(config.connections.max(1) + 2)
        .with_connection_timeout(config.connect_timeout)
        .with_connection_acquisition_timeout(config.query_timeout)
        .with_idle_time_before_connection_test(IDLE)
        .with_keep_alive(KeepAliveConfig::CustomTime(KEEP_ALIVE))
        .with_notification_filter(NotificationFilter::new_disable_all())
        .with_telemetry(false);
    Ok(Driver::new(to, how))
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, Neo4jOpenError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unusable = |source| Neo4jOpenError::Certificates { path: path.into(), source };
            for certificate in read_pem(path).map_err(unusable)? {
                roots.add(certificate).map_err(|error| unusable(Box::new(error)))?;
            }
        }
        None => {
            // The system's store may hold oddities that no server uses: those are left out.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Neo4jOpenError::Tls { source: Box::new(error) })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_pem(path: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let pem = std::fs::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Neo4jGraphConfig {
        Neo4jGraphConfig::new(url, "neo4j", "secret-word")
    }

    #[test]
    fn an_address_is_refused_without_showing_a_password() {
        for url in
            ["", "localhost:7687", "http://db:7474", "bolt+ssc://db", "bolt://u:secret-word@db"]
        {
            let error = driver(&config(url)).unwrap_err();
            assert!(matches!(error, Neo4jOpenError::Address { .. }), "{url}: {error}");
            assert!(!format!("{error:?}").contains("secret-word"), "{url}: {error:?}");
        }
        assert!(!format!("{:?}", config("bolt://db")).contains("secret-word"));
    }

    #[test]
    fn an_address_says_whether_to_encrypt() {
        for (url, is_encrypted) in [
            ("bolt://db", false),
            ("neo4j://db:7687", false),
            ("bolt+s://db:7687", true),
            ("neo4j+s://[::1]:7687", true),
        ] {
            assert_eq!(driver(&config(url)).unwrap().is_encrypted(), is_encrypted, "{url}");
        }
    }

    #[test]
    fn certificates_are_read_or_refused_by_their_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        for (url, ca) in [
            ("bolt+s://db", file.clone()),
            ("bolt+s://db", directory.path().join("absent.pem")),
            ("bolt://db", file),
        ] {
            let config = Neo4jGraphConfig { ca: Some(ca.clone()), ..config(url) };
            let error = driver(&config).unwrap_err();
            assert!(error.to_string().contains(ca.to_str().unwrap()), "{error}");
        }
    }
}
