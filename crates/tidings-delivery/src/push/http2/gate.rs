//! As many requests at a time as the server allows at the moment.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts the streams of one connection against a limit that the server moves.
///
/// The library queues streams beyond the server's limit by itself, without a bound and without
/// telling; whoever waits here can still go to another connection.
#[derive(Debug)]
pub(super) struct StreamGate {
    free: Arc<Semaphore>,
    max_streams: usize,
    limit: AtomicUsize,
    /// Streams open beyond a limit that has fallen: their places are not given on.
    excess: Mutex<usize>,
}

impl StreamGate {
    /// A gate with one place, as APNs has it before the server's settings arrive.
    pub(super) fn new(max_streams: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
            max_streams,
            limit: AtomicUsize::new(1),
            excess: Mutex::new(0),
        }
    }

    /// Waits for a place, first come first served; `None` once the gate is closed.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<StreamPlace> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(StreamPlace { gate: Arc::clone(self), permit: Some(permit) })
    }

    /// Follows the server's limit. Called by one task only.
    pub(super) fn set_limit(&self, limit: usize) {
        let limit = limit.min(self.max_streams);
        let old = self.limit.swap(limit, Ordering::Relaxed);
        if limit == old {
            return;
        }
        let mut excess = self.excess.lock().unwrap_or_else(PoisonError::into_inner);
        if limit > old {
            let grown = limit - old;
            let owed = grown.min(*excess);
            *excess -= owed;
            self.free.add_permits(grown - owed);
        } else {
            let shrunk = old - limit;
            *excess += shrunk - self.free.forget_permits(shrunk);
        }
    }

    /// Turns away everyone who waits or comes.
    pub(super) fn close(&self) {
        self.free.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.free.is_closed()
    }
}

/// The right to one stream; given back when dropped.
pub(super) struct StreamPlace {
    gate: Arc<StreamGate>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut excess = self.gate.excess.lock().unwrap_or_else(PoisonError::into_inner);
        if *excess > 0
            && let Some(permit) = self.permit.take()
        {
            *excess -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn enter_now(gate: &Arc<StreamGate>) -> Option<StreamPlace> {
        gate.enter().now_or_never().flatten()
    }

    #[test]
    fn there_is_one_place_until_the_server_says_more_and_never_more_than_configured() {
        let gate = Arc::new(StreamGate::new(3));
        let mut places: Vec<_> = enter_now(&gate).into_iter().collect();
        assert!(enter_now(&gate).is_none());
        gate.set_limit(1_000);
        while let Some(place) = enter_now(&gate) {
            places.push(place);
        }
        assert_eq!(places.len(), 3);
    }

    #[test]
    fn places_beyond_a_fallen_limit_are_not_given_on() {
        let gate = Arc::new(StreamGate::new(10));
        gate.set_limit(3);
        let mut places: Vec<_> = (0..3).filter_map(|_| enter_now(&gate)).collect();
        gate.set_limit(1);
        places.truncate(1);
        assert!(enter_now(&gate).is_none(), "one stream is open, and one is allowed");
        places.clear();
        let place = enter_now(&gate).expect("the one place is free");
        gate.set_limit(2);
        assert!(enter_now(&gate).is_some());
        drop(place);
        gate.close();
        assert!(enter_now(&gate).is_none());
    }
}
