//! The server behind TLS. The server of the tests has none of its own, so that it ends before it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tidings_core::{error_chain::ErrorChain, ports::SocialGraphStore};
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore, Neo4jOpenError};
use tidings_testkit::services::neo4j_uri;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::harness::{at, claim, config, user};

/// An authority, its certificate in a file, and a server's certificate for `localhost`.
fn authority(directory: &TempDir, name: &str) -> (PathBuf, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = directory.path().join(name);
    std::fs::write(&file, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (file, server)
}

/// Takes TLS connections and passes them on to Neo4j.
async fn end_tls(tls: ServerConfig) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = neo4j_uri().strip_prefix("bolt://").unwrap().to_owned();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(pass_on(acceptor.clone(), client, server.clone()));
        }
    });
    (address, accepting)
}

async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, server: String) {
    // A client that does not trust the certificate leaves.
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let mut server = TcpStream::connect(server).await.unwrap();
    // Either end may close at any time.
    drop(copy_bidirectional(&mut client, &mut server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_the_certificates_of_the_file_and_by_its_name() {
    let claim = claim().await;
    let directory = tempfile::tempdir().unwrap();
    let (ca, tls) = authority(&directory, "ca.pem");
    let (stranger, _) = authority(&directory, "stranger.pem");
    let (address, _ended_with_us) = end_tls(tls).await;
    let open = async |host: &str, ca: Option<PathBuf>| {
        let url = format!("bolt+s://{host}:{}", address.port());
        Neo4jGraphStore::open(Neo4jGraphConfig { url, ca, ..config(&claim) }).await
    };
    let store = open("localhost", Some(ca.clone())).await.unwrap();
    assert!(store.add_follow(&user("ann"), &user("ben"), at(1)).await.unwrap());
    assert!(store.is_following(&user("ann"), &user("ben")).await.unwrap());
    for (host, ca) in [("localhost", Some(stranger)), ("localhost", None), ("127.0.0.1", Some(ca))]
    {
        let error = open(host, ca.clone()).await.unwrap_err();
        let said = ErrorChain(&error).to_string();
        assert!(matches!(error, Neo4jOpenError::Server { .. }), "{host} {ca:?}: {said}");
        assert!(said.to_lowercase().contains("certificate"), "{host} {ca:?}: {said}");
    }
}
