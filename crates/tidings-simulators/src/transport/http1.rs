//! One HTTP/1.1 connection: a request at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::connection::HANDSHAKE_TIMEOUT;
use super::listener::Shared;
use super::request::{BODY_TIMEOUT, MAX_BODY_BYTES, Outcome, judge};
use super::{Answer, Body, Service};
use crate::RequestFault;
use crate::faults::Orders;

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was ordered to end")]
struct Cut;

/// Speaks HTTP/1.1 until the connection ends or is ordered to. What is GOAWAY on HTTP/2 is
/// `connection: close` here.
pub(super) async fn serve<S: Service>(
    tls: TlsStream<TcpStream>,
    state: &S::Connection,
    mut orders: watch::Receiver<Orders>,
    shared: &Shared<S>,
) {
    let requests = Arc::new(AtomicU64::new(0));
    let service = service_fn(|request| {
        let requests = Arc::clone(&requests);
        async move {
            let mut response = exchange(shared, state, request).await?;
            let count = requests.fetch_add(1, Ordering::Relaxed) + 1;
            if shared.faults.go_away_due(count).is_some() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Cut>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT * 6)
        .serve_connection(TokioIo::new(tls), service);
    let mut connection = std::pin::pin!(connection);
    let obeyed = orders.borrow().clone();
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = orders.changed() => {
                let ordered = orders.borrow_and_update().clone();
                if ordered.kills > obeyed.kills {
                    return;
                }
                if ordered.go_aways > obeyed.go_aways && !leaving {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection of a simulator broke");
                }
                return;
            }
        }
    }
}

async fn exchange<S: Service>(
    shared: &Shared<S>,
    state: &S::Connection,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Body::Complete(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Body::TooLong,
        Ok(Err(error)) => {
            tracing::trace!(%error, "a request was not sent to its end");
            return Err(Cut);
        }
        Err(_) => return Err(Cut),
    };
    match judge(shared, state, &head, &body).await {
        Outcome::Answered(answer) => Ok(response(answer)),
        Outcome::Faulty(_, RequestFault::Stall) => {
            // Until the client gives up: hyper drops this with the connection.
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Outcome::Faulty(..) => Err(Cut),
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value);
    }
    response
}
