//! Reads from the store for many sessions at once.
//!
//! A herd that comes back asks for as many inboxes as there are clients. What is asked for while a
//! read is running is asked of the store together, as commits that wait share a transaction. A session
//! that comes alone is read for at once.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::{InboxPage, InboxState},
    ports::{NotificationStore, StoreError},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Questions that may wait; beyond it sessions wait to ask theirs, first come, first served.
const QUEUE: usize = 4096;
/// Inboxes that are read at once.
const GROUP: usize = 256;
/// Notifications that are read at once, over all inboxes of a group: what a read may take in memory,
/// and how long it may hold up those after it.
const ROWS: usize = 4096;
/// Reads that may run at once.
const LANES: usize = 2;
/// Hellos that are worth a read of their own; fewer wait for company …
const ENOUGH: usize = 32;
/// … until so much time has passed since the last read began. A hello that comes later than that waits
/// for nothing.
const COMPANY: Duration = Duration::from_millis(25);

/// Why an inbox was not read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The store did not give it.
    #[error("an inbox was not read")]
    Store(#[source] Arc<StoreError>),
    /// The reader ended.
    #[error("the reader of inboxes has ended")]
    Ended,
}

/// How long a question may wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Haste {
    /// A client comes back, and perhaps many with it.
    Hello,
    /// A session is in the middle of something.
    Session,
}

struct Question {
    user: UserId,
    /// [`NOTHING`] if only the counters are asked for.
    after: Seq,
    haste: Haste,
    answer: oneshot::Sender<Result<InboxPage, ReplayError>>,
}

/// No notification comes after this place.
const NOTHING: Seq = Seq(u64::MAX);

/// Where sessions ask for what is in the store.
#[derive(Clone)]
pub struct Replays(mpsc::Sender<Question>);

impl Replays {
    /// The inbox of a client that comes back, and the first page of what it lacks; without a place the
    /// counters only.
    pub(in crate::realtime) async fn catch_up(
        &self,
        user: &UserId,
        last_seq: Option<Seq>,
    ) -> Result<InboxPage, ReplayError> {
        self.ask(user, last_seq.unwrap_or(NOTHING), Haste::Hello).await
    }

    /// The next page of what a session lacks. It may be short although more follows: nothing follows
    /// when it is empty.
    pub(in crate::realtime) async fn page_after(
        &self,
        user: &UserId,
        after: Seq,
    ) -> Result<InboxPage, ReplayError> {
        self.ask(user, after, Haste::Session).await
    }

    /// The counters of an inbox.
    pub(in crate::realtime) async fn head(&self, user: &UserId) -> Result<InboxState, ReplayError> {
        Ok(self.ask(user, NOTHING, Haste::Session).await?.inbox)
    }

    async fn ask(&self, user: &UserId, after: Seq, haste: Haste) -> Result<InboxPage, ReplayError> {
        let (answer, answered) = oneshot::channel();
        let question = Question { user: user.clone(), after, haste, answer };
        self.0.send(question).await.map_err(|_| ReplayError::Ended)?;
        answered.await.map_err(|_| ReplayError::Ended)?
    }
}

/// Reads from the store for many sessions at once.
pub struct ReplayReader {
    questions: mpsc::Receiver<Question>,
    gathered: Vec<Question>,
    read: Arc<Read>,
}

/// What a read needs.
struct Read {
    store: Arc<dyn NotificationStore>,
    /// Notifications of one inbox that are read at a time.
    page: usize,
}

impl ReplayReader {
    /// A reader of `store` in pages of at most `page` notifications, and where sessions ask it.
    #[must_use]
    pub fn new(store: Arc<dyn NotificationStore>, page: usize) -> (Self, Replays) {
        let (sender, questions) = mpsc::channel(QUEUE);
        let read = Arc::new(Read { store, page: page.max(1) });
        (Self { questions, gathered: Vec::new(), read }, Replays(sender))
    }

    /// Answers until `stop`, then what was asked by then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        let mut alone_from = Instant::now();
        let mut open = true;
        while open || !self.gathered.is_empty() {
            let has_lane = running.len() < LANES;
            if has_lane && self.is_due(alone_from) {
                alone_from = Instant::now() + COMPANY;
                let (read, group) = (Arc::clone(&self.read), std::mem::take(&mut self.gathered));
                running.spawn(async move { read.group(group).await });
                continue;
            }
            let room = GROUP - self.gathered.len();
            let waits = has_lane && !self.gathered.is_empty();
            // Cancel-safe: what was taken from the queue is in `gathered`.
            tokio::select! {
                taken = self.questions.recv_many(&mut self.gathered, room), if open && room > 0 => {
                    open = taken > 0;
                }
                Some(done) = running.join_next(), if !running.is_empty() => settle(done),
                () = tokio::time::sleep_until(alone_from), if waits => {}
                () = stop.cancelled(), if !self.questions.is_closed() => self.questions.close(),
            }
        }
        while let Some(done) = running.join_next().await {
            settle(done);
        }
    }

    /// Whether what is gathered is to be read now.
    fn is_due(&self, alone_from: Instant) -> bool {
        let urgent = || self.gathered.iter().any(|it| it.haste == Haste::Session);
        match self.gathered.len() {
            0 => false,
            ENOUGH.. => true,
            _ => Instant::now() >= alone_from || urgent(),
        }
    }
}

impl Read {
    /// Reads for those of a group who still wait.
    async fn group(&self, mut group: Vec<Question>) {
        group.retain(|question| !question.answer.is_closed());
        if group.is_empty() {
            return;
        }
        let sessions = u32::try_from(group.len()).unwrap_or(u32::MAX);
        metrics::histogram!("tidings_realtime_read_group").record(sessions);
        let places: Vec<_> = group.iter().map(|it| (it.user.clone(), it.after)).collect();
        match self.pages(&places).await {
            Ok(pages) => {
                for (question, page) in group.into_iter().zip(pages) {
                    answer(question, Ok(page));
                }
            }
            Err(error) if error.is_transient() || group.len() == 1 => {
                let error = Arc::new(error);
                for question in group {
                    answer(question, Err(ReplayError::Store(Arc::clone(&error))));
                }
            }
            Err(error) => {
                tracing::debug!(error = %ErrorChain(&error), sessions, "inboxes are read one by one");
                self.one_by_one(group).await;
            }
        }
    }

    /// An inbox that cannot be read costs those only who ask for it.
    async fn one_by_one(&self, group: Vec<Question>) {
        for question in group {
            let page = self.pages(&[(question.user.clone(), question.after)]).await;
            let page = page.map(|pages| pages.into_iter().next().unwrap_or_default());
            answer(question, page.map_err(|error| ReplayError::Store(Arc::new(error))));
        }
    }

    async fn pages(&self, places: &[(UserId, Seq)]) -> Result<Vec<InboxPage>, StoreError> {
        metrics::counter!("tidings_realtime_store_reads_total").increment(1);
        let replaying = places.iter().filter(|(_, after)| *after != NOTHING).count();
        if replaying == 0 {
            let users: Vec<_> = places.iter().map(|(user, _)| user.clone()).collect();
            let heads = self.store.heads(&users).await?;
            let page = |inbox| InboxPage { inbox, notifications: Vec::new() };
            return Ok(heads.into_iter().map(page).collect());
        }
        let limit = (ROWS / replaying).clamp(1, self.page);
        self.store.pages_after(places, limit).await
    }
}

fn answer(question: Question, page: Result<InboxPage, ReplayError>) {
    // A session that ended meanwhile needs no answer.
    let _heard = question.answer.send(page).is_ok();
}

fn settle(done: Result<(), JoinError>) {
    if let Err(error) = done {
        // Those who asked see that there is no answer, and ask again.
        tracing::error!(%error, "a read of inboxes failed");
    }
}

#[cfg(test)]
mod tests;
