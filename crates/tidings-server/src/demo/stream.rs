//! Sends the story to the node, at a steady rate whatever the answers take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use tidings_client::Api;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    graph::DemoGraph,
    story::{Story, StoryEvent},
    tally::Tally,
};

/// Requests that may be under way; beyond it the stream waits for the node.
const IN_FLIGHT: usize = 256;
/// Requests under way when the node is to be kept busy and no more.
const IN_FLIGHT_FLAT_OUT: usize = 64;
/// Events per second once a stream without bounds has shown what it can do.
const SLOW_RATE: u32 = 5;
/// Inboxes that are read at a time.
const READERS: usize = 64;

/// When a stream ends, and how fast it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: Option<u64>,
    pub(super) time: Option<Duration>,
    /// Events per second; 0 sends the next as soon as there is room.
    pub(super) rate: u32,
    /// When to slow down to a trickle.
    pub(super) slow_down: Option<Duration>,
}

/// Sends a story.
pub(super) struct Stream<'a> {
    api: Api,
    story: Story,
    tally: Arc<Tally>,
    online: &'a [bool],
}

impl<'a> Stream<'a> {
    pub(super) fn new(api: Api, story: Story, tally: Arc<Tally>, online: &'a [bool]) -> Self {
        Self { api, story, tally, online }
    }

    /// Sends until a bound or `stop`, and waits for the last answers.
    pub(super) async fn run(
        &mut self,
        bounds: Bounds,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let flat_out = bounds.rate == 0;
        let in_flight = if flat_out { IN_FLIGHT_FLAT_OUT } else { IN_FLIGHT };
        let room = Arc::new(Semaphore::new(in_flight));
        let mut requests = JoinSet::new();
        let start = Instant::now();
        let mut due = start;
        let mut number = 0;
        loop {
            let over = bounds.events.is_some_and(|most| number >= most)
                || bounds.time.is_some_and(|most| start.elapsed() >= most);
            if over || stop.is_cancelled() {
                break;
            }
            if !flat_out && due > Instant::now() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(due.into()) => {}
                }
            }
            let permit = Arc::clone(&room).acquire_owned().await.context("the stream is closed")?;
            let event = self.story.next_event();
            self.tally.sending(number, self.reachable(&event));
            let (api, tally) = (self.api.clone(), Arc::clone(&self.tally));
            requests.spawn(async move {
                let _room = permit;
                match api.post_event(&event.json).await {
                    Ok(notifications) => tally.acknowledged(number, notifications),
                    Err(error) => {
                        tracing::debug!(%error, "an event was not accepted");
                        tally.refused(number);
                    }
                }
            });
            while let Some(done) = requests.try_join_next() {
                done.context("a request failed")?;
            }
            number += 1;
            let slow = bounds.slow_down.is_some_and(|after| start.elapsed() >= after);
            let rate = if slow { SLOW_RATE } else { bounds.rate };
            due += Duration::from_secs(1) / rate.max(1);
        }
        while let Some(done) = requests.join_next().await {
            done.context("a request failed")?;
        }
        Ok(())
    }

    /// The recipients whose screens should light up: everyone with a session, and, if the event is
    /// worth a push, everyone with a phone.
    fn reachable(&self, event: &StoryEvent) -> Vec<u32> {
        let reachable = |user: &&u32| event.pushed || self.online[**user as usize];
        event.recipients.iter().filter(reachable).copied().collect()
    }
}

/// Notifications in all inboxes, read one by one.
pub(super) async fn stored(api: &Api, graph: &DemoGraph) -> anyhow::Result<u64> {
    let total = AtomicU64::new(0);
    stream::iter(&graph.users)
        .map(|user| async {
            let counters = api.counters(user).await.context("an inbox cannot be read")?;
            total.fetch_add(counters.last_seq, Ordering::Relaxed);
            anyhow::Ok(())
        })
        .buffer_unordered(READERS)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<anyhow::Result<()>>()?;
    Ok(total.into_inner())
}
