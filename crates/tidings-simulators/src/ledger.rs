//! Everything a simulator accepted, in bounded memory.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::Clock;

/// How much a [`Ledger`] remembers.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// How many different (identity, token) pairs are remembered to find duplicates; about 40 bytes
    /// each. Past it, unknown pushes are counted as [`untracked`](LedgerCounts::untracked).
    pub max_identities: usize,
    /// How many of the last accepted pushes are kept whole, payload included (up to 5 KiB each).
    pub keep_recent: usize,
    /// How many accepted pushes a subscriber may lag behind before it loses the oldest.
    pub subscription_capacity: usize,
}

impl Default for LedgerConfig {
    /// 900,000 pairs (36 MB when full), the last 1,000 pushes, subscriptions of 16,384.
    fn default() -> Self {
        // 900,000 is just below the size at which both hash sets would double.
        Self { max_identities: 900_000, keep_recent: 1_000, subscription_capacity: 16_384 }
    }
}

/// One push as it was accepted.
#[derive(Clone)]
pub struct AcceptedPush {
    /// 1, 2, 3 … in the order of acceptance.
    pub sequence: u64,
    /// What the sender calls it: the apns-id; for FCM the value of the configured key of `data`; for
    /// Web Push the same of the JSON that the browser has decrypted.
    pub identity: Option<String>,
    /// The device token; for an FCM topic `/topics/<name>`, for a condition the condition; for Web
    /// Push the endpoint.
    pub token: String,
    /// `apns-collapse-id`, FCM's collapse key, or the topic of a Web Push message.
    pub collapse_id: Option<String>,
    /// When it was accepted, for latencies within this process.
    pub received_at: Instant,
    /// The same by the simulator's clock, milliseconds since 1970.
    pub received_at_ms: i64,
    /// The request body; for Web Push what the browser has decrypted.
    pub payload: Bytes,
}

impl fmt::Debug for AcceptedPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither token nor payload: both are secrets of an app's users elsewhere, and habits stick.
        f.debug_struct("AcceptedPush")
            .field("sequence", &self.sequence)
            .field("identity", &self.identity)
            .field("received_at_ms", &self.received_at_ms)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// What a [`Ledger`] has counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// Pushes accepted, duplicates included.
    pub accepted: u64,
    /// Different identities among them; a lower bound if [`untracked`](Self::untracked) > 0.
    pub distinct_identities: u64,
    /// Pushes whose identity had been accepted for the same token before; a lower bound if
    /// [`untracked`](Self::untracked) > 0.
    pub duplicates: u64,
    /// Pushes that carried no identity: in no other count but `accepted`.
    pub unidentified: u64,
    /// Pushes that came when the memory for identities was full and were not known.
    pub untracked: u64,
    /// Refusals by reason, as the wire names it.
    pub rejected: BTreeMap<&'static str, u64>,
}

impl LedgerCounts {
    /// Whether `distinct_identities` and `duplicates` are exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.untracked == 0
    }

    /// Refusals for any reason.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// What is known of a push before it is entered.
pub(crate) struct Entry<'a> {
    pub(crate) identity: Option<String>,
    pub(crate) token: String,
    pub(crate) collapse_id: Option<String>,
    pub(crate) payload: &'a [u8],
}

#[derive(Default)]
struct Book {
    counts: LedgerCounts,
    identities: HashSet<u128>,
    pairs: HashSet<u128>,
    recent: VecDeque<Arc<AcceptedPush>>,
}

/// Counts what was accepted and refused, and tells subscribers of each accepted push.
///
/// A push is entered before it is answered: what a client saw succeed is in the ledger.
pub struct Ledger {
    config: LedgerConfig,
    clock: Clock,
    // Two differently keyed 64-bit hashes: a pair collides by chance once in 10^26 at 900,000.
    hashers: [RandomState; 2],
    book: Mutex<Book>,
    accepted: broadcast::Sender<Arc<AcceptedPush>>,
}

impl Ledger {
    pub(crate) fn new(config: LedgerConfig, clock: Clock) -> Self {
        let accepted = broadcast::Sender::new(config.subscription_capacity.max(1));
        let hashers = [RandomState::new(), RandomState::new()];
        Self { config, clock, hashers, book: Mutex::default(), accepted }
    }

    /// Everything counted so far.
    #[must_use]
    pub fn counts(&self) -> LedgerCounts {
        self.book().counts.clone()
    }

    /// The last accepted pushes, oldest first, as many as configured.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<AcceptedPush>> {
        self.book().recent.iter().cloned().collect()
    }

    /// Every push accepted from now on, in order.
    ///
    /// A receiver that falls behind by more than the configured capacity loses the oldest pushes
    /// and is told how many (`RecvError::Lagged`); nobody waits for it.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AcceptedPush>> {
        self.accepted.subscribe()
    }

    pub(crate) fn accept(&self, entry: Entry<'_>) -> Arc<AcceptedPush> {
        let fingerprints = entry.identity.as_deref().map(|identity| {
            (self.fingerprint(&(identity, "")), self.fingerprint(&(identity, entry.token.as_str())))
        });
        let mut push = AcceptedPush {
            sequence: 0,
            identity: entry.identity,
            token: entry.token,
            collapse_id: entry.collapse_id,
            received_at: Instant::now(),
            received_at_ms: (self.clock)(),
            // Copied: a slice of the connection's read buffer would keep all of that buffer alive.
            payload: Bytes::copy_from_slice(entry.payload),
        };

        let mut book = self.book();
        book.counts.accepted += 1;
        push.sequence = book.counts.accepted;
        match fingerprints {
            None => book.counts.unidentified += 1,
            Some((identity, pair)) => book.track(identity, pair, self.config.max_identities),
        }
        let push = Arc::new(push);
        if self.config.keep_recent > 0 {
            if book.recent.len() >= self.config.keep_recent {
                book.recent.pop_front();
            }
            book.recent.push_back(Arc::clone(&push));
        }
        // Sent under the lock, so that subscribers see the order of `sequence`. It fails only when
        // nobody subscribes.
        drop(self.accepted.send(Arc::clone(&push)));
        push
    }

    pub(crate) fn reject(&self, reason: &'static str) {
        *self.book().counts.rejected.entry(reason).or_default() += 1;
    }

    fn fingerprint(&self, key: &(&str, &str)) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        (high << 64) | low
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn track(&mut self, identity: u128, pair: u128, limit: usize) {
        if self.pairs.contains(&pair) {
            self.counts.duplicates += 1;
        } else if self.pairs.len() >= limit {
            self.counts.untracked += 1;
        } else {
            self.pairs.insert(pair);
            self.identities.insert(identity);
            self.counts.distinct_identities = self.identities.len() as u64;
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
