//! One connection: TLS, HTTP/2, and its requests, all in one task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::Reason;
use h2::server::Connection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Service;
use super::listener::Shared;
use super::request::{self, Next};
use crate::GoAwayForm;
use crate::faults::Orders;

/// How long a client may take for the TLS and HTTP/2 handshakes together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Window for request bodies of a whole connection: 1,000 small requests at once fit.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Above this, a request's header list is refused (Apple's longest header is the token, < 1 KiB).
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

type Http2 = Connection<TlsStream<TcpStream>, Bytes>;

pub(super) async fn serve<S: Service>(tcp: TcpStream, shared: Arc<Shared<S>>) {
    // Counted from here on: an order given during the handshake is obeyed after it.
    let orders = shared.faults.orders();
    let obeyed = *orders.borrow();
    let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(tcp, &shared));
    let connection = tokio::select! {
        () = shared.stop.cancelled() => return,
        connection = handshake => connection,
    };
    if let Ok(Some(connection)) = connection {
        drive(connection, orders, obeyed, &shared).await;
    }
}

async fn handshake<S: Service>(tcp: TcpStream, shared: &Shared<S>) -> Option<Http2> {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "nagle's algorithm could not be turned off");
    }
    let tls = shared.acceptor.accept(tcp).await;
    let tls = tls.inspect_err(|error| tracing::debug!(%error, "tls handshake failed")).ok()?;
    // Without ALPN the handshake succeeds.
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") && !S::HTTP2_UNASKED {
        tracing::debug!("a client did not agree on h2");
        return None;
    }
    let http2 = h2::server::Builder::new()
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(shared.max_concurrent_streams)
        .handshake(tls)
        .await;
    http2.inspect_err(|error| tracing::debug!(%error, "http/2 handshake failed")).ok()
}

/// Serves requests until the connection ends or is ordered to.
async fn drive<S: Service>(
    mut connection: Http2,
    mut orders: watch::Receiver<Orders>,
    mut obeyed: Orders,
    shared: &Shared<S>,
) {
    let state = shared.service.connected();
    let mut leaving = false;
    let mut requests = 0_u64;
    // Requests run inside this task: no wake-up across threads, and they end with it. Their number
    // is bounded by the stream limit.
    let mut running = FuturesUnordered::new();
    loop {
        // Every branch is cancel-safe: each only takes from a queue that outlives it.
        tokio::select! {
            biased;
            () = shared.stop.cancelled(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
            Ok(()) = orders.changed() => {
                let ordered = *orders.borrow_and_update();
                if ordered.kills > obeyed.kills {
                    return;
                }
                if ordered.go_aways > obeyed.go_aways && !leaving {
                    leaving = true;
                    connection.graceful_shutdown();
                }
                obeyed = ordered;
            }
            Some(next) = running.next(), if !running.is_empty() => if next == Next::Kill {
                return;
            },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    running.push(request::serve(shared, &state, request, respond));
                    requests += 1;
                    if !leaving && let Some(form) = shared.faults.go_away_due(requests) {
                        leaving = true;
                        go_away(&mut connection, form);
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection of a simulator broke");
                    return;
                }
                None => return,
            },
        }
    }
}

fn go_away(connection: &mut Http2, form: GoAwayForm) {
    match form {
        GoAwayForm::Graceful => connection.graceful_shutdown(),
        GoAwayForm::Abrupt => connection.abrupt_shutdown(Reason::NO_ERROR),
    }
}
