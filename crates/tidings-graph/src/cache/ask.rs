//! From a question to its answer: from this process, from Redis, or from the store.

use std::sync::Arc;

use tidings_core::ports::{GraphError, SocialGraphStore};
use tokio::sync::mpsc;

use super::{
    answer::{Answer, Unreadable},
    config::{GraphCacheConfig, GraphCacheError},
    flights::Flights,
    health::GraphCacheHealthHandle,
    question::{List, Question},
    resident::{Entry, Resident},
    scope::{Scope, Snapshot, Standing},
    versions::{Fill, SharedVersions, Versions},
    warm::Busiest,
    worker::GraphCacheWorker,
};

/// A longer answer is not kept.
const ANSWER_BYTES: usize = 256 << 10;
/// Answers that may wait to be brought to Redis. Beyond it they stay in this process alone.
const FILLS: usize = 1_024;
/// Questions that may wait to be asked anew. Beyond it the next reader asks.
const REFRESHES: usize = 1_024;

/// A [`SocialGraphStore`] whose answers are kept, in this process and in Redis.
///
/// Answers as the store would; its module says how, and within which limits. It is for a store behind
/// a network: the embedded engine answers faster than any cache. Run the [`GraphCacheWorker`] that
/// comes with it until nobody writes any more.
pub struct GraphCache(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn SocialGraphStore>,
    pub(super) versions: Versions,
    pub(super) resident: Resident,
    pub(super) busiest: Busiest,
    flights: Flights,
    fills: mpsc::Sender<Fill>,
    pub(super) refreshes: mpsc::Sender<Question>,
}

/// Where an answer has come from; the label of metrics.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Process,
    Redis,
    Store,
    /// The store, while somebody writes.
    Marked,
    /// The store, while there is no epoch.
    Closed,
}

impl Origin {
    fn label(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Redis => "redis",
            Self::Store => "store",
            Self::Marked => "marked",
            Self::Closed => "closed",
        }
    }
}

impl GraphCache {
    /// Puts a cache before `store`.
    ///
    /// # Errors
    ///
    /// [`GraphCacheError`] for a configuration that cannot work.
    pub fn new(
        store: Arc<dyn SocialGraphStore>,
        config: &GraphCacheConfig,
    ) -> Result<(Self, GraphCacheWorker), GraphCacheError> {
        let health = GraphCacheHealthHandle::default();
        let versions = match &config.redis {
            None => Versions::local(config.write_lease),
            Some(redis) => {
                let shared = SharedVersions::new(config, redis, store.id(), health.clone())?;
                Versions::Shared(Box::new(shared))
            }
        };
        let (fills, to_fill) = mpsc::channel(FILLS);
        let (refreshes, to_refresh) = mpsc::channel(REFRESHES);
        let inner = Arc::new(Inner {
            store,
            versions,
            resident: Resident::new(config.l1_bytes, config.ttl),
            busiest: Busiest::default(),
            flights: Flights::default(),
            fills,
            refreshes,
        });
        let worker = GraphCacheWorker::new(
            Arc::clone(&inner),
            config.clone(),
            (to_fill, to_refresh),
            health,
        );
        Ok((Self(inner), worker))
    }
}

impl Inner {
    /// Answers a question, read by `read`.
    pub(super) async fn read<T>(
        &self,
        question: &Question,
        read: impl Fn(&Answer) -> Result<T, Unreadable>,
    ) -> Result<T, GraphError> {
        if let Ok(answer) = read(&self.ask(question).await?) {
            return Ok(answer);
        }
        tracing::warn!(kind = question.kind(), "the graph's cache holds what cannot be read");
        let answer = question.ask(&*self.store).await?;
        read(&answer).map_err(|source| GraphError::Corrupt {
            backend: "cached",
            what: "answer",
            source: source.into(),
        })
    }

    /// Answers a question that nobody has asked yet.
    pub(super) async fn ask_ahead(&self, question: &Question) -> Result<(), GraphError> {
        self.find_or_ask(question, question.name().into()).await.map(drop)
    }

    /// Answers a question.
    async fn ask(&self, question: &Question) -> Result<Answer, GraphError> {
        let name: Arc<[u8]> = question.name().into();
        self.busiest.note(&name);
        if let Question::Page {
            list: List::Followers | List::Following, cursor: None, limit, ..
        } = question
        {
            self.busiest.note_first_page(*limit);
        }
        let (from, answer) = self.find_or_ask(question, name).await?;
        let labels = [("kind", question.kind()), ("from", from.label())];
        metrics::counter!("tidings_graph_cache_reads_total", &labels).increment(1);
        Ok(answer)
    }

    async fn find_or_ask(
        &self,
        question: &Question,
        name: Arc<[u8]>,
    ) -> Result<(Origin, Answer), GraphError> {
        let scopes = question.scopes();
        let resident = self.resident.find(&name);
        // The answer of the other nodes comes with the versions, unless it seems not to be needed.
        let wanted = resident.is_none().then_some(&name[..]);
        let (standing, mut shared) = self.versions.look(&scopes, wanted).await;
        let (from, snapshot) = match standing {
            Standing::Current(snapshot) => (Origin::Store, Some(snapshot)),
            Standing::Marked => (Origin::Marked, None),
            Standing::Closed => (Origin::Closed, None),
        };
        if let Some(snapshot) = snapshot {
            if let Some(entry) = resident {
                if entry.counts_at(snapshot) {
                    entry.note_use();
                    return Ok((Origin::Process, entry.answer.clone()));
                }
                metrics::counter!("tidings_graph_cache_outdated_total").increment(1);
                shared = self.versions.fetch(&name).await;
            }
            if let Some(entry) = shared.filter(|entry| snapshot.heads(entry)) {
                let answer = Answer::from(entry).slice(Snapshot::BYTES..);
                self.resident.put(&name, snapshot, answer.clone());
                return Ok((Origin::Redis, answer));
            }
        }
        let asked = async {
            if let Some(answer) = snapshot.and_then(|it| self.kept_meanwhile(&name, it)) {
                return Ok(answer);
            }
            let answer = question.ask(&*self.store).await?;
            if let Some(snapshot) = snapshot {
                self.keep(Arc::clone(&name), scopes, snapshot, &answer);
            }
            Ok(answer)
        };
        let answer = self.flights.join(Arc::clone(&name), snapshot, asked).await?;
        Ok((from, answer))
    }

    /// What those have kept who asked since this question looked: they have left, or it would share with
    /// them.
    fn kept_meanwhile(&self, name: &[u8], snapshot: Snapshot) -> Option<Answer> {
        let entry = self.resident.peek(name).filter(|it| it.counts_at(snapshot))?;
        Some(entry.answer.clone())
    }

    /// Keeps an answer that was asked for after `snapshot` was read.
    fn keep(&self, name: Arc<[u8]>, scopes: Vec<Scope>, snapshot: Snapshot, answer: &Answer) {
        if answer.len() > ANSWER_BYTES {
            return;
        }
        self.resident.put(&name, snapshot, answer.clone());
        if matches!(self.versions, Versions::Shared(_)) {
            let fill = Fill { scopes, snapshot, name, answer: answer.clone() };
            if self.fills.try_send(fill).is_err() {
                let labels = [("outcome", "dropped")];
                metrics::counter!("tidings_graph_cache_fills_total", &labels).increment(1);
            }
        }
    }

    /// The entry of a question in this process, whether or not it counts.
    pub(super) fn peek(&self, question: &Question) -> Option<Arc<Entry>> {
        self.resident.peek(&question.name())
    }
}
