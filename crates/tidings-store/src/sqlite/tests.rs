//! What only the inside can bring about: a busy writer, a full disk, a command that fails.

use std::{
    sync::{Mutex, mpsc},
    task::Poll,
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch, PlannedEvent, Recipient},
    clock::Timestamp,
    event::IncomingEvent,
    ids::{Seq, UserId},
    ports::{NotificationStore, StoreError},
};

use super::{
    SqliteConfig, SqliteStore,
    append::Append,
    delivery_log,
    error::Failure,
    notifications, retention,
    writer::{Command, WriteTx},
};

/// Holds the writer until it is told to go on.
struct Hold {
    held: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Command for Hold {
    type Output = ();
    const OP: &'static str = "hold";

    fn run(&self, _: &mut WriteTx<'_>) -> Result<(), Failure> {
        self.held.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(())
    }
}

/// Appends, and then fails.
struct FailAfter(Append);

impl Command for FailAfter {
    type Output = ();
    const OP: &'static str = "fail";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        self.0.run(tx)?;
        tx.conn.execute_batch("no such statement")?;
        Ok(())
    }
}

/// Sets how many pages the database may have.
struct LimitPages(u32);

impl Command for LimitPages {
    type Output = u32;
    const OP: &'static str = "limit_pages";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<u32, Failure> {
        let sql = format!("PRAGMA max_page_count = {}", self.0);
        Ok(tx.conn.query_row(&sql, [], |row| row.get(0))?)
    }
}

fn open(change: impl FnOnce(&mut SqliteConfig)) -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SqliteConfig::new(dir.path());
    change(&mut config);
    (SqliteStore::open(config).unwrap(), dir)
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn batch(id: &str, body_bytes: usize) -> NotificationBatch {
    let json = serde_json::json!({
        "id": id, "source": "s", "type": "t", "body": "x".repeat(body_bytes),
        "audience": {"users": ["ann"]},
    });
    let event = IncomingEvent::from_json(json.to_string().as_bytes(), now()).unwrap().event;
    let recipients = vec![Recipient { user: ann(), push_at: None }];
    let mut batch = NotificationBatch::new(BatchLimits {
        max_rows: MAX_BATCH_ROWS,
        max_bytes: usize::MAX,
        max_age: Duration::ZERO,
    });
    batch.try_add(PlannedEvent { event, recipients, fan_out: None }, now()).unwrap();
    batch
}

async fn ids(store: &SqliteStore) -> Vec<String> {
    let listed = store.list_after(&ann(), Seq::ZERO, usize::MAX).await.unwrap();
    assert!(listed.iter().map(|it| it.seq().0).eq(1..=listed.len() as u64));
    assert_eq!(store.inbox(&ann()).await.unwrap().unread, listed.len() as u64);
    listed.iter().map(|it| it.event.id.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_full_writer_queue_makes_the_caller_wait() {
    let (store, _dir) = open(|config| config.writer_queue = 1);
    let (held, is_held) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let hold = Hold { held, go_on: Mutex::new(wait) };
    let steps = async {
        // The writer is busy and one command waits: the queue is full.
        is_held.recv().unwrap();
        let mut second = Box::pin(store.append(batch("e2", 0).into(), now()));
        let mut third = Box::pin(store.append(batch("e3", 0).into(), now()));
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(&mut third).await.is_none());
        assert_eq!(store.writer.places(), 0);
        // Who gives up while waiting for a place has asked for nothing.
        drop(third);
        go_on.send(()).unwrap();
        second.await.unwrap();
    };
    let (held, ()) = tokio::join!(store.writer.run(hold), steps);
    held.unwrap();
    assert_eq!(ids(&store).await, ["e2"]);
}

/// Polls once. `None` if the future is not ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Runs `commands` with the writer busy until they are queued, so that they share a commit.
async fn in_one_commit<F: Future>(store: &SqliteStore, commands: F) -> F::Output {
    let (held, is_held) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let hold = Hold { held, go_on: Mutex::new(wait) };
    let queue = async {
        is_held.recv().unwrap();
        // Polled in this order.
        let (output, ()) = tokio::join!(biased; commands, async { go_on.send(()).unwrap() });
        output
    };
    let (held, output) = tokio::join!(biased; store.writer.run(hold), queue);
    held.unwrap();
    output
}

#[tokio::test]
async fn commands_share_a_commit_and_fail_alone() {
    let (store, _dir) = open(|_| {});
    let failing = FailAfter(Append { batch: batch("bad", 0).into(), now: now() });
    let commands = async {
        tokio::join!(
            biased;
            store.append(batch("e1", 0).into(), now()),
            store.writer.run(failing),
            store.append(batch("e2", 0).into(), now()),
        )
    };
    let (first, failed, second) = in_one_commit(&store, commands).await;
    let error = failed.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { op: "fail", .. }), "{error}");
    let seqs = [first, second].map(|it| it.unwrap()[0].stored[0].id.seq);
    assert_eq!(seqs, [Seq(1), Seq(2)]);
    assert_eq!(ids(&store).await, ["e1", "e2"]);
}

#[tokio::test]
async fn a_full_disk_costs_what_does_not_fit_and_ends_when_there_is_room() {
    let (store, _dir) = open(|_| {});
    store.append(batch("before", 0).into(), now()).await.unwrap();
    let pages = store.writer.run(LimitPages(1)).await.unwrap();
    let mut stored = vec!["before".to_owned()];
    let mut refused = 0;
    for number in 0..40 {
        let id = format!("e{number}");
        match store.append(batch(&id, 3_000).into(), now()).await {
            Ok(_) => stored.push(id),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "only {refused} refused at {pages} pages");
    assert_eq!(ids(&store).await, stored);

    store.writer.run(LimitPages(u32::MAX - 1)).await.unwrap();
    store.check().await.unwrap();
    store.append(batch("after", 3_000).into(), now()).await.unwrap();
    stored.push("after".to_owned());
    assert_eq!(ids(&store).await, stored);
}

#[tokio::test]
async fn a_transaction_that_sqlite_gives_up_fails_all_its_commands() {
    let (store, _dir) = open(|_| {});
    store.append(batch("before", 0).into(), now()).await.unwrap();
    let commands = async {
        tokio::join!(
            biased;
            store.append(batch("lost", 0).into(), now()),
            store.writer.run(GiveUp),
        )
    };
    let (lost, gave_up) = in_one_commit(&store, commands).await;
    assert!(lost.unwrap_err().is_transient());
    assert!(gave_up.is_err());
    assert_eq!(ids(&store).await, ["before"]);
    // The cache of inboxes forgot what was rolled back.
    store.append(batch("after", 0).into(), now()).await.unwrap();
    assert_eq!(ids(&store).await, ["before", "after"]);
}

#[tokio::test]
async fn a_commit_that_fails_fails_all_its_commands() {
    let (store, _dir) = open(|_| {});
    store.append(batch("before", 0).into(), now()).await.unwrap();
    let commands = async {
        tokio::join!(
            biased;
            store.append(batch("lost", 0).into(), now()),
            store.writer.run(SpoilCommit),
        )
    };
    let (lost, spoiled) = in_one_commit(&store, commands).await;
    assert!(lost.unwrap_err().is_transient());
    assert!(spoiled.unwrap_err().is_transient());
    store.append(batch("after", 0).into(), now()).await.unwrap();
    assert_eq!(ids(&store).await, ["before", "after"]);
}

/// Succeeds, and leaves something for which the commit has to fail.
struct SpoilCommit;

impl Command for SpoilCommit {
    type Output = ();
    const OP: &'static str = "spoil_commit";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO device (inbox, device_id, platform, app, token, registered_ms) \
             VALUES (999, 'd', 'fcm', 'app', 'token', 0)",
        )?;
        Ok(())
    }
}

/// Writes what the schema does not allow.
struct BreakConstraint;

impl Command for BreakConstraint {
    type Output = ();
    const OP: &'static str = "break_constraint";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn.execute("UPDATE inbox SET unread = -1", [])?;
        Ok(())
    }
}

#[tokio::test]
async fn what_the_schema_does_not_allow_is_refused_and_not_tried_again() {
    let (store, _dir) = open(|_| {});
    store.append(batch("before", 0).into(), now()).await.unwrap();
    let error = store.writer.run(BreakConstraint).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { op: "break_constraint", .. }), "{error}");
    assert!(!error.is_transient());
    assert_eq!(ids(&store).await, ["before"]);
}

/// Ends the transaction as SQLite does on some I/O errors, and fails.
struct GiveUp;

impl Command for GiveUp {
    type Output = ();
    const OP: &'static str = "give_up";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn.execute_batch("ROLLBACK; no such statement")?;
        Ok(())
    }
}

#[tokio::test]
async fn reading_and_forgetting_neither_sort_nor_scan() {
    let (store, _dir) = open(|_| {});
    let queries = notifications::QUERIES.map(|sql| sql.as_str());
    let queries = queries.into_iter().chain(retention::QUERIES).chain(delivery_log::QUERIES);
    for sql in queries {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let query = move |conn: &Connection| {
            let mut statement = conn.prepare(&plan)?;
            for parameter in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(parameter, 1)?;
            }
            let mut rows = statement.raw_query();
            let mut steps = String::new();
            while let Some(row) = rows.next()? {
                steps += &row.get::<_, String>(3)?;
                steps += "\n";
            }
            Ok(steps)
        };
        let steps = store.readers.read("explain", query).await.unwrap();
        assert!(!steps.contains("SCAN") && !steps.contains("TEMP B-TREE"), "{sql}:\n{steps}");
    }
}
