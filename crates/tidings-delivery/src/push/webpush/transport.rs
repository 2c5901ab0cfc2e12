//! HTTPS to hosts that users' browsers name: pooled connections, made to public addresses only.
//!
//! hyper's pooling client speaks HTTP/2 or HTTP/1.1, as each host wants, on connections that are
//! made here: an address is checked when it is connected to, so that a name cannot change its mind
//! in between. It follows no redirects.

use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::Executor;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioIo, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::{WebPushConfig, address::is_public};
use crate::push::{PushSetupError, http2::Trust};

const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The longest answer that is read; what is in it is not used.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A connection that nobody uses for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Connections to one host that are kept though nobody uses them.
const MAX_IDLE_PER_HOST: usize = 8;

/// HTTP/2: a connection with requests under way is asked after this long a silence, and given up as
/// long after that.
const PING_AFTER: Duration = Duration::from_secs(3);

/// Why a request has no answer. Names neither the endpoint nor anything else of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("the host has no address in the public internet")]
    AddressNotPublic,
    #[error("no connection could be made")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    #[error("the request could not be sent in time")]
    NotSentInTime,
    #[error("the request was not answered in time")]
    NotAnsweredInTime,
    #[error("the connection broke before the answer came")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
}

/// An answer; its body says nothing that services have in common.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// Sends requests. Dropping it ends all connections.
pub(super) struct Transport {
    client: Client<Connector, Full<Bytes>>,
    _tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Transport {
    pub(super) fn new(config: &WebPushConfig) -> Result<Self, PushSetupError> {
        let trust = Trust::load_for(config.ca_pem.as_deref(), PROTOCOLS, None)?;
        let connector = Connector {
            trust,
            allow_loopback: config.allow_loopback,
            timeout: config.connect_timeout(),
        };
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let client = Client::builder(Tasks(Arc::downgrade(&tasks)))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_AFTER)
            .build(connector);
        Ok(Self { client, _tasks: tasks })
    }

    /// Sends one request and waits for its answer until `deadline`.
    ///
    /// Sent again by itself only if nothing of it was sent.
    pub(super) async fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Answer, TransportError> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(judge)?;
            let (head, body) = answer.into_parts();
            // Read, so that the connection can be used again; an answer that is too long or breaks
            // off has said all that counts in its head.
            let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            if let Err(error) = read {
                tracing::debug!(%error, "the rest of an answer was left");
            }
            Ok(Answer { status: head.status, headers: head.headers })
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(TransportError::NotAnsweredInTime))
    }
}

fn judge(error: hyper_util::client::legacy::Error) -> TransportError {
    if !error.is_connect() {
        return TransportError::Lost(error.into());
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return TransportError::AddressNotPublic;
        }
        cause = error.source();
    }
    TransportError::Connect(error.into())
}

/// Runs the client's tasks, which end with it.
#[derive(Clone)]
struct Tasks(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection to a push service failed");
            }
        }
        tasks.spawn(task);
    }
}

/// All addresses of a host are ours.
#[derive(Debug, thiserror::Error)]
#[error("the host has no address in the public internet")]
struct NotPublic;

type ConnectError = Box<dyn Error + Send + Sync>;

/// Makes connections.
#[derive(Clone)]
struct Connector {
    trust: Trust,
    allow_loopback: bool,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = timeout(connector.timeout, connector.connect(&uri)).await;
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.to_owned())?;
        let tcp = self.connect_tcp(host, port).await?;
        tcp.set_nodelay(true)?;
        let tls = self.trust.connector().connect(name, tcp).await?;
        Ok(TokioIo::new(Stream(tls)))
    }

    async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let mut last: ConnectError = NotPublic.into();
        for address in tokio::net::lookup_host((host, port)).await? {
            // The very address that was checked is connected to.
            if !self.is_allowed(address) {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn is_allowed(&self, address: SocketAddr) -> bool {
        is_public(address.ip()) || (self.allow_loopback && address.ip().is_loopback())
    }
}

/// A connection that can say which protocol was agreed on.
struct Stream(TlsStream<TcpStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let is_http2 = self.0.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
        if is_http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_that_stands_for_this_machine_is_found_out_when_it_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = crate::push::VapidKey::generate().unwrap();
        let mut config = WebPushConfig::new(key, "https://example.com");
        let ca = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::default().self_signed(&ca).unwrap();
        config.ca_pem = Some(ca.pem());
        let connector = |allow_loopback| Connector {
            trust: Trust::load_for(config.ca_pem.as_deref(), PROTOCOLS, None).unwrap(),
            allow_loopback,
            timeout: config.connect_timeout(),
        };
        let refused = connector(false).connect_tcp("localhost", port).await.unwrap_err();
        assert!(refused.is::<NotPublic>(), "{refused}");
        assert!(connector(true).connect_tcp("localhost", port).await.is_ok());
        // As the client meets it, whatever let the endpoint through before.
        let transport = Transport::new(&config).unwrap();
        let uri = format!("https://localhost:{port}/push").parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = transport.post(uri, HeaderMap::new(), Vec::new(), deadline).await;
        assert!(matches!(answer, Err(TransportError::AddressNotPublic)), "{answer:?}");
    }
}
