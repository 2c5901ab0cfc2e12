//! The embedded store, which hangs and fails as told.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tempfile::TempDir;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch},
    checkpoint::{Checkpoint, PartitionId},
    clock::Timestamp,
    dead_letter::DeadLetter,
    ids::{NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxState, Mark, Selection},
    notification::Notification,
    ports::{CheckpointStore, DeadLetterStore, NotificationStore, StoreError},
};
use tidings_store::{SqliteConfig, SqliteStore};
use tokio::sync::watch;

/// What the store is told to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Fine,
    /// Answers nothing until it is fine again.
    Hangs,
    /// Stores nothing and says so.
    Down,
    /// Stores, and says that it did not.
    LosesAnswers,
}

pub(super) struct TestStore {
    inner: SqliteStore,
    mood: watch::Sender<Mood>,
    refused: Mutex<HashSet<String>>,
    damaged: Mutex<HashSet<UserId>>,
    refuses_letters: AtomicBool,
    pub(super) appends: AtomicUsize,
    _dir: TempDir,
}

impl TestStore {
    pub(super) fn open() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self {
            inner: open_at(&dir.path().join("data")),
            mood: watch::Sender::new(Mood::Fine),
            refused: Mutex::default(),
            damaged: Mutex::default(),
            refuses_letters: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
            _dir: dir,
        })
    }

    pub(super) fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Refuses any batch with the event of this id.
    pub(super) fn refuse(&self, event: &str) {
        self.refused.lock().unwrap().insert(event.to_owned());
    }

    /// Cannot read the inbox of this user any more.
    pub(super) fn damage_inbox(&self, user: &str) {
        self.damaged.lock().unwrap().insert(UserId::new(user).unwrap());
    }

    pub(super) fn refuse_letters(&self) {
        self.refuses_letters.store(true, Ordering::SeqCst);
    }

    /// The ids of a user's events, in the order of `seq`, which has no holes.
    pub(super) async fn events_of(&self, user: &str) -> Vec<String> {
        let user = UserId::new(user).unwrap();
        let notifications = self.inner.list_after(&user, Seq::ZERO, 100_000).await.unwrap();
        for (index, notification) in notifications.iter().enumerate() {
            assert_eq!(notification.seq(), Seq(index as u64 + 1), "a hole in the inbox of {user}");
        }
        notifications.iter().map(|it| it.event.id.to_string()).collect()
    }

    /// All dead letters, oldest first.
    pub(super) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = self.inner.list_dead_letters(None, 100_000).await.unwrap();
        letters.reverse();
        letters
    }

    /// The sum of the positions of a group's partitions: records stored or dead.
    pub(super) async fn records_done(&self, group: &str) -> i64 {
        let checkpoints = self.inner.list_checkpoints(group).await.unwrap();
        checkpoints.iter().filter_map(|(_, checkpoint)| checkpoint.next_offset).sum()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let mut mood = self.mood.subscribe();
        match *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap() {
            Mood::Down => Err(gone()),
            _ => Ok(()),
        }
    }

    fn refuses(&self, batch: &NotificationBatch) -> bool {
        let refused = self.refused.lock().unwrap();
        batch.events().iter().any(|planned| refused.contains(planned.event.id.as_str()))
            || (!batch.dead_letters().is_empty() && self.refuses_letters.load(Ordering::SeqCst))
    }
}

impl TestStore {
    fn needs_what_is_damaged(&self, batch: &NotificationBatch) -> bool {
        let damaged = self.damaged.lock().unwrap();
        let mut told = batch.events().iter().flat_map(|planned| &planned.recipients);
        told.any(|recipient| damaged.contains(&recipient.user))
    }
}

fn open_at(path: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig::new(path)).unwrap()
}

fn gone() -> StoreError {
    StoreError::Unavailable { op: "append", backend: "test", source: "told to be down".into() }
}

#[async_trait]
impl NotificationStore for TestStore {
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        self.ready().await?;
        if self.refuses(&batch) {
            let source = "told to refuse".into();
            return Err(StoreError::Refused { op: "append", backend: "test", source });
        }
        if self.needs_what_is_damaged(&batch) {
            let source = "told to be damaged".into();
            return Err(StoreError::Corrupt { backend: "test", what: "inbox", source });
        }
        self.appends.fetch_add(1, Ordering::SeqCst);
        let appended = self.inner.append(batch, now).await?;
        if *self.mood.borrow() == Mood::LosesAnswers {
            return Err(gone());
        }
        Ok(appended)
    }

    async fn inbox(&self, user: &UserId) -> Result<InboxState, StoreError> {
        self.inner.inbox(user).await
    }

    async fn list_after(
        &self,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.inner.list_after(user, after, limit).await
    }

    async fn list_newest(
        &self,
        user: &UserId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.inner.list_newest(user, before, limit).await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        self.inner.find(id).await
    }

    async fn mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: Selection,
        now: Timestamp,
    ) -> Result<InboxState, StoreError> {
        self.inner.mark(user, mark, selection, now).await
    }

    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        self.inner.acknowledge(acknowledged).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

#[async_trait]
impl CheckpointStore for TestStore {
    async fn claim_partition(&self, partition: &PartitionId) -> Result<Checkpoint, StoreError> {
        self.ready().await?;
        self.inner.claim_partition(partition).await
    }

    async fn set_checkpoint(
        &self,
        partition: &PartitionId,
        next_offset: Option<i64>,
    ) -> Result<Checkpoint, StoreError> {
        self.inner.set_checkpoint(partition, next_offset).await
    }

    async fn list_checkpoints(
        &self,
        group: &str,
    ) -> Result<Vec<(PartitionId, Checkpoint)>, StoreError> {
        self.inner.list_checkpoints(group).await
    }
}
