//! How the sessions of a stopping node are shed: a few at a time, each with a time to come back.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// Parts that are told to go one after the other. A token of its own for each session would cost each
/// session its memory all its life.
const PARTS: usize = 64;

/// How sessions are shed.
#[derive(Debug, Clone, Copy)]
pub struct DrainConfig {
    /// The last session is told to go so long after the first, at most.
    pub window: Duration,
    /// Clients come back after a random time up to this, at least.
    pub retry: Duration,
    /// Sessions per second that the nodes let in to which the clients go.
    pub accepts_per_s: u32,
}

/// What live sessions are ended by.
pub struct Drain {
    config: DrainConfig,
    parts: Box<[CancellationToken]>,
    next: AtomicUsize,
    /// The longest time after which a client is asked to come back.
    retry_ms: AtomicU64,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new(config: DrainConfig) -> Self {
        Self {
            config,
            parts: (0..PARTS).map(|_| CancellationToken::new()).collect(),
            next: AtomicUsize::new(0),
            retry_ms: AtomicU64::new(millis(config.retry)),
        }
    }

    /// What ends the next session.
    pub fn token(&self) -> CancellationToken {
        let part = self.next.fetch_add(1, Ordering::Relaxed) % self.parts.len();
        self.parts[part].clone()
    }

    /// Tells the sessions to go, of which there are `live`, and returns when the last was told: no faster
    /// than other nodes let them in, unless the window is too short for that.
    pub async fn shed(&self, live: usize) {
        let plan = plan(&self.config, live);
        self.retry_ms.store(millis(plan.retry), Ordering::Relaxed);
        tracing::info!(
            sessions = live,
            window_ms = millis(plan.window),
            retry_ms = millis(plan.retry),
            "sessions are shed"
        );
        let step = plan.window.div_f64(PARTS as f64);
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                tokio::time::sleep(step).await;
            }
            part.cancel();
        }
    }

    /// Tells all sessions to go that were not told yet.
    pub fn end(&self) {
        for part in &self.parts {
            part.cancel();
        }
    }

    /// When a client that is told to go should come back, at random.
    pub(super) fn retry_ms(&self) -> u64 {
        rand::random_range(0..=self.retry_ms.load(Ordering::Relaxed))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    window: Duration,
    retry: Duration,
}

/// Where the clients go they are let in at a rate, so that all of them need a time that is known: the
/// window takes as much of it as it may, and the waits of the clients the rest.
fn plan(config: &DrainConfig, live: usize) -> Plan {
    let live = u32::try_from(live).unwrap_or(u32::MAX);
    let needed = Duration::from_secs_f64(f64::from(live) / f64::from(config.accepts_per_s.max(1)));
    let window = needed.min(config.window);
    Plan { window, retry: (needed - window).max(config.retry) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const CONFIG: DrainConfig = DrainConfig {
        window: Duration::from_secs(10),
        retry: Duration::from_secs(2),
        accepts_per_s: 100,
    };

    #[test]
    fn a_few_sessions_go_at_once_and_many_wait_for_what_the_window_is_short_of() {
        let secs = Duration::from_secs;
        assert_eq!(plan(&CONFIG, 0), Plan { window: secs(0), retry: secs(2) });
        assert_eq!(plan(&CONFIG, 500), Plan { window: secs(5), retry: secs(2) });
        assert_eq!(plan(&CONFIG, 1_000), Plan { window: secs(10), retry: secs(2) });
        assert_eq!(plan(&CONFIG, 6_000), Plan { window: secs(10), retry: secs(50) });
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_told_to_go_over_the_window_and_all_of_them() {
        let drain = Drain::new(CONFIG);
        let tokens: Vec<_> = (0..640).map(|_| drain.token()).collect();
        let told = || tokens.iter().filter(|it| it.is_cancelled()).count();
        let start = Instant::now();
        let mut shedding = Box::pin(drain.shed(640));
        let mut seen = Vec::new();
        for second in 1..=6 {
            let at = start + Duration::from_secs(second);
            let over = tokio::time::timeout_at(at, &mut shedding).await.is_ok();
            assert!(!over, "over after {second} s of 6.4");
            seen.push(told());
        }
        assert!(seen.windows(2).all(|it| (80..=120).contains(&(it[1] - it[0]))), "{seen:?}");
        shedding.await;
        assert_eq!(told(), 640);
        assert!(start.elapsed() <= Duration::from_millis(6_400));
        // Whoever comes now is told at once.
        assert!(drain.token().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_tells_all_at_once() {
        let drain = Drain::new(CONFIG);
        let tokens: Vec<_> = (0..100).map(|_| drain.token()).collect();
        drain.end();
        assert!(tokens.iter().all(CancellationToken::is_cancelled));
    }
}
