//! The live sessions of the demo: real WebSocket clients that check what they get.

use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Deserialize;
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionEvent};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    display::Display,
    graph::DemoGraph,
    tally::{Screen, Tally},
};

/// What the ids of the demo's events begin with.
pub(super) const EVENT_PREFIX: &str = "demo-";
/// How long all sessions together may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Open sessions.
pub(super) struct Sessions {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Sessions {
    /// Opens a session for everyone who is online and waits until all are welcome.
    pub(super) async fn open(
        url: &str,
        graph: &DemoGraph,
        online: &[bool],
        tally: &Arc<Tally>,
        display: &Display,
    ) -> anyhow::Result<Self> {
        let users: Vec<_> = (0u32..).zip(online).filter(|(_, on)| **on).map(|(n, _)| n).collect();
        let bar = display.bar("opening sessions", users.len() as u64);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (welcome, mut welcomed) = mpsc::channel(users.len().max(1));
        for user in &users {
            let id = graph.user(*user);
            let config = SubscriptionConfig::new(url, &format!("user:{id}"));
            let watcher =
                Watcher { user: *user, tally: Arc::clone(tally), welcome: welcome.clone() };
            tasks.spawn(watcher.run(Subscription::open(config), stop.clone()));
        }
        drop(welcome);
        let all = async {
            for _ in &users {
                welcomed.recv().await.context("a session ended before it was welcome")?;
                bar.inc(1);
            }
            anyhow::Ok(())
        };
        match timeout(OPEN_TIMEOUT, all).await {
            Ok(result) => result?,
            Err(_) => bail!("the sessions are not open after {OPEN_TIMEOUT:?}"),
        }
        bar.finish();
        Ok(Self { tasks, stop })
    }

    /// Closes all sessions.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Watches one session and tells the tally what it sees.
struct Watcher {
    user: u32,
    tally: Arc<Tally>,
    welcome: mpsc::Sender<()>,
}

impl Watcher {
    async fn run(self, mut session: Subscription, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                event = session.next() => event,
            };
            match event {
                Ok(SubscriptionEvent::Welcome { .. }) => {
                    // After the first welcome nobody counts any more.
                    let _counted = self.welcome.try_send(()).is_ok();
                }
                Ok(SubscriptionEvent::Notification(arrival)) => {
                    match serde_json::from_str::<Told<'_>>(&arrival.json) {
                        Ok(told) => self.arrived(&told, arrival.at),
                        Err(_) => self.tally.unreadable(),
                    }
                }
                Ok(SubscriptionEvent::Repeated { .. }) => self.tally.repeated(),
                Ok(SubscriptionEvent::Gap { after, got }) => {
                    tracing::warn!(user = self.user, after, got, "a session saw a gap");
                    self.tally.gap(got - after - 1);
                }
                Ok(SubscriptionEvent::Unread { .. }) => {}
                Ok(SubscriptionEvent::Disconnected { reason, .. }) => {
                    tracing::debug!(user = self.user, reason, "a session ended");
                }
                Err(error) => {
                    tracing::warn!(user = self.user, %error, "a session was given up");
                    return;
                }
            }
        }
        session.close().await;
    }

    fn arrived(&self, told: &Told<'_>, at: std::time::Instant) {
        // Events of others than the demo, sent by hand, are none of its business.
        if let Some(event) = event_number(told.event_id) {
            self.tally.arrived(Screen::WebSocket, event, self.user, at);
        }
    }
}

/// What the demo reads of a notification.
#[derive(Deserialize)]
struct Told<'a> {
    event_id: &'a str,
}

/// The number in the story of an event of the demo, from its id.
pub(super) fn event_number(event_id: &str) -> Option<u64> {
    event_id.strip_prefix(EVENT_PREFIX)?.rsplit_once('-')?.1.parse().ok()
}
