//! The data directory: who may open it, and what is in it afterwards.

use std::sync::Arc;

use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch, PlannedEvent, Recipient},
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin, Stage},
    delivery::{Channel, Delivery, Outcome},
    device::{Device, Platform, PushToken},
    event::{Event, IncomingEvent},
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    inbox::{Acknowledgement, Mark, Selection, Stretch},
    ports::{
        Cutoffs, DeadLetterStore, DeliveryFilter, DeliveryLogStore, DeliveryStore, DeviceStore,
        NotificationStore, RetentionStore,
    },
};
use tidings_store::{SqliteConfig, SqliteOpenError, SqliteStore};

use crate::open::open_at;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn event(id: &str) -> Arc<Event> {
    let json = serde_json::json!({
        "id": id, "source": "test", "type": "like", "audience": {"users": ["nobody"]},
    });
    IncomingEvent::from_json(json.to_string().as_bytes(), now()).unwrap().event
}

/// One event for each of `users`, with a push that is due at once.
pub(crate) fn batch(id: &str, users: &[UserId]) -> NotificationBatch {
    let recipients =
        users.iter().map(|user| Recipient { user: user.clone(), push_at: Some(now()) });
    let planned =
        PlannedEvent { event: event(id), recipients: recipients.collect(), fan_out: None };
    let mut batch = NotificationBatch::new(BatchLimits {
        max_rows: MAX_BATCH_ROWS,
        max_bytes: usize::MAX,
        max_age: std::time::Duration::ZERO,
    });
    batch.try_add(planned, now()).unwrap();
    batch
}

/// Puts a row into every table.
async fn write_everything(store: &SqliteStore) {
    let ann = user("ann");
    let device = Device::new(
        ann.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Apns,
        "app",
        PushToken::new("token".into()).unwrap(),
        now(),
    );
    store.put_device(device).await.unwrap();
    store.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    store.mark(&ann, Mark::Read, Selection::UpTo(Seq(1)), now()).await.unwrap();
    store.acknowledge(Arc::new([acknowledgement(&ann, vec![])])).await.unwrap();
    let letter = NewDeadLetter {
        origin: Origin::Http,
        stage: Stage::Decode,
        reason: "reason".into(),
        payload: vec![1, 2, 3],
        payload_bytes: 3,
        at: now(),
    };
    store.append_dead_letters(vec![letter]).await.unwrap();
}

/// Of the first notification.
fn acknowledgement(user: &UserId, deliveries: Vec<Delivery>) -> Acknowledgement {
    let has = Stretch { after: Seq::ZERO, upto: Seq(1) };
    Acknowledgement { user: user.clone(), has, deliveries }
}

async fn assert_everything_is_there(store: &SqliteStore) {
    let ann = user("ann");
    let state = store.inbox(&ann).await.unwrap();
    assert_eq!((state.last_seq, state.acked_seq, state.unread), (Seq(2), Seq(1), 1));
    assert_eq!(store.list_after(&ann, Seq::ZERO, 9).await.unwrap().len(), 2);
    assert_eq!(store.list_devices(&ann).await.unwrap().len(), 1);
    assert_eq!(store.next_due().await.unwrap(), Some(now()));
    assert_eq!(store.list_dead_letters(None, 9).await.unwrap().len(), 1);
    // The next number is the next, not the first.
    let appended = store.append(batch("e3", &[ann]).into(), now()).await.unwrap();
    assert_eq!(appended[0].stored[0].id.seq, Seq(3));
}

#[tokio::test]
async fn everything_is_there_after_a_drop_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    write_everything(&store).await;
    drop(store);
    assert_everything_is_there(&open_at(dir.path())).await;
}

#[tokio::test]
async fn a_closed_store_refuses_and_lets_another_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    write_everything(&store).await;
    store.close().await;
    store.close().await;
    let error = store.append(batch("e9", &[user("ann")]).into(), now()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(store.inbox(&user("ann")).await.unwrap_err().is_transient());
    assert!(store.check().await.unwrap_err().is_transient());
    // The log was folded in, and its file is gone.
    assert!(!dir.path().join("store.db-wal").exists());
    assert_everything_is_there(&open_at(dir.path())).await;
}

#[tokio::test]
async fn numbers_of_the_log_go_on_after_a_restart_with_an_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let ann = user("ann");
    let write = async |store: &SqliteStore| {
        let appended = store.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await;
        drop(appended.unwrap());
        let delivery = Delivery {
            notification: NotificationId { inbox: InboxNumber(1), seq: Seq(1) },
            user: ann.clone(),
            channel: Channel::Apns,
            target: String::new(),
            attempt: 1,
            at: now(),
            latency_ms: 0,
            outcome: Outcome::Failed,
            reason: None,
            provider_id: None,
        };
        let deliveries = vec![delivery; 3];
        let noted = acknowledgement(&ann, deliveries);
        store.acknowledge(Arc::new([noted])).await.unwrap();
    };
    let read = async |store: &SqliteStore, after| {
        store.read_log(None, DeliveryFilter::default(), after, 9).await.unwrap()
    };
    let store = open_at(dir.path());
    write(&store).await;
    let first = read(&store, None).await;
    let later = Some(now().after(std::time::Duration::from_secs(1)));
    let cutoffs = Cutoffs { deliveries: later, ..Cutoffs::default() };
    while !store.forget(cutoffs, 9).await.unwrap().complete {}
    store.close().await;
    let store = open_at(dir.path());
    assert!(read(&store, None).await.rows.is_empty());
    write(&store).await;
    assert_eq!(read(&store, Some(first.upto)).await.rows.len(), 3);
}

#[tokio::test]
async fn what_is_queued_is_committed_by_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    let ann = user("ann");
    let append = async |number: usize| {
        let batch = batch(&format!("e{number}"), std::slice::from_ref(&ann));
        store.append(batch.into(), now()).await
    };
    // Polled in this order: the appends are in the queue when the store is told to close.
    let (first, second, ()) = tokio::join!(biased; append(1), append(2), store.close());
    assert_eq!(first.unwrap()[0].stored.len(), 1);
    assert_eq!(second.unwrap()[0].stored.len(), 1);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_at(dir.path());
    let error = SqliteStore::open(SqliteConfig::new(dir.path())).unwrap_err();
    assert!(matches!(error, SqliteOpenError::InUse { .. }), "{error}");
    let path = dir.path().display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    drop(first);
    drop(open_at(dir.path()));
}

#[test]
fn a_directory_of_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_at(dir.path()));
    let conn = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let error = SqliteStore::open(SqliteConfig::new(dir.path())).unwrap_err();
    assert!(matches!(error, SqliteOpenError::Newer { found: 999, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("store.db"),
        "not a database, but long enough for one".repeat(99),
    )
    .unwrap();
    let error = SqliteStore::open(SqliteConfig::new(dir.path())).unwrap_err();
    assert!(matches!(error, SqliteOpenError::Database { .. }), "{error}");
}

#[test]
fn a_path_that_cannot_be_a_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = SqliteStore::open(SqliteConfig::new(file.path())).unwrap_err();
    assert!(matches!(error, SqliteOpenError::Directory { .. }), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_database_whoever_made_the_directory() {
    use std::{
        fs::{Permissions, metadata, set_permissions},
        os::unix::fs::PermissionsExt,
    };
    let dir = tempfile::tempdir().unwrap();
    set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let modes = || {
        ["store.db", "store.db-wal", "store.db-shm"]
            .map(|name| metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777)
    };
    let store = open_at(dir.path());
    write_everything(&store).await;
    assert_eq!(modes(), [0o600; 3]);
    drop(store);
    // One that an older program, or a person, left open to all.
    set_permissions(dir.path().join("store.db"), Permissions::from_mode(0o644)).unwrap();
    let store = open_at(dir.path());
    assert_everything_is_there(&store).await;
    assert_eq!(modes(), [0o600; 3]);
}
