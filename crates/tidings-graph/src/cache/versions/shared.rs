//! Versions in Redis, for all nodes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tidings_core::{error_chain::ErrorChain, ids::GraphId};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    super::{
        config::{GraphCacheConfig, GraphCacheError, RedisCacheConfig},
        health::GraphCacheHealthHandle,
        scope::{Scope, Standing},
    },
    Mark,
    connect::{Connector, Timing},
    lapse::Lapse,
    link::Link,
};

/// Scopes of writes with an unknown end that are remembered one by one.
const UNSETTLED: usize = 10_000;

/// Versions in Redis.
pub(in super::super) struct SharedVersions {
    pub(super) connector: Connector,
    pub(super) link: watch::Sender<Option<Arc<Link>>>,
    pub(super) lapse: Lapse,
    /// Writes that wait for a connection, or for the end of the epoch.
    waiting: AtomicUsize,
    pub(super) health: GraphCacheHealthHandle,
    unsettled: Mutex<Vec<Unsettled>>,
    write_lease: Duration,
}

/// A write that waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        metrics::counter!("tidings_graph_cache_write_waits_total").increment(1);
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which side of a write.
#[derive(Debug, Clone, Copy)]
enum Step {
    Mark,
    Settle,
}

/// A scope of which the others have to be told.
struct Unsettled {
    scope: Scope,
    /// Until when a write may come that nobody waits for; `None` if it has come.
    until: Option<Instant>,
    is_marked: bool,
}

impl SharedVersions {
    pub(in super::super) fn new(
        config: &GraphCacheConfig,
        redis: &RedisCacheConfig,
        graph: GraphId,
        health: GraphCacheHealthHandle,
    ) -> Result<Self, GraphCacheError> {
        let timing = Timing::new(config, redis)?;
        Ok(Self {
            connector: Connector::new(redis, graph, timing)?,
            link: watch::Sender::default(),
            lapse: Lapse::new(redis.answer_timeout, redis.lease),
            waiting: AtomicUsize::new(0),
            health,
            unsettled: Mutex::default(),
            write_lease: config.write_lease,
        })
    }

    /// Whether answers are kept, as of the last sign of life.
    pub(in super::super) fn is_open(&self) -> bool {
        self.health.snapshot().is_open
    }

    /// The connection, while there is one.
    pub(in super::super) fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// Whether writes wait for a connection.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Gives up a connection that has failed, so that nobody else waits for it.
    pub(in super::super) fn give_up(&self, link: &Arc<Link>, error: &RedisError) {
        let was_given_up = self.link.send_if_modified(|current| {
            let is_current = current.as_ref().is_some_and(|it| Arc::ptr_eq(it, link));
            if is_current {
                *current = None;
            }
            is_current
        });
        if was_given_up {
            let why = ErrorChain(error).to_string();
            tracing::warn!(
                error = why,
                "the graph's cache has lost its server: reads ask the store"
            );
            self.health.note_error(why);
            self.health.set_open(false);
        }
    }

    /// What the server has answered; if that is an error, the connection is given up.
    pub(in super::super) fn heed<T>(&self, link: &Arc<Link>, answer: RedisResult<T>) -> Option<T> {
        answer.map_err(|error| self.give_up(link, &error)).ok()
    }

    pub(super) async fn look(
        &self,
        scopes: &[Scope],
        name: Option<&[u8]>,
    ) -> (Standing, Option<Vec<u8>>) {
        let Some(link) = self.link() else { return (Standing::Closed, None) };
        let looked = link.look(scopes, name).await;
        self.heed(&link, looked).unwrap_or((Standing::Closed, None))
    }

    pub(super) async fn fetch(&self, name: &[u8]) -> Option<Vec<u8>> {
        let link = self.link()?;
        let fetched = link.fetch(name).await;
        self.heed(&link, fetched).flatten()
    }

    pub(super) async fn mark(&self, scopes: &[Scope]) -> Mark {
        let mut mark = Mark::new();
        mark.is_alone = self.reach(Step::Mark, scopes, &mark).await.unwrap_or(false);
        mark
    }

    pub(super) async fn settle(&self, scopes: &[Scope], mark: Mark) -> bool {
        let is_alone = self.reach(Step::Settle, scopes, &mark).await;
        is_alone.unwrap_or_else(|| {
            // Nobody trusts an answer. Who holds this node for dead may come to, later: the others are
            // told when they can be.
            self.remember(scopes.to_vec(), None);
            false
        })
    }

    /// Does what has to be known to all nodes, or waits until none of them trusts an answer: `None` then.
    async fn reach(&self, step: Step, scopes: &[Scope], mark: &Mark) -> Option<bool> {
        let mut links = self.link.subscribe();
        let mut waits = None;
        loop {
            let link = links.borrow_and_update().clone();
            if let Some(link) = link {
                let told = match step {
                    Step::Mark => link.mark(scopes, mark).await,
                    Step::Settle => link.settle(scopes, mark).await,
                };
                if let Some(is_alone) = self.heed(&link, told) {
                    return Some(is_alone);
                }
                continue;
            }
            let left = self.lapse.left()?;
            waits.get_or_insert_with(|| Waits::new(&self.waiting));
            // Another connection, or none for long enough: either will do. The sender is ours.
            drop(timeout(left, links.changed()).await);
        }
    }

    pub(super) fn leave(&self, scopes: Vec<Scope>) {
        self.remember(scopes, Some(Instant::now() + self.write_lease));
    }

    fn remember(&self, scopes: Vec<Scope>, until: Option<Instant>) {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        unsettled.retain(|it| it.until.is_none_or(|until| until > Instant::now()));
        let add = |scope, until| Unsettled { scope, until, is_marked: false };
        if unsettled.len() + scopes.len() > UNSETTLED {
            let last = unsettled.iter().filter_map(|it| it.until).chain(until).max();
            unsettled.clear();
            unsettled.push(add(Scope::Graph, last));
        } else {
            unsettled.extend(scopes.into_iter().map(|scope| add(scope, until)));
        }
    }

    /// Tells the others what they have not been told, by way of a server that knows of nothing if `is_new`.
    pub(super) async fn mark_unsettled(&self, link: &Link, is_new: bool) -> RedisResult<()> {
        let (mut scopes, mut done) = (Vec::new(), Vec::new());
        {
            let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            unsettled.retain(|it| it.until.is_none_or(|until| until > Instant::now()));
            for it in unsettled.iter_mut().filter(|it| is_new || !it.is_marked) {
                it.is_marked = true;
                let list = if it.until.is_some() { &mut scopes } else { &mut done };
                list.push(it.scope.clone());
            }
        }
        // If this fails, the next connection is a new one, and all are marked there.
        link.mark(&scopes, &Mark::new()).await?;
        link.renew(&done).await?;
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        unsettled.retain(|it| it.until.is_some() || !it.is_marked);
        Ok(())
    }
}
