//! Keeping a connection, and giving signs of life on it.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, IntoConnectionInfo, RedisError, RedisResult};
use tidings_core::{
    error_chain::ErrorChain,
    ids::GraphId,
    retry::{RetryDecision, RetryPolicy},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::config::{GraphCacheConfig, GraphCacheError, RedisCacheConfig},
    link::{Beat, Link},
    shared::SharedVersions,
};

/// A connection that fails is made again after so long: well within the time in which a node has to be
/// back.
const RECONNECT: RetryPolicy = RetryPolicy { max_attempts: u32::MAX, base_ms: 50, cap_ms: 500 };
/// Signs of life in a lease.
const BEATS: u32 = 8;

/// How long things last.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) ttl: Duration,
    /// A scope's version outlives the answers that it is part of.
    pub(super) scope_ttl: Duration,
    pub(super) write_lease: Duration,
    pub(super) lease: Duration,
    pub(super) hold: Duration,
    pub(super) answer_timeout: Duration,
}

impl Timing {
    pub(super) fn new(
        config: &GraphCacheConfig,
        redis: &RedisCacheConfig,
    ) -> Result<Self, GraphCacheError> {
        if redis.hold < (redis.lease + redis.answer_timeout) * 3 {
            return Err(GraphCacheError::ShortHold);
        }
        Ok(Self {
            ttl: config.ttl,
            scope_ttl: config.ttl * 2,
            write_lease: config.write_lease,
            lease: redis.lease,
            hold: redis.hold,
            answer_timeout: redis.answer_timeout,
        })
    }
}

/// Makes connections.
pub(super) struct Connector {
    client: redis::Client,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    prefix: String,
    graph: GraphId,
    timing: Timing,
    /// This node, until it ends.
    node: u64,
}

impl Connector {
    pub(super) fn new(
        redis: &RedisCacheConfig,
        graph: GraphId,
        timing: Timing,
    ) -> Result<Self, GraphCacheError> {
        let info = redis.url.as_str().into_connection_info().map_err(|_| GraphCacheError::Url)?;
        let client = redis::Client::open(info).map_err(|_| GraphCacheError::Url)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(redis.connect_timeout))
            .set_response_timeout(Some(redis.answer_timeout));
        let (connect_timeout, prefix) = (redis.connect_timeout, redis.prefix.clone());
        Ok(Self { client, config, connect_timeout, prefix, graph, timing, node: rand::random() })
    }

    async fn connect(&self) -> RedisResult<Link> {
        let connect = async {
            let connection = self.client.get_multiplexed_async_connection_with_config(&self.config);
            Link::new(connection.await?, (&self.prefix, self.graph), self.timing).await
        };
        let late = || RedisError::from((redis::ErrorKind::Io, "connecting took too long"));
        timeout(self.connect_timeout, connect).await.map_err(|_| late())?
    }
}

impl SharedVersions {
    /// Keeps connected, and gives signs of life, until `stop`. Signs off then.
    pub(in super::super) async fn run(&self, stop: &CancellationToken) {
        let mut attempt = 0;
        let mut run = String::new();
        loop {
            let ending = tokio::select! {
                () = stop.cancelled() => break,
                ending = self.stay_connected(&mut run, &mut attempt) => ending,
            };
            if let Err(error) = ending {
                let why = ErrorChain(&error).to_string();
                tracing::warn!(error = why, "the graph's cache cannot reach its server");
                self.health.note_error(why);
            }
            metrics::counter!("tidings_graph_cache_reconnects_total").increment(1);
            attempt += 1;
            let RetryDecision::After(wait) =
                RECONNECT.after_failure(attempt, None, rand::random::<f64>())
            else {
                return;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
        if let Some(link) = self.link.send_replace(None) {
            // If this is lost, the others wait for us for a while.
            drop(link.leave(self.connector.node).await);
        }
        self.health.set_open(false);
    }

    /// Connects, and gives signs of life until the connection is given up.
    async fn stay_connected(&self, run: &mut String, attempt: &mut u32) -> RedisResult<()> {
        let link = Arc::new(self.connector.connect().await?);
        if !run.is_empty() && *run != link.run() {
            // The other server's epoch knows nothing of writes that are marked here.
            while let Some(left) = self.lapse.left() {
                sleep(left).await;
            }
        }
        link.run().clone_into(run);
        let clock = link.time().await?;
        *attempt = 0;
        // Whoever writes from now on marks it there: before the first sign of life, with which the others
        // begin to rely on it.
        self.link.send_replace(Some(Arc::clone(&link)));
        let mut links = self.link.subscribe();
        let is_ours = |link: &Arc<Link>, current: &Option<Arc<Link>>| {
            current.as_ref().is_some_and(|it| Arc::ptr_eq(it, link))
        };
        let ending = tokio::select! {
            ending = self.beat(&link, clock) => ending,
            _ = links.wait_for(|current| !is_ours(&link, current)) => Ok(()),
        };
        if let Err(error) = &ending {
            self.give_up(&link, error);
        }
        // It was told where the connection was given up.
        Ok(())
    }

    /// Gives signs of life until one fails. `clock` is the server's, and when it was read at the latest.
    async fn beat(&self, link: &Link, mut clock: (u64, Instant)) -> RedisResult<()> {
        let timing = self.connector.timing;
        let mut beat = interval(timing.lease / BEATS);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_new, mut last_born) = (true, None);
        // A sign of life puts the end of the epoch off. Where the server takes signs of life, and then
        // not the marks of those who wait for that end, they would wait for ever.
        while self.is_waited_for() {
            sleep(Duration::from_millis(1)).await;
        }
        loop {
            beat.tick().await;
            self.mark_unsettled(link, is_new).await?;
            is_new = false;
            // At most what the server's clock says when the answer is given up: a sign of life that waits
            // in the buffers of a server that is paused must not count when it goes on.
            let latest = clock.1.elapsed() + timing.answer_timeout;
            let latest = clock.0 + u64::try_from(latest.as_millis()).unwrap_or(u64::MAX / 2);
            self.lapse.put_off();
            let Beat { now, is_open, born } = link.beat(self.connector.node, latest).await?;
            clock = (now, Instant::now());
            // A server that was emptied knows of no marks any more. There is no epoch for a hold: all
            // nodes have marked theirs again by then.
            if born.is_some() && born != last_born {
                (is_new, last_born) = (true, born);
            }
            if self.health.set_open(is_open) {
                tracing::info!(is_open, "the graph's cache has opened or closed");
            }
        }
    }
}
