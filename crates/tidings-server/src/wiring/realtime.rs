//! Live sessions: their pool, who lets them in, what they read, and how they are shed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidings_core::{clock::Clock, ports::NotificationStore};
use tidings_delivery::realtime::{
    AckFlusher, Admission, AdmissionConfig, ConnectionPool, Drain, DrainConfig, Pace,
    RealtimeConfig, ReplayReader, SessionAuthenticator, SessionIdentity, SessionParts,
    SessionRefused, Tickets, WebSocketHandler,
};

use super::stores::Stores;
use crate::{
    auth::{Authenticator, TokenError, UserToken},
    config::{Config, RealtimeSection, RoutingSection, Secret},
};

/// The realtime side of a node.
pub(super) struct Realtime {
    pub(super) handler: Arc<WebSocketHandler>,
    pub(super) admission: Arc<Admission>,
    pub(super) drain: Arc<Drain>,
    pub(super) reader: ReplayReader,
    pub(super) acks: AckFlusher,
}

impl Realtime {
    pub(super) fn new(
        config: &Config,
        pool: Arc<ConnectionPool>,
        stores: &Stores,
        auth: &Arc<Authenticator>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let section = &config.realtime;
        let store: Arc<dyn NotificationStore> = stores.store();
        let (acks, ack_log) = AckFlusher::new(Arc::clone(&store), ack_gather(&config.routing));
        let (reader, replays) = ReplayReader::new(Arc::clone(&store), section.replay_page);
        let drain = Arc::new(Drain::new(drain_config(config)));
        let parts = SessionParts {
            pool,
            store,
            replays,
            acks: ack_log,
            authenticator: Arc::new(Tokens(Arc::clone(auth))),
            tickets: tickets(section),
            drain: Arc::clone(&drain),
            clock: Arc::clone(clock),
        };
        let sessions = RealtimeConfig {
            hello_timeout: Duration::from_millis(section.hello_timeout_ms),
            heartbeat: Duration::from_millis(section.heartbeat_ms),
            slow: Duration::from_millis(section.slow_ms),
            pace: Pace::new(section.frames_per_second, section.frames_burst),
        };
        let handler = Arc::new(WebSocketHandler::new(sessions, parts));
        let admission = Arc::new(Admission::new(AdmissionConfig {
            accepts_per_s: section.accepts_per_s,
            hellos_max: section.hellos_max,
        }));
        Self { handler, admission, drain, reader, acks }
    }
}

/// How long acknowledgements may gather: much shorter than the time in which one has to come, so that it
/// is stored before the push that it makes needless is due.
fn ack_gather(routing: &RoutingSection) -> Duration {
    let rules = routing.rules.iter().filter_map(|rule| rule.ack_wait_ms);
    let shortest = rules.fold(routing.ack_wait_ms, u64::min);
    Duration::from_millis((shortest / 10).clamp(50, 500))
}

fn drain_config(config: &Config) -> DrainConfig {
    let section = &config.realtime;
    // The other half is for what is stopped after the sessions.
    let window_ms = section.drain_ms.min(config.server.shutdown_grace_ms / 2);
    DrainConfig {
        window: Duration::from_millis(window_ms),
        retry: Duration::from_millis(section.drain_retry_ms),
        accepts_per_s: section.accepts_per_s,
    }
}

fn tickets(section: &RealtimeSection) -> Tickets {
    if section.ticket_secret.is_empty() {
        return Tickets::of_this_process();
    }
    let previous = &section.ticket_secret_previous;
    let previous = Some(previous).filter(|it| !it.is_empty()).map(Secret::expose);
    Tickets::with_secret(section.ticket_secret.expose(), previous)
}

/// Sessions show the same tokens as requests.
struct Tokens(Arc<Authenticator>);

#[async_trait]
impl SessionAuthenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Result<SessionIdentity, SessionRefused> {
        let UserToken { user, expires_at, issued_at } =
            self.0.user(token).map_err(|error| refused(&error))?;
        Ok(SessionIdentity { user, expires_at, issued_at })
    }

    fn recheck(&self, identity: &SessionIdentity) -> Result<(), SessionRefused> {
        self.0.recheck(&identity.user, identity.issued_at).map_err(|error| refused(&error))
    }
}

fn refused(error: &TokenError) -> SessionRefused {
    SessionRefused { reason: error.to_string() }
}
