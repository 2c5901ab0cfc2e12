//! How a consumer is doing: for readiness, and for metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{Statistics, error::RDKafkaErrorCode};

use super::{measure, partition::Partition, status::Status};

/// How a consumer is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaHealth {
    /// Whether a broker is connected.
    pub connected: bool,
    /// The last trouble that the client reported; `None` once all is well again.
    pub last_error: Option<String>,
    /// Why the consumer has ended and needs a restart; `None` while it runs.
    pub fatal: Option<String>,
    /// What the client reported in the place of records and is not seen to be over.
    pub troubles: Vec<KafkaTrouble>,
    /// The partitions that are assigned to this node, by topic and number.
    pub partitions: Vec<PartitionHealth>,
}

impl KafkaHealth {
    /// Whether nothing needs attention: connected, nothing reported, and no partition waits or is
    /// stopped.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let moving = |it: &PartitionHealth| {
            matches!(it.state, PartitionState::Claiming | PartitionState::Reading)
        };
        let quiet = self.fatal.is_none() && self.troubles.is_empty();
        self.connected && quiet && self.partitions.iter().all(moving)
    }
}

/// What the client reported in the place of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTrouble {
    /// What sort of trouble.
    pub kind: TroubleKind,
    /// The client's words.
    pub error: String,
    /// How often it was reported.
    pub times: u64,
    /// The topics that may be meant: nothing was heard of them since.
    pub topics: Vec<Arc<str>>,
}

/// What sort of trouble the client reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TroubleKind {
    /// A topic does not exist, or not yet: it is read when it does.
    TopicNotAvailable,
    /// The broker does not let this node read the topic, or join the group.
    NotAuthorised,
    /// Anything else.
    Errors,
}

/// How a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionHealth {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the first record that has not been stored; `None` before the first was.
    pub position: Option<i64>,
    /// The oldest offset that the broker has, as of about a second ago.
    pub low: Option<i64>,
    /// The offset after the newest record, as of about a second ago.
    pub high: Option<i64>,
    /// Records that are still to be stored.
    pub lag: Option<u64>,
    /// Bytes of its records in memory, and of the rows that they have become.
    pub held_bytes: usize,
    /// Whether fetching is paused because enough is in memory.
    pub paused: bool,
    /// What is being done with it.
    pub state: PartitionState,
}

/// What is being done with a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionState {
    /// It is being taken over.
    Claiming,
    /// It is read.
    Reading,
    /// Something that it needs is out of reach; it is tried again and again, and nothing is dropped.
    Waiting {
        /// What.
        why: String,
    },
    /// It is read no further until a person has looked.
    Stopped {
        /// Why, and what to do.
        why: String,
    },
}

/// Gives out [`KafkaHealth`], also after the consumer has ended.
#[derive(Debug, Clone)]
pub struct KafkaHealthHandle(pub(super) Arc<Board>);

impl KafkaHealthHandle {
    /// How the consumer is doing now. Costs a short lock.
    #[must_use]
    pub fn snapshot(&self) -> KafkaHealth {
        self.0.snapshot()
    }
}

type Partitions = BTreeMap<(Arc<str>, i32), Arc<Partition>>;

/// After how long without another report a trouble is news again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Why no broker was reached, since one was last.
#[derive(Debug, Default)]
struct Unreached {
    why: Option<String>,
    /// When each kind was reported last.
    kinds: Vec<(RDKafkaErrorCode, Instant)>,
}

/// Where everyone writes down how it is.
#[derive(Debug, Default)]
pub(super) struct Board {
    connected: AtomicBool,
    unreached: Mutex<Unreached>,
    fatal: Mutex<Option<String>>,
    troubles: Mutex<Vec<KafkaTrouble>>,
    partitions: Mutex<Partitions>,
}

impl Board {
    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an assignment in the place of an earlier one of the same partition.
    pub(super) fn put(&self, partition: &Arc<Partition>) {
        let key = (Arc::clone(&partition.id.topic), partition.id.partition);
        self.partitions().insert(key, Arc::clone(partition));
    }

    pub(super) fn remove(&self, partition: &Partition) {
        self.partitions().remove(&(Arc::clone(&partition.id.topic), partition.id.partition));
        measure::lag(partition).set(0.0);
    }

    /// The partitions whose claim has succeeded.
    pub(super) fn claimed(&self) -> Vec<Arc<Partition>> {
        self.partitions().values().filter(|it| it.is_claimed()).cloned().collect()
    }

    /// Notes why a broker is not reached; says whether that is news: no other report of its kind was a
    /// moment ago. It is reported at every attempt, in words that differ by their times.
    pub(super) fn set_error(&self, code: RDKafkaErrorCode, error: &str, now: Instant) -> bool {
        let mut unreached = self.unreached();
        unreached.kinds.retain(|it| now.saturating_duration_since(it.1) < FORGOTTEN);
        let is_new = unreached.kinds.iter().all(|it| it.0 != code);
        unreached.kinds.retain(|it| it.0 != code);
        unreached.kinds.push((code, now));
        // That all are down follows the reason why.
        if unreached.why.is_none() || code != RDKafkaErrorCode::AllBrokersDown {
            unreached.why = Some(error.to_owned());
        }
        is_new
    }

    /// A broker is reached.
    pub(super) fn clear_error(&self) {
        *self.unreached() = Unreached::default();
    }

    fn unreached(&self) -> MutexGuard<'_, Unreached> {
        self.unreached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_troubles(&self, troubles: Vec<KafkaTrouble>) {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner) = troubles;
    }

    pub(super) fn set_fatal(&self, error: String) {
        self.set_disconnected();
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn set_fatal_if_none(&self, error: &str) {
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        if fatal.is_none() {
            tracing::error!("nothing is read from Kafka: {error}");
            *fatal = Some(error.to_owned());
        }
    }

    pub(super) fn set_disconnected(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// Takes the client's statistics: who is connected, and where the logs end.
    pub(super) fn take_statistics(&self, statistics: &Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        if self.connected.swap(connected, Ordering::Relaxed) != connected && connected {
            self.clear_error();
        }
        let (mut paused, mut held, mut stopped) = (0u32, 0, 0u32);
        for partition in self.partitions().values() {
            let topic = statistics.topics.get(&*partition.id.topic);
            if let Some(seen) = topic.and_then(|it| it.partitions.get(&partition.id.partition))
                && seen.hi_offset >= 0
            {
                partition.take_watermarks_seen(seen.lo_offset, seen.hi_offset);
            }
            if let Some(lag) = partition.lag() {
                measure::lag(partition).set(as_f64(lag));
            }
            paused += u32::from(partition.paused.load(Ordering::Relaxed));
            stopped += u32::from(partition.is_stopped());
            held += partition.account.held();
        }
        metrics::gauge!(measure::PAUSED).set(paused);
        metrics::gauge!(measure::STOPPED).set(stopped);
        metrics::gauge!(measure::HELD).set(as_f64(held as u64));
    }

    fn snapshot(&self) -> KafkaHealth {
        let partitions = self.partitions().values().map(|it| partition_health(it)).collect();
        KafkaHealth {
            connected: self.connected.load(Ordering::Relaxed),
            last_error: self.unreached().why.clone(),
            fatal: self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            troubles: self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            partitions,
        }
    }
}

fn partition_health(partition: &Partition) -> PartitionHealth {
    let (low, high) = partition.watermarks();
    PartitionHealth {
        topic: Arc::clone(&partition.id.topic),
        partition: partition.id.partition,
        position: partition.position(),
        low,
        high,
        lag: partition.lag(),
        held_bytes: partition.account.held(),
        paused: partition.paused.load(Ordering::Relaxed),
        state: match partition.status() {
            Status::Claiming => PartitionState::Claiming,
            Status::Reading => PartitionState::Reading,
            Status::Waiting(why) => PartitionState::Waiting { why: why.to_string() },
            Status::Stopped(reason) => PartitionState::Stopped { why: reason.to_string() },
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_no_broker_is_reached_is_told_once_and_stays_until_one_is() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure};
        let (board, now) = (Board::default(), Instant::now());
        assert!(board.set_error(Authentication, "the password is wrong (after 20ms)", now));
        assert!(board.set_error(AllBrokersDown, "1/1 brokers are down", now));
        assert!(!board.set_error(Authentication, "the password is wrong (after 30ms)", now));
        let later = now + FORGOTTEN * 3 / 4;
        assert!(!board.set_error(AllBrokersDown, "1/1 brokers are down", later));
        let latest = now + FORGOTTEN * 3 / 2;
        assert!(!board.set_error(AllBrokersDown, "1/1 brokers are down", latest));
        let why = board.snapshot().last_error.unwrap();
        assert_eq!(why, "the password is wrong (after 30ms)");
        assert!(board.set_error(BrokerTransportFailure, "refused", now));
        // Another broker, an hour after the first was refused: others were reached all the time.
        assert!(board.set_error(BrokerTransportFailure, "refused", now + FORGOTTEN * 60));
        let broker = rdkafka::statistics::Broker { state: "UP".to_owned(), ..Default::default() };
        let brokers = [("one".to_owned(), broker)].into();
        board.take_statistics(&Statistics { brokers, ..Default::default() });
        assert_eq!(board.snapshot().last_error, None);
        assert!(board.set_error(Authentication, "the password is wrong", now));
    }
}
