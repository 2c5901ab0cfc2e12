//! Takes connections and serves HTTP/1.1 on them.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::changes::Changes;

/// The longest head of a request, and what is read of a body at a time.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long no connection is taken when the system has no room for one: its own queue holds some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop`; then takes no more, and returns when what is under way is answered, and
/// `changes` that go on without their clients are done. A client has `header_timeout` to send the head of a request, the first and each after it.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    header_timeout: Duration,
    changes: Changes,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MAX_HEAD_BYTES);
    let mut connections = JoinSet::new();
    // Like the connections, they end with this future: when the node cannot wait any longer.
    let _owner = changes.owner();
    loop {
        // Cancel-safe: a connection that was not accepted stays in the system's queue.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(http.clone(), stream, router.clone(), stop.clone());
                connections.spawn(connection);
            }
            Err(error) => refused(error, &stop).await,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(ended);
    }
    changes.done().await;
}

async fn connection(
    http: http1::Builder,
    stream: TcpStream,
    router: Router,
    stop: CancellationToken,
) {
    // Frames are small and wait for no others. A stream that is gone already fails below.
    let _set = stream.set_nodelay(true).is_ok();
    let service = TowerToHyperService::new(router);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn refused(error: io::Error, stop: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    // Most likely there is no descriptor left, and trying again at once would only turn in circles.
    tracing::error!(%error, "a connection could not be accepted");
    let _stopping = stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await.is_none();
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "serving a connection failed");
    }
}
