//! Requests that change something: they go on without their clients, within bounds.
//!
//! What was stored is told to open screens, and the answer is kept for a client that asks again, also when
//! it hung up meanwhile or its time was over. That holds for what comes after the body: a body that is
//! not there by then breaks off.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{error::Problem, state::App};

/// When to come again to a node that is stopping.
const RETRY: Duration = Duration::from_secs(1);

/// The requests of a node that change something.
#[derive(Debug, Clone)]
pub struct Changes {
    tasks: TaskTracker,
    /// For those whose clients have gone: the others are as many as there are connections.
    room: Arc<Semaphore>,
    cut_off: CancellationToken,
}

impl Changes {
    /// At most `unattended_max` go on at once whose clients have gone; any more end with them.
    #[must_use]
    pub fn new(unattended_max: usize) -> Self {
        let room = Arc::new(Semaphore::new(unattended_max.min(Semaphore::MAX_PERMITS)));
        Self { tasks: TaskTracker::new(), room, cut_off: CancellationToken::new() }
    }

    /// Ends them all when it is dropped.
    pub(super) fn owner(&self) -> DropGuard {
        self.cut_off.clone().drop_guard()
    }

    /// Waits until all are answered.
    pub(super) async fn done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let client = CancellationToken::new();
        // Dropped with this future: when the client hangs up, or its time is over.
        let _here = client.clone().drop_guard();
        let gone = client.clone();
        let request = request.map(|body| until(gone, body));
        let (cut_off, room) = (self.cut_off.clone(), Arc::clone(&self.room));
        let answered = self.tasks.spawn(async move {
            let mut running = pin!(next.run(request));
            tokio::select! {
                response = &mut running => return response,
                () = cut_off.cancelled() => return stopping(),
                () = client.cancelled() => {}
            }
            let Ok(_room) = room.try_acquire_owned() else {
                metrics::counter!("tidings_http_unattended_dropped_total").increment(1);
                return stopping();
            };
            tokio::select! {
                response = running => response,
                () = cut_off.cancelled() => stopping(),
            }
        });
        answered.await.unwrap_or_else(|error| {
            tracing::error!(%error, "answering a request failed");
            Problem::internal().into_response()
        })
    }
}

/// The answer to a request that is not seen to its end. Mostly nobody hears it.
fn stopping() -> Response {
    Problem::unavailable("the node is stopping", RETRY).into_response()
}

/// Runs requests that change something to their end.
pub(super) async fn to_the_end(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        next.run(request).await
    } else {
        app.changes.answer(request, next).await
    }
}

/// The body, which breaks off when its client has gone.
fn until(gone: CancellationToken, body: Body) -> Body {
    let pieces = Some((body.into_data_stream(), gone));
    Body::from_stream(stream::unfold(pieces, async |pieces| {
        let (mut pieces, gone) = pieces?;
        tokio::select! {
            biased;
            piece = pieces.next() => Some((piece?, Some((pieces, gone)))),
            () = gone.cancelled() => {
                Some((Err(axum::Error::new("the client has gone, or its time is over")), None))
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Router, middleware::from_fn_with_state, routing::post};
    use tokio::time::{sleep, timeout};
    use tower_service::Service;

    use super::*;

    /// A route that takes a second, once it has its body, and counts.
    fn router(changes: &Changes, done: &Arc<AtomicUsize>) -> Router {
        let done = Arc::clone(done);
        let slow = async move |body: Body| {
            if axum::body::to_bytes(body, 9).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        let run = async |State(changes): State<Changes>, request: Request, next: Next| {
            changes.answer(request, next).await
        };
        Router::new().route("/", post(slow)).layer(from_fn_with_state(changes.clone(), run))
    }

    /// Sends a request, and hangs up after a tenth of a second.
    async fn hang_up(mut router: Router, body: Body) {
        let request = Request::post("/").body(body).unwrap();
        assert!(timeout(Duration::from_millis(100), router.call(request)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_go_on_without_their_clients_as_may_and_all_end_with_the_node() {
        let (changes, done) = (Changes::new(2), Arc::new(AtomicUsize::new(0)));
        let owner = changes.owner();
        for _ in 0..5 {
            hang_up(router(&changes, &done), Body::empty()).await;
        }
        changes.done().await;
        assert_eq!(done.load(Ordering::SeqCst), 2);
        // Whoever stays is answered, however many have gone.
        let request = Request::post("/").body(Body::empty()).unwrap();
        let answer = router(&changes, &done).call(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), done.load(Ordering::SeqCst)), (200, 3));
        hang_up(router(&changes, &done), Body::empty()).await;
        drop(owner);
        changes.done().await;
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_breaks_off_with_its_client() {
        let (changes, done) = (Changes::new(9), Arc::new(AtomicUsize::new(0)));
        let endless = Body::from_stream(stream::pending::<Result<Vec<u8>, axum::Error>>());
        hang_up(router(&changes, &done), endless).await;
        changes.done().await;
        assert_eq!(done.load(Ordering::SeqCst), 0);
    }
}
