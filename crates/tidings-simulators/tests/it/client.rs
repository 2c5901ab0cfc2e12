//! An HTTP/2 client with nothing between the test and the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tidings_simulators::apns::ApnsCertificate;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }
}

/// One connection. Its driver ends with it.
pub(crate) struct Client {
    requests: SendRequest<Bytes>,
    driver: JoinSet<Result<(), h2::Error>>,
}

/// Opens TLS with the protocols that are offered.
pub(crate) async fn tls(
    address: SocketAddr,
    ca_pem: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_with(address, ca_pem, alpn, None).await
}

/// The same with a certificate of the client's.
pub(crate) async fn tls_with(
    address: SocketAddr,
    ca_pem: &str,
    alpn: &[&str],
    certificate: Option<&ApnsCertificate>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(ApnsCertificate { certificate_pem, private_key_pem, .. }) => {
            let chain = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, ca_pem: &str) -> Self {
        Self::connect_offering(&["h2"], address, ca_pem).await
    }

    pub(crate) async fn connect_offering(alpn: &[&str], address: SocketAddr, ca_pem: &str) -> Self {
        Self::over(tls(address, ca_pem, alpn).await.expect("tls handshake")).await
    }

    /// Speaks HTTP/2 over an open stream.
    pub(crate) async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (requests, connection) = h2::client::handshake(stream).await.expect("h2 handshake");
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self { requests, driver }
    }

    pub(crate) async fn send(&self, request: Request<()>, body: Bytes) -> Result<Reply, h2::Error> {
        timeout(PATIENCE, self.exchange(request, body)).await.expect("an answer in time")
    }

    /// How the connection ended, once it has.
    pub(crate) async fn closed(mut self) -> Result<(), h2::Error> {
        drop(self.requests);
        timeout(PATIENCE, self.driver.join_next())
            .await
            .expect("the connection ends")
            .expect("the driver runs once")
            .expect("the driver does not panic")
    }

    async fn exchange(&self, request: Request<()>, body: Bytes) -> Result<Reply, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        let (head, mut incoming) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = incoming.data().await {
            let chunk = chunk?;
            incoming.flow_control().release_capacity(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: body.into() })
    }
}
