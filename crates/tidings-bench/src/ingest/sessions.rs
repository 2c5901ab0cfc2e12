//! Live sessions that check what they get: each notification once, in order, without holes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionEvent};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::story;
use crate::report::Report;

/// How long all sessions together may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest latency that is told apart: ten minutes, in microseconds.
const MAX_LATENCY_US: u64 = 600_000_000;
/// How long a session waits before it connects again: what comes meanwhile is late, not lost.
const RETRY_CAP_MS: u64 = 1_000;

/// Notes when events were made and when they arrived.
pub(super) struct Tally {
    begun: Instant,
    /// When each event was made, in microseconds since `begun`; 0 for one that was not.
    made_us: Vec<AtomicU64>,
    /// Events before this one are not part of the latency.
    warm: u64,
    latency_us: Mutex<Histogram<u64>>,
    arrived: AtomicU64,
    repeated: AtomicU64,
    gaps: AtomicU64,
}

/// What the sessions saw that they should not have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    /// Notifications that never came.
    pub(super) holes: u64,
    /// Notifications that came twice.
    pub(super) duplicates: u64,
    /// Gaps that the client filled by itself.
    pub(super) gaps: u64,
}

impl Tally {
    /// For up to `events` events, of which the first `warm` are not part of the latency.
    pub(super) fn new(events: u64, warm: u64) -> anyhow::Result<Arc<Self>> {
        let histogram = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?;
        Ok(Arc::new(Self {
            begun: Instant::now(),
            made_us: (0..events).map(|_| AtomicU64::new(0)).collect(),
            warm,
            latency_us: Mutex::new(histogram),
            arrived: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
        }))
    }

    /// An event is made now.
    pub(super) fn making(&self, number: u64) {
        if let Some(made) = usize::try_from(number).ok().and_then(|it| self.made_us.get(it)) {
            made.store(micros(self.begun.elapsed()), Ordering::Relaxed);
        }
    }

    fn arrived(&self, number: u64, at: Instant) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let made = usize::try_from(number).ok().and_then(|it| self.made_us.get(it));
        let made = made.map_or(0, |it| it.load(Ordering::Relaxed));
        if number < self.warm || made == 0 {
            return;
        }
        let took = micros(at.saturating_duration_since(self.begun)).saturating_sub(made);
        let mut histogram = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(took.max(1));
    }

    /// Waits until `expected` notifications have arrived, or nothing comes any more.
    pub(super) async fn settle(&self, expected: u64, patience: Duration) -> Faults {
        let mut last = (self.arrived.load(Ordering::Relaxed), Instant::now());
        loop {
            let arrived = self.arrived.load(Ordering::Relaxed);
            if arrived > last.0 {
                last = (arrived, Instant::now());
            }
            if arrived >= expected || last.1.elapsed() > patience {
                return Faults {
                    holes: expected.saturating_sub(arrived),
                    duplicates: self.repeated.load(Ordering::Relaxed)
                        + arrived.saturating_sub(expected),
                    gaps: self.gaps.load(Ordering::Relaxed),
                };
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes the percentiles down, in milliseconds, under names that begin with `prefix`.
    pub(super) fn report(&self, prefix: &str, report: &mut Report) {
        let histogram = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, quantile) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            let millis = Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64();
            report.put(&format!("{prefix}{name}_ms"), millis * 1e3);
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Open sessions.
pub(super) struct Sessions {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Sessions {
    /// Opens a session for each user and waits until all are welcome.
    pub(super) async fn open(
        url: &str,
        users: impl IntoIterator<Item = String>,
        tally: &Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut count = 0u32;
        let (welcome, mut welcomed) = mpsc::channel(1024);
        for user in users {
            let mut config = SubscriptionConfig::new(url, &format!("user:{user}"));
            config.retry.cap_ms = RETRY_CAP_MS;
            let session = Subscription::open(config);
            tasks.spawn(watch(session, Arc::clone(tally), welcome.clone(), stop.clone()));
            count += 1;
        }
        drop(welcome);
        let all = async {
            for _ in 0..count {
                welcomed.recv().await.context("a session ended before it was welcome")?;
            }
            anyhow::Ok(())
        };
        match timeout(OPEN_TIMEOUT, all).await {
            Ok(result) => result?,
            Err(_) => bail!("the sessions are not open after {OPEN_TIMEOUT:?}"),
        }
        Ok(Self { tasks, stop })
    }

    /// Closes all sessions.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What is read of a notification.
#[derive(Deserialize)]
struct Told<'a> {
    event_id: &'a str,
}

async fn watch(
    mut session: Subscription,
    tally: Arc<Tally>,
    welcome: mpsc::Sender<()>,
    stop: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = session.next() => event,
        };
        match event {
            Ok(SubscriptionEvent::Welcome { .. }) => {
                // After the first welcome nobody counts any more.
                let _counted = welcome.try_send(()).is_ok();
            }
            Ok(SubscriptionEvent::Notification(arrival)) => {
                let told = serde_json::from_str::<Told<'_>>(&arrival.json);
                let number = told.ok().and_then(|told| story::event_number(told.event_id));
                // What is not ours counts as an arrival too, so that it is found out.
                tally.arrived(number.unwrap_or_default(), arrival.at);
            }
            Ok(SubscriptionEvent::Repeated { .. }) => {
                tally.repeated.fetch_add(1, Ordering::Relaxed);
            }
            Ok(SubscriptionEvent::Gap { .. }) => {
                tally.gaps.fetch_add(1, Ordering::Relaxed);
            }
            Ok(SubscriptionEvent::Unread { .. } | SubscriptionEvent::Disconnected { .. }) => {}
            // What it misses from now on is a hole.
            Err(_) => return,
        }
    }
    session.close().await;
}
