//! A server that a test writes frame by frame: what no HTTP/2 library does on purpose.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What a client sends first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GO_AWAY: u8 = 0x7;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const MAX_CONCURRENT_STREAMS: u8 = 0x3;
const REFUSED_STREAM: u32 = 0x7;

/// A request, as far as a script wants to know.
pub(crate) struct Asked {
    pub(crate) stream: u32,
    pub(crate) body: String,
}

/// What is done next.
pub(crate) enum Reply {
    Nothing,
    /// 200 without a body.
    Accept(u32),
    /// `RST_STREAM` with `REFUSED_STREAM`.
    Refuse(u32),
    /// GOAWAY that names this as the last stream, and the end of the connection.
    GoAway(u32),
}

/// Listens until it is dropped.
pub(crate) struct RawServer {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    _tasks: JoinSet<()>,
}

impl RawServer {
    /// A server that allows `streams` at a time, and has one `script` for each connection.
    pub(crate) async fn start<S>(streams: u32, new_script: impl Fn() -> S + Send + 'static) -> Self
    where
        S: FnMut(&Asked) -> Reply + Send + 'static,
    {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                running.spawn(serve(acceptor.clone(), tcp, streams, new_script()));
            }
        });
        Self { url, ca_pem: certificate.pem(), _tasks: tasks }
    }
}

/// Ends when the client or the script is done with the connection.
async fn serve(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    streams: u32,
    mut script: impl FnMut(&Asked) -> Reply,
) {
    let Ok(mut wire) = acceptor.accept(tcp).await else { return };
    if wire.read_exact(&mut [0; PREFACE_BYTES]).await.is_err() {
        return;
    }
    let mut limit = vec![0, MAX_CONCURRENT_STREAMS];
    limit.extend(streams.to_be_bytes());
    write(&mut wire, SETTINGS, 0, 0, &limit).await;
    while let Some((kind, flags, stream, payload)) = read(&mut wire).await {
        match kind {
            SETTINGS if flags & ACK == 0 => write(&mut wire, SETTINGS, ACK, 0, &[]).await,
            PING if flags & ACK == 0 => write(&mut wire, PING, ACK, 0, &payload).await,
            // A push is small: its body is one frame.
            DATA => {
                let body = String::from_utf8(payload).unwrap();
                answer(&mut wire, script(&Asked { stream, body })).await;
            }
            _ => {}
        }
    }
}

async fn answer(wire: &mut TlsStream<TcpStream>, reply: Reply) {
    match reply {
        Reply::Nothing => {}
        // 0x88 is ":status: 200" in HPACK's static table.
        Reply::Accept(stream) => {
            write(wire, HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]).await;
        }
        Reply::Refuse(stream) => {
            write(wire, RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()).await;
        }
        Reply::GoAway(last) => {
            let mut payload = last.to_be_bytes().to_vec();
            payload.extend(0_u32.to_be_bytes());
            write(wire, GO_AWAY, 0, 0, &payload).await;
            // What the client writes from now on is read and left alone, until it closes its side.
            wire.shutdown().await.unwrap_or_default();
        }
    }
}

/// The next frame: type, flags, stream, payload.
async fn read(wire: &mut TlsStream<TcpStream>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    wire.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    wire.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(stream), payload))
}

/// A client that is gone is noticed at the next read.
async fn write(wire: &mut TlsStream<TcpStream>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    wire.write_all(&frame).await.unwrap_or_default();
    wire.flush().await.unwrap_or_default();
}
