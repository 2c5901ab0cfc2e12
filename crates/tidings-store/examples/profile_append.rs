//! Appends batches as fast as it can, to be run under a profiler, and says what a row costs.
//!
//! `profile_append store|bare EVENTS BATCH USERS [PRAGMAS OF BARE]`: through the store, or the same rows by prepared
//! statements into the same tables and nothing else. Prints the CPU time of the thread that writes,
//! which other load on the machine does not change much, for all events and for the second half of them,
//! when the inboxes are there; and the process's memory.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says where it stood")]
#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;
use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch, PlannedEvent, Recipient},
    clock::Timestamp,
    event::{Event, IncomingEvent},
    ids::UserId,
    ports::NotificationStore,
};
use tidings_store::{SqliteConfig, SqliteStore};

/// CPU time of all events, and of the second half.
type Spent = (Duration, Duration);

struct Load {
    events: u64,
    batch: u64,
    users: u64,
}

/// Spreads numbers over all of `u64` (splitmix64).
fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn event(number: u64) -> Arc<Event> {
    let json = format!(
        r#"{{"id":"evt_{:016x}","source":"posts","type":"like","time":"2026-11-23T09:00:00Z",
        "actor":"u_42","audience":{{"users":["u_7"]}},
        "object":{{"type":"post","id":"p_{number}","url":"app://posts/p_{number}"}},
        "title":"Ann liked your photo","body":"Sunset over the bay","data":{{"any":"json"}},
        "priority":"high","group":"like:p_{number}"}}"#,
        spread(number)
    );
    IncomingEvent::from_json(json.as_bytes(), now()).unwrap().event
}

fn user(load: &Load, number: u64) -> u64 {
    spread(number ^ 0x5555) % load.users
}

/// CPU time of this process's threads of that name.
fn cpu_of(thread: &str) -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap();
        if name.trim() == thread {
            let stat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            nanos += stat.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    Duration::from_nanos(nanos)
}

fn rss_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines().filter(|it| it.starts_with("VmRSS") || it.starts_with("VmHWM"));
    lines
        .map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

async fn run_store(dir: &Path, load: &Load) -> Spent {
    let store = SqliteStore::open(SqliteConfig::new(dir)).unwrap();
    let users: Vec<_> =
        (0..load.users).map(|n| UserId::new(&format!("user-{n}")).unwrap()).collect();
    let mut next = 0;
    let mut warm = Duration::ZERO;
    while next < load.events {
        if next <= load.events / 2 {
            warm = cpu_of("tidings-write");
        }
        let end = (next + load.batch).min(load.events);
        let limits = BatchLimits {
            max_rows: MAX_BATCH_ROWS,
            max_bytes: usize::MAX,
            max_age: Duration::ZERO,
        };
        let mut batch = NotificationBatch::new(limits);
        for number in next..end {
            let user = users[usize::try_from(user(load, number)).unwrap()].clone();
            let recipients = vec![Recipient { user, push_at: Some(now()) }];
            let planned = PlannedEvent { event: event(number), recipients, fan_out: None };
            batch.try_add(planned, now()).unwrap();
        }
        let batch = Arc::new(batch);
        let appended = store.append(Arc::clone(&batch), now()).await.unwrap();
        assert!(appended.iter().all(|it| it.stored.len() == 1));
        next = end;
    }
    let all = cpu_of("tidings-write");
    let cpu = (all, all - warm);
    println!("{}", rss_kib());
    store.close().await;
    cpu
}

fn run_bare(dir: &Path, load: &Load) -> Spent {
    // Ours, for its schema.
    drop(SqliteStore::open(SqliteConfig::new(dir)).unwrap());
    let conn = Connection::open(dir.join("store.db")).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 8192; PRAGMA temp_store = MEMORY;",
    )
    .unwrap();
    conn.execute_batch(&std::env::args().nth(5).unwrap_or_default()).unwrap();
    let mut seqs = vec![0i64; usize::try_from(load.users).unwrap()];
    let (mut all, mut half) = (Duration::ZERO, Duration::ZERO);
    let mut next = 0;
    while next < load.events {
        let end = (next + load.batch).min(load.events);
        let events: Vec<_> = (next..end).map(event).collect();
        let started = cpu_of("profile_append");
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        {
            let mut insert_event = conn
                .prepare_cached(
                    "INSERT INTO event VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
                     ?12, ?13, ?14, ?15)",
                )
                .unwrap();
            let mut insert = conn
                .prepare_cached(
                    "INSERT INTO notification VALUES (?1, ?2, ?3, ?4, NULL, NULL, NULL)",
                )
                .unwrap();
            for (event, number) in events.iter().zip(next..) {
                let object = event.object.as_ref().unwrap();
                let event = insert_event
                    .insert((
                        event.source.as_str(),
                        event.id.as_str(),
                        &event.event_type,
                        event.time.as_millis(),
                        event.actor.as_ref().map(UserId::as_str),
                        &object.object_type,
                        &object.id,
                        &object.url,
                        &event.title,
                        &event.body,
                        event.data.as_ref().map(|it| it.get()),
                        event.priority.as_str(),
                        None::<i64>,
                        &event.group,
                        now().as_millis(),
                    ))
                    .unwrap();
                let user = usize::try_from(user(load, number)).unwrap();
                seqs[user] += 1;
                let inbox = i64::try_from(user).unwrap();
                insert.execute((inbox, seqs[user], event, now().as_millis())).unwrap();
            }
        }
        conn.execute_batch("COMMIT").unwrap();
        let spent = cpu_of("profile_append") - started;
        all += spent;
        if next >= load.events / 2 {
            half += spent;
        }
        next = end;
    }
    println!("{}", rss_kib());
    (all, half)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let load = Load { events: number(1), batch: number(2), users: number(3) };
    let dir = tempfile::tempdir_in(".").unwrap();
    let (all, half) = match arguments[0].as_str() {
        "store" => run_store(dir.path(), &load).await,
        _ => run_bare(dir.path(), &load),
    };
    let each = |cpu: Duration, rows: u64| (cpu / u32::try_from(rows).unwrap()).as_secs_f64() * 1e6;
    println!(
        "{}: {:.2} us of CPU per row, {:.2} us in the second half",
        arguments[0],
        each(all, load.events),
        each(half, load.events / 2)
    );
}
