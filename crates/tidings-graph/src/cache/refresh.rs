//! Asking anew for what a write has ended, before anybody does.

use std::sync::Arc;

use tidings_core::ids::UserId;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    ask::Inner,
    question::{List, Question},
};

impl Inner {
    /// Has what a follow, or its end, has changed asked anew: of that, what this process has
    /// lately answered from.
    pub(super) fn refresh_follow(&self, follower: &UserId, followee: &UserId) {
        for question in [
            Question::Counts(follower.clone()),
            Question::Counts(followee.clone()),
            Question::Followees(follower.clone()),
        ] {
            self.refresh(question);
        }
        for limit in self.busiest.first_pages() {
            self.refresh(Question::page(List::Following, (follower, None), None, limit));
            self.refresh(Question::page(List::Followers, (followee, None), None, limit));
        }
    }

    fn refresh(&self, question: Question) {
        if self.peek(&question).is_some_and(|entry| entry.is_in_use()) {
            // If there are too many, the next reader asks.
            drop(self.refreshes.try_send(question));
        }
    }
}

/// Asks, `at_once` questions at a time, until `stop`.
pub(super) async fn run(
    inner: &Arc<Inner>,
    mut questions: mpsc::Receiver<Question>,
    at_once: usize,
    stop: &CancellationToken,
) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(done) = running.join_next() => drop(done),
            question = questions.recv(), if running.len() < at_once => {
                let Some(question) = question else { return };
                let inner = Arc::clone(inner);
                running.spawn(async move {
                    metrics::counter!("tidings_graph_cache_refreshes_total").increment(1);
                    // A failure is for the reader who asks next.
                    drop(inner.ask_ahead(&question).await);
                });
            }
        }
    }
}
