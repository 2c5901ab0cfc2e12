//! Questions that are on their way to the store, each once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings_core::ports::GraphError;
use tokio::sync::{Mutex as Gate, OnceCell};

use super::{answer::Answer, scope::Snapshot};

/// Which question, and at which versions those who ask have found it; `None` if there were none.
type Key = (Arc<[u8]>, Option<Snapshot>);

/// Questions that are on their way to the store.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Weak<Flight>>>);

/// One question to the store, and all who wait for the answer.
struct Flight {
    /// Whoever waits first asks. If that one is cancelled, the next one asks.
    answer: OnceCell<Result<Answer, Arc<GraphError>>>,
    was_asked: AtomicBool,
    /// Held while the store is asked by flights that may not be shared once they are under way.
    gate: Arc<Gate<()>>,
}

impl Flights {
    /// Asks with `ask`, unless another is about to, or does, whose answer is as good.
    ///
    /// Who has seen the same versions can share an answer at any time: whatever was answered before they
    /// came was written before those versions were made, and so before the store was asked. Without
    /// versions, only a question that has not been put yet can be shared.
    pub(super) async fn join(
        &self,
        name: Arc<[u8]>,
        snapshot: Option<Snapshot>,
        ask: impl Future<Output = Result<Answer, GraphError>>,
    ) -> Result<Answer, GraphError> {
        let seat = self.sit_down((name, snapshot));
        let flight = &seat.flight;
        let answer = flight.answer.get_or_init(|| async move {
            let turn = match snapshot {
                None => Some(flight.gate.lock().await),
                Some(_) => None,
            };
            flight.was_asked.store(true, Ordering::SeqCst);
            let answer = ask.await.map_err(Arc::new);
            drop(turn);
            answer
        });
        answer.await.clone().map_err(|error| share(&error))
    }

    fn sit_down(&self, key: Key) -> Seat<'_> {
        let mut flights = self.lock();
        let last = flights.get(&key).and_then(Weak::upgrade);
        let mut gate = Arc::default();
        if let Some(last) = last {
            // Read under the lock, and set before the store is asked: whoever sits down in a flight that
            // has not asked began before it does.
            if key.1.is_some() || !last.was_asked.load(Ordering::SeqCst) {
                metrics::counter!("tidings_graph_cache_coalesced_total").increment(1);
                return Seat { flights: self, key, flight: last };
            }
            gate = Arc::clone(&last.gate);
        }
        let flight = Flight { answer: OnceCell::new(), was_asked: AtomicBool::new(false), gate };
        let flight = Arc::new(flight);
        flights.insert(key.clone(), Arc::downgrade(&flight));
        Seat { flights: self, key, flight }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }
}

/// A place in a flight. The last who leaves takes it off the list.
struct Seat<'a> {
    flights: &'a Flights,
    key: Key,
    flight: Arc<Flight>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Under the lock nobody can sit down meanwhile.
        if Arc::strong_count(&self.flight) == 1 {
            let listed = flights.get(&self.key);
            if listed.is_some_and(|it| std::ptr::eq(it.as_ptr(), Arc::as_ptr(&self.flight))) {
                flights.remove(&self.key);
            }
        }
    }
}

/// An error for one of those who share it.
fn share(error: &Arc<GraphError>) -> GraphError {
    match &**error {
        GraphError::SelfFollow => GraphError::SelfFollow,
        GraphError::SelfBlock => GraphError::SelfBlock,
        GraphError::SelfMute => GraphError::SelfMute,
        GraphError::Blocked => GraphError::Blocked,
        GraphError::BadCursor => GraphError::BadCursor,
        GraphError::Full { limit } => GraphError::Full { limit: *limit },
        GraphError::Corrupt { backend, what, .. } => {
            GraphError::Corrupt { backend, what, source: Box::new(Shared(Arc::clone(error))) }
        }
        GraphError::Unavailable { op, backend, .. } => {
            GraphError::Unavailable { op, backend, source: Box::new(Shared(Arc::clone(error))) }
        }
        _ => GraphError::Unavailable {
            op: "read",
            backend: "cached",
            source: Box::new(Shared(Arc::clone(error))),
        },
    }
}

/// The cause of an error that several have got: what it shows is the cause, not the error again.
#[derive(Debug)]
struct Shared(Arc<GraphError>);

impl Shared {
    fn cause(&self) -> &(dyn std::error::Error + 'static) {
        std::error::Error::source(&*self.0).unwrap_or(&*self.0)
    }
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.cause(), f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().source()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU32, time::Duration};

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    const AT: Option<Snapshot> = Some(Snapshot([1; 4]));

    fn name() -> Arc<[u8]> {
        b"name"[..].into()
    }

    async fn ask(asked: &AtomicU32) -> Result<Answer, GraphError> {
        let n = asked.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(Duration::from_millis(20)).await;
        Ok(Answer::from(n.to_string()))
    }

    #[tokio::test]
    async fn a_thousand_who_saw_the_same_versions_ask_once() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let all = (0..1_000).map(|_| flights.join(name(), AT, ask(&asked)));
        for answer in join_all(all).await {
            assert_eq!(answer.unwrap(), "1");
        }
        assert_eq!((asked.into_inner(), flights.len()), (1, 0));
    }

    #[tokio::test]
    async fn those_who_saw_other_versions_ask_for_themselves() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let other = Some(Snapshot([2; 4]));
        let (one, two) = tokio::join!(
            flights.join(name(), AT, ask(&asked)),
            flights.join(name(), other, ask(&asked))
        );
        assert_ne!(one.unwrap(), two.unwrap());
    }

    #[tokio::test]
    async fn without_versions_nobody_shares_what_was_asked_before_they_came() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let late = async {
            sleep(Duration::from_millis(10)).await;
            let late = (0..500).map(|_| flights.join(name(), None, ask(&asked)));
            join_all(late).await
        };
        let (first, late) = tokio::join!(flights.join(name(), None, ask(&asked)), late);
        assert_eq!(first.unwrap(), "1");
        assert!(late.into_iter().all(|answer| answer.unwrap() == "2"));
        assert_eq!((asked.into_inner(), flights.len()), (2, 0));
    }

    #[tokio::test]
    async fn when_the_one_who_asks_is_cancelled_the_next_one_asks() {
        for snapshot in [AT, None] {
            let (flights, asked) = (Flights::default(), AtomicU32::new(0));
            let cancelled =
                timeout(Duration::from_millis(10), flights.join(name(), snapshot, ask(&asked)));
            let rest = (0..100).map(|_| flights.join(name(), snapshot, ask(&asked)));
            let (cancelled, rest) = tokio::join!(cancelled, join_all(rest));
            assert!(cancelled.is_err());
            assert!(rest.into_iter().all(|answer| answer.unwrap() == "2"));
            assert_eq!((asked.into_inner(), flights.len()), (2, 0));
        }
    }

    #[tokio::test]
    async fn a_failure_is_shared_with_its_cause_and_not_kept() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let fail = async || {
            asked.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(10)).await;
            Err(GraphError::Unavailable { op: "counts", backend: "far", source: "lost".into() })
        };
        let all = (0..100).map(|_| flights.join(name(), AT, fail()));
        for error in join_all(all).await {
            let error = error.unwrap_err();
            let shown = tidings_core::error_chain::ErrorChain(&error).to_string();
            assert_eq!(shown, "counts did not reach the far graph: lost");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(flights.join(name(), AT, ask(&asked)).await.unwrap(), "2");
    }
}
