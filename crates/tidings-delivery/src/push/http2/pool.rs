//! Places on connections: who may send now, and on which.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{Http2Error, connection::Connection, error::ConnectError, pulse::Vitals};

/// After a failed attempt to connect, requests fail at once for this long: a queue of them must not
/// become a queue of attempts.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Requests that may wait for a place at a time. Callers bound theirs far below.
const MAX_WAITING: usize = 65_536;

/// The connections to one host that take requests.
///
/// Each request has a place on one of them, so that the library, which queues without a bound and
/// without telling, never has to. Whoever finds no place waits, first come first served, for the
/// first that falls free on any connection; another connection is made meanwhile, one at a time, up
/// to the configured number.
pub(super) struct Pool {
    max_connections: usize,
    max_streams: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that take requests; retired ones are gone from here.
    connections: Vec<Arc<Connection>>,
    opening: usize,
    waiting: VecDeque<oneshot::Sender<Result<Place, Http2Error>>>,
    failure: Option<(Instant, Arc<ConnectError>)>,
    made: u64,
}

/// The right to one request on a connection; given back when dropped.
pub(super) struct Place {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    is_given_back: bool,
}

/// What becomes of a request that asks for a place.
pub(super) enum Entered {
    At(Place),
    /// It waits. With `opens`, the caller has to make a connection.
    Waits {
        place: oneshot::Receiver<Result<Place, Http2Error>>,
        opens: bool,
    },
}

impl Pool {
    pub(super) fn new(max_connections: usize, max_streams: usize) -> Self {
        let max_connections = max_connections.max(1);
        Self { max_connections, max_streams: max_streams.max(1), state: Mutex::default() }
    }

    /// Asks for a place.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entered, Http2Error> {
        let mut state = self.lock();
        if state.waiting.is_empty()
            && let Some(connection) = state.roomy()
        {
            return Ok(Entered::At(Place::take(self, connection)));
        }
        let is_down = state.connections.is_empty() && state.opening == 0;
        if is_down && let Some(error) = state.recent_failure() {
            return Err(Http2Error::Connect(error));
        }
        if state.waiting.len() >= MAX_WAITING {
            state.waiting.retain(|waiter| !waiter.is_closed());
            if state.waiting.len() >= MAX_WAITING {
                return Err(Http2Error::TooManyWaiting);
            }
        }
        let (waiter, place) = oneshot::channel();
        state.waiting.push_back(waiter);
        let opens = self.opens_another(&mut state);
        Ok(Entered::Waits { place, opens })
    }

    /// Whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().connections.is_empty()
    }

    /// Whether no connection has answered anything since then.
    pub(super) fn is_silent_since(&self, began: Instant) -> bool {
        let has_answered =
            |it: &Arc<Connection>| it.vitals.answered_at().is_some_and(|at| at >= began);
        !self.lock().connections.iter().any(has_answered)
    }

    /// The number of the next connection.
    pub(super) fn next_id(&self) -> u64 {
        let mut state = self.lock();
        state.made += 1;
        state.made
    }

    /// A connection that was asked for is there.
    pub(super) fn add(self: &Arc<Self>, connection: Arc<Connection>) {
        let mut state = self.lock();
        state.opening = state.opening.saturating_sub(1);
        state.failure = None;
        state.connections.push(connection);
        self.grant(&mut state);
    }

    /// A connection that was asked for could not be made.
    pub(super) fn fail(&self, error: &Arc<ConnectError>) {
        let mut state = self.lock();
        state.opening = state.opening.saturating_sub(1);
        state.failure = Some((Instant::now(), Arc::clone(error)));
        if state.connections.is_empty() {
            for waiter in state.waiting.drain(..) {
                // Whoever has gone meanwhile needs no answer.
                waiter.send(Err(Http2Error::Connect(Arc::clone(error)))).unwrap_or_default();
            }
        }
    }

    /// Takes a connection out of use; what is under way on it goes on.
    ///
    /// Returns whether the caller has to make another, for those who wait.
    #[must_use]
    pub(super) fn retire(&self, id: u64) -> bool {
        let mut state = self.lock();
        state.connections.retain(|connection| {
            let stays = connection.id() != id;
            if !stays {
                connection.vitals.is_retired.store(true, Ordering::Relaxed);
            }
            stays
        });
        state.waiting.retain(|waiter| !waiter.is_closed());
        let opens = state.connections.is_empty() && state.opening == 0 && !state.waiting.is_empty();
        state.opening += usize::from(opens);
        opens
    }

    /// Follows the server's limit of streams on a connection.
    pub(super) fn set_limit(self: &Arc<Self>, vitals: &Vitals, limit: usize) {
        let limit = limit.min(self.max_streams);
        if vitals.limit.load(Ordering::Relaxed) == limit {
            return;
        }
        let mut state = self.lock();
        vitals.limit.store(limit, Ordering::Relaxed);
        self.grant(&mut state);
    }

    /// Whether the caller has to make another connection, for those who wait.
    fn opens_another(&self, state: &mut State) -> bool {
        // A connection that has hardly answered yet will soon take more: APNs allows one request
        // until it has seen a valid token.
        let opens = !state.waiting.is_empty()
            && state.opening == 0
            && state.connections.len() < self.max_connections
            && state.connections.iter().all(|connection| connection.vitals.is_proven())
            && state.recent_failure().is_none();
        state.opening += usize::from(opens);
        opens
    }

    /// Gives free places to those who wait.
    fn grant(self: &Arc<Self>, state: &mut State) {
        while !state.waiting.is_empty() {
            let Some(connection) = state.roomy() else { return };
            let Some(waiter) = state.waiting.pop_front() else { return };
            if let Err(Ok(mut unwanted)) = waiter.send(Ok(Place::take(self, connection))) {
                // Under the lock, which giving it back by dropping would take again.
                unwanted.is_given_back = true;
                unwanted.connection.vitals.under_way.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first connection with a free place. Not the emptiest one: requests that share a connection
    /// share its writes, and the fewer connections are busy, the cheaper is each request.
    fn roomy(&self) -> Option<Arc<Connection>> {
        self.connections.iter().find(|connection| connection.vitals.free_places() > 0).cloned()
    }

    fn recent_failure(&self) -> Option<Arc<ConnectError>> {
        let (at, error) = self.failure.as_ref()?;
        (at.elapsed() < RECONNECT_PAUSE).then(|| Arc::clone(error))
    }
}

impl Place {
    /// Called under the pool's lock.
    fn take(pool: &Arc<Pool>, connection: Arc<Connection>) -> Self {
        connection.vitals.under_way.fetch_add(1, Ordering::Relaxed);
        Self { pool: Arc::clone(pool), connection, is_given_back: false }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives the place back, and returns whether the caller has to make another connection, for
    /// those who wait.
    #[must_use]
    pub(super) fn give_back(mut self) -> bool {
        self.is_given_back = true;
        let mut state = self.leave();
        self.pool.opens_another(&mut state)
    }

    fn leave(&self) -> MutexGuard<'_, State> {
        let mut state = self.pool.lock();
        self.connection.vitals.under_way.fetch_sub(1, Ordering::Relaxed);
        self.pool.grant(&mut state);
        state
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_given_back {
            drop(self.leave());
        }
    }
}
