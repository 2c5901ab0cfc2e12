//! The questions that are asked most: counted in a sample, kept in Redis, asked when a node starts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{ask::Inner, question::Question, versions::Versions};

/// Of so many questions, one is counted.
const SAMPLE: u32 = 16;
/// Questions that are counted between two reports.
const COUNTED: usize = 4_096;
/// From one report to the next.
const REPORT: Duration = Duration::from_secs(10);
/// Lengths of first pages that are remembered: an app has few.
const LENGTHS: usize = 4;

/// How often questions were asked, in a sample.
#[derive(Default)]
pub(super) struct Busiest {
    counted: Mutex<HashMap<Arc<[u8]>, u32>>,
    /// Lengths of first pages that were asked for, 0 for none.
    lengths: [AtomicUsize; LENGTHS],
}

impl Busiest {
    /// Notes that a question was asked.
    pub(super) fn note(&self, name: &Arc<[u8]>) {
        if rand::random_ratio(1, SAMPLE) {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            if counted.len() < COUNTED || counted.contains_key(name) {
                *counted.entry(Arc::clone(name)).or_default() += 1;
            }
        }
    }

    /// Notes that a first page of so many was asked for. What was noted long ago makes room.
    pub(super) fn note_first_page(&self, limit: usize) {
        if self.lengths.iter().all(|it| it.load(Ordering::Relaxed) != limit) {
            let place = rand::random_range(0..LENGTHS);
            let free = self.lengths.iter().find(|it| it.load(Ordering::Relaxed) == 0);
            free.unwrap_or(&self.lengths[place]).store(limit, Ordering::Relaxed);
        }
    }

    pub(super) fn first_pages(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().map(|it| it.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    fn take(&self) -> Vec<(Arc<[u8]>, u32)> {
        let counted =
            std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        counted.into_iter().collect()
    }
}

/// Asks what was asked most, at `per_s`, and then reports what is, until `stop`.
pub(super) async fn run(inner: &Inner, most: usize, per_s: u32, stop: &CancellationToken) {
    let Versions::Shared(versions) = &inner.versions else {
        stop.cancelled().await;
        return;
    };
    if most == 0 {
        stop.cancelled().await;
        return;
    }
    // When the cache has opened, and not before: nothing would be kept.
    while !versions.is_open() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(Duration::from_millis(100)) => {}
        }
    }
    let names = match versions.link() {
        Some(link) => versions.heed(&link, link.busiest(most).await).unwrap_or_default(),
        None => Vec::new(),
    };
    tokio::select! {
        () = stop.cancelled() => return,
        () = warm_up(inner, names, per_s) => {}
    }
    let mut report = interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            _ = report.tick() => false,
        };
        let counted = inner.busiest.take();
        // What cannot be reported is asked again.
        if let Some(link) = versions.link() {
            versions.heed(&link, link.note_busiest(&counted, most).await);
        }
        if is_last {
            return;
        }
    }
}

async fn warm_up(inner: &Inner, names: Vec<Vec<u8>>, per_s: u32) {
    let mut pace = interval(Duration::from_secs(1) / per_s.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = 0_usize;
    for question in names.iter().filter_map(|name| Question::from_name(name)) {
        pace.tick().await;
        // One that fails is asked by whoever needs it.
        asked += usize::from(inner.ask_ahead(&question).await.is_ok());
        metrics::counter!("tidings_graph_cache_warmed_total").increment(1);
    }
    tracing::info!(asked, "the graph's cache is warm");
}
