//! One connection: TLS, and the protocol that was agreed on in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::listener::Shared;
use super::{Protocol, Service, http1, http2};

/// How long a client may take for the TLS handshake, and for the one of HTTP/2.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn serve<S: Service>(tcp: TcpStream, shared: Arc<Shared<S>>) {
    // Counted from here on: an order given during the handshake is obeyed after it.
    let orders = shared.faults.orders();
    let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(tcp, &shared));
    let agreed = tokio::select! {
        () = shared.stop.cancelled() => return,
        agreed = handshake => agreed,
    };
    let Ok(Some((tls, protocol))) = agreed else { return };
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let state = shared.service.connected(certificate);
    match protocol {
        Protocol::Http1 => http1::serve(tls, &state, orders, &shared).await,
        Protocol::Http2 => http2::serve(tls, &state, orders, &shared).await,
    }
}

async fn handshake<S: Service>(
    tcp: TcpStream,
    shared: &Shared<S>,
) -> Option<(TlsStream<TcpStream>, Protocol)> {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "nagle's algorithm could not be turned off");
    }
    let tls = shared.acceptor.accept(tcp).await;
    let tls = tls.inspect_err(|error| tracing::debug!(%error, "tls handshake failed")).ok()?;
    // Without ALPN the handshake succeeds.
    let protocol = match tls.get_ref().1.alpn_protocol() {
        Some(name) => S::PROTOCOLS.iter().copied().find(|protocol| protocol.alpn() == name),
        None => S::UNASKED,
    };
    if protocol.is_none() {
        tracing::debug!("a client offered no protocol that is spoken here");
    }
    protocol.map(|protocol| (tls, protocol))
}
