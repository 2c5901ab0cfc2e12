//! Events at a steady rate, whoever keeps up with it: an open loop.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::{task::JoinSet, time::sleep};

use super::{
    load::{Schedule, now_us, recipient},
    story,
};
use crate::ingest::HttpConnection;

/// Connections: as many batches may be under way.
const CONNECTIONS: u32 = 32;
/// The pause before a batch that was not accepted is sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// Where events go, and in which words.
#[derive(Clone)]
pub(crate) struct Intake {
    /// Another after a restart.
    pub(crate) address: Arc<RwLock<SocketAddr>>,
    pub(crate) path: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) body: fn(std::ops::Range<u64>, u64) -> String,
    /// Whether the answer says that all was taken.
    pub(crate) is_taken: fn(&str) -> bool,
    /// Users that are told.
    pub(crate) users: u64,
    /// A batch that is not accepted is sent again until it is: its ids make that harmless.
    pub(crate) persistent: bool,
}

/// Sends all events of the schedule, and ends when all are accepted.
pub(crate) async fn send(intake: &Intake, schedule: Schedule) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (intake, next) = (intake.clone(), Arc::clone(&next));
        tasks.spawn(async move { send_batches(&intake, schedule, &next).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn send_batches(intake: &Intake, schedule: Schedule, next: &AtomicU64) -> anyhow::Result<()> {
    let mut connection = None;
    loop {
        let index = next.fetch_add(schedule.batch, Ordering::Relaxed);
        if index >= schedule.events {
            return Ok(());
        }
        let first = schedule.first + index;
        let end = (first + schedule.batch).min(schedule.first + schedule.events);
        let body = (intake.body)(first..end, intake.users);
        let due = schedule.due_us(first).context("an event of another time")?;
        sleep(Duration::from_micros(due.saturating_sub(now_us()))).await;
        while let Err(error) = send_one(intake, &mut connection, &body).await {
            if !intake.persistent {
                return Err(error);
            }
            connection = None;
            sleep(AGAIN).await;
        }
    }
}

async fn send_one(
    intake: &Intake,
    connection: &mut Option<HttpConnection>,
    body: &str,
) -> anyhow::Result<()> {
    let open = match connection {
        Some(open) => open,
        None => {
            let address = *intake.address.read().unwrap_or_else(PoisonError::into_inner);
            connection.insert(HttpConnection::open(address, intake.headers).await?)
        }
    };
    let status = open.post(intake.path, body.as_bytes()).await?;
    let answer = open.body();
    ensure!(status < 300 && (intake.is_taken)(&answer), "{status}: {answer}");
    Ok(())
}

/// A batch for Tidings.
pub(super) fn tidings_body(events: std::ops::Range<u64>, users: u64) -> String {
    let events: Vec<String> =
        events.map(|event| story::event(event, std::iter::once(recipient(event, users)))).collect();
    format!("[{}]", events.join(","))
}

/// Tidings says of each event what became of it.
pub(crate) fn tidings_took(answer: &str) -> bool {
    answer.contains(r#""failed":0"#) && answer.contains(r#""rejected":0"#)
}

/// A batch for Centrifugo.
pub(super) fn centrifugo_body(events: std::ops::Range<u64>, users: u64) -> String {
    let commands: Vec<String> = events
        .map(|event| {
            let user = story::user_name(recipient(event, users));
            let data = story::notification(event);
            format!(r#"{{"publish":{{"channel":"inbox:{user}","data":{data}}}}}"#)
        })
        .collect();
    format!(r#"{{"commands":[{}]}}"#, commands.join(","))
}

/// Centrifugo names errors only.
pub(super) fn centrifugo_took(answer: &str) -> bool {
    !answer.contains(r#""error""#)
}
