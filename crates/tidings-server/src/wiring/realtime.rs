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
    config::{Config, PushKind, PushUnless, RealtimeSection, RoutingSection, Secret},
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

/// How long acknowledgements may gather: a tenth of the shortest time in which one has to come to make a
/// push needless, so that it is stored by then. A wait below half a second leaves that to chance.
fn ack_gather(routing: &RoutingSection) -> Duration {
    let of_default = (routing.ack_wait_ms, routing.push, routing.push_unless);
    let of_rules = routing.rules.iter().map(|rule| {
        (
            rule.ack_wait_ms.unwrap_or(routing.ack_wait_ms),
            rule.push.unwrap_or(routing.push),
            rule.push_unless.unwrap_or(routing.push_unless),
        )
    });
    let waits = of_rules.chain([of_default]).filter_map(|(wait_ms, push, unless)| {
        // Without a wait the push goes at once, whatever is acknowledged.
        let counts = push != PushKind::Never && unless != PushUnless::Nothing && wait_ms > 0;
        counts.then_some(wait_ms)
    });
    Duration::from_millis((waits.min().unwrap_or(u64::MAX) / 10).clamp(50, 500))
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

#[cfg(test)]
mod tests {
    use tidings_core::event::Priority;

    use super::*;
    use crate::config::{PushTargets, RoutingRuleSection};

    #[test]
    fn acknowledgements_gather_for_a_tenth_of_the_shortest_wait_that_they_end() {
        let gather_ms = |default_ms, rules: &[RoutingRuleSection]| {
            let routing = RoutingSection {
                ack_wait_ms: default_ms,
                push_from: Priority::Normal,
                push: PushKind::Alert,
                push_unless: PushUnless::Acknowledged,
                push_to: PushTargets::All,
                channels: vec![],
                rules: rules.to_vec(),
            };
            ack_gather(&routing).as_millis()
        };
        let waits = |ms| RoutingRuleSection { ack_wait_ms: Some(ms), ..Default::default() };
        assert_eq!(gather_ms(5_000, &[]), 500);
        assert_eq!(gather_ms(3_600_000, &[]), 500);
        assert_eq!(gather_ms(5_000, &[waits(9_000), waits(2_000)]), 200);
        assert_eq!(gather_ms(100, &[]), 50);
        // Nobody waits for an acknowledgement.
        let at_once = waits(0);
        let in_any_case =
            RoutingRuleSection { push_unless: Some(PushUnless::Nothing), ..waits(1_000) };
        let never = RoutingRuleSection { push: Some(PushKind::Never), ..waits(1_000) };
        assert_eq!(gather_ms(5_000, &[at_once, in_any_case, never]), 500);
    }
}
