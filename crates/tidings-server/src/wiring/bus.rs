//! The bus between nodes.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tidings_delivery::realtime::{
    BusConfig, BusHealthHandle, ConnectionPool, RedisBus, RedisBusConfig, RedisBusWorker,
};

use crate::config::RealtimeSection;

/// The pool of live sessions, on the bus that the configuration names, if it names one.
pub(super) fn pool_on_bus(
    realtime: &RealtimeSection,
) -> anyhow::Result<(Arc<ConnectionPool>, Option<RedisBusWorker>)> {
    let pool = ConnectionPool::new(
        realtime.sessions_max,
        realtime.sessions_per_user_max,
        realtime.mailbox_frames,
    );
    let section = &realtime.bus;
    if section.redis.url.is_empty() {
        return Ok((Arc::new(pool), None));
    }
    let config = BusConfig {
        heartbeat: Duration::from_millis(section.heartbeat_ms),
        poll: Duration::from_millis(section.poll_ms),
        repair_users_per_s: section.repair_users_per_s,
        repair_group: section.repair_group,
        presence_refresh: Duration::from_millis(section.presence_refresh_ms),
        presence_users_max: section.presence_users_max,
    };
    let redis = RedisBusConfig {
        url: section.redis.url.expose().to_owned(),
        prefix: section.redis.prefix.clone(),
        sharded: section.redis.sharded,
        connect_timeout: Duration::from_millis(section.redis.connect_timeout_ms),
        answer_timeout: Duration::from_millis(section.redis.answer_timeout_ms),
        queue_bytes: section.redis.queue_bytes,
    };
    let (bus, worker) = RedisBus::new(config, &redis)
        .context("the bus cannot be set up (realtime.bus.redis.url)")?;
    Ok((Arc::new(pool.with_bus(Arc::new(bus))), Some(worker)))
}

/// How the bus is doing, if there is one.
pub(super) fn health_of(bus: Option<&RedisBusWorker>) -> Option<BusHealthHandle> {
    bus.map(RedisBusWorker::health)
}
