//! Requests that change something: they go on without their clients, within bounds.
//!
//! What was stored is told to open screens, and the answer is kept for a client that asks again, also when
//! it hung up meanwhile or its time was over. That holds for what comes after the body: a body that is
//! not there by then breaks off.

use std::{sync::Arc, time::Duration};

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

/// When to come again if too many are under way.
const RETRY: Duration = Duration::from_secs(1);

/// The requests of a node that change something.
#[derive(Debug, Clone)]
pub struct Changes {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
    cut_off: CancellationToken,
}

impl Changes {
    /// Room for `most` at once, those included whose clients are gone.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
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
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            let detail = "server.changes_max requests that change something are under way";
            return Problem::too_busy(detail, RETRY).into_response();
        };
        let client = CancellationToken::new();
        // Dropped with this future: when the client hangs up, or its time is over.
        let _here = client.clone().drop_guard();
        let request = request.map(|body| until(client, body));
        let cut_off = self.cut_off.clone();
        let answered = self.tasks.spawn(async move {
            let _room = room;
            tokio::select! {
                response = next.run(request) => response,
                () = cut_off.cancelled() => {
                    Problem::unavailable("the node is stopping", RETRY).into_response()
                }
            }
        });
        answered.await.unwrap_or_else(|error| {
            tracing::error!(%error, "answering a request failed");
            Problem::internal().into_response()
        })
    }
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
