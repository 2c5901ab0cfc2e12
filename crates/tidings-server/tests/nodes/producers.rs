//! Producers that send events to all nodes, each event once as far as they know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{clients::user_name, harness::event, until::until};

/// From one event of a producer to the next.
const PACE: Duration = Duration::from_millis(4);
/// Users who are told of an event.
const RECIPIENTS: usize = 5;

/// Producers, and what was answered 2xx.
pub(crate) struct Producers {
    told: Arc<[AtomicU64]>,
    events: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Producers {
    /// One for each node, which turns to the next node when its own does not answer.
    pub(crate) fn start(urls: &[String], users: usize) -> Self {
        let told: Arc<[AtomicU64]> = (0..users).map(|_| AtomicU64::new(0)).collect();
        let (events, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for number in 0..urls.len() {
            let mut urls = urls.to_vec();
            urls.rotate_left(number);
            let (told, events) = (Arc::clone(&told), Arc::clone(&events));
            tasks.spawn(produce(number, urls, told, events, stop.clone()));
        }
        Self { told, events, stop, tasks }
    }

    /// What each user has been told by now.
    pub(crate) fn told(&self) -> Vec<u64> {
        self.told.iter().map(|told| told.load(Ordering::SeqCst)).collect()
    }

    /// Waits until this many more events are stored.
    pub(crate) async fn until_more(&self, events: usize) {
        let goal = self.events.load(Ordering::SeqCst) + events;
        until("events are stored", async || self.events.load(Ordering::SeqCst) >= goal).await;
    }

    pub(crate) async fn finish(mut self) -> Vec<u64> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.told()
    }
}

async fn produce(
    number: usize,
    urls: Vec<String>,
    told: Arc<[AtomicU64]>,
    events: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut round = 0;
    while !stop.is_cancelled() {
        let first = round * 7 + number * 3;
        let to: Vec<_> = (first..first + RECIPIENTS).map(|user| user % told.len()).collect();
        send(&http, &urls, &format!("e-{number}-{round}"), &to).await;
        for user in to {
            told[user].fetch_add(1, Ordering::SeqCst);
        }
        events.fetch_add(1, Ordering::SeqCst);
        round += 1;
        tokio::time::sleep(PACE).await;
    }
}

/// Sends an event again and again, to one node after the other, until it is answered 200.
async fn send(http: &reqwest::Client, urls: &[String], id: &str, to: &[usize]) {
    let names: Vec<_> = to.iter().map(|user| user_name(*user)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let body = event(id, &names).to_string();
    for url in urls.iter().cycle() {
        let answer = http.post(format!("{url}/v1/events")).body(body.clone()).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
