//! Builds a node out of its parts, as the configuration says. No rule of the business is in here.

mod ingest;
mod push;
mod stores;

pub(crate) use self::stores::migrate_postgres;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use tidings_core::{
    clock::{Clock, SystemClock},
    ports::NotificationStore,
};
use tidings_delivery::realtime::{
    AckFlusher, AckLog, ConnectionPool, Pace, RealtimeConfig, SessionAuthenticator,
    SessionIdentity, SessionRefused, WebSocketHandler,
};
use tidings_ingest::kafka::KafkaNotificationConsumer;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    ingest::{Ingest, letter_decoder},
    push::Push,
    stores::Stores,
};
use crate::{
    auth::{Authenticator, TokenError, UserToken},
    config::{Config, RealtimeSection},
    http::{self, AllowedOrigins, App, EventCounts, Readiness, RequestsUnderWay},
    retention::Retention,
    revocations::Revocations,
    supervisor::{Supervisor, SupervisorError},
    telemetry,
};

/// A running node.
pub struct Node {
    address: SocketAddr,
    supervisor: Supervisor,
    readiness: Arc<Readiness>,
    stores: Stores,
}

impl Node {
    /// Opens the stores, starts every task, and listens. Stores, then delivery, then intake, then HTTP:
    /// whoever is let in finds everything running.
    ///
    /// # Errors
    ///
    /// Whatever part cannot start, with its cause.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let metrics = telemetry::init_metrics()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (auth, jwks) = Authenticator::new(&config.auth)?;
        let auth = Arc::new(auth);
        let listener = TcpListener::bind(config.server.listen).await.with_context(|| {
            format!("{} cannot be listened on (server.listen)", config.server.listen)
        })?;
        let address = listener.local_addr()?;
        let stores = Stores::open(&config.store).await?;
        let store = stores.store();

        let realtime = &config.realtime;
        let pool = session_pool(realtime);
        let (acks, ack_log) = AckFlusher::new(Arc::clone(&store) as _);
        let sessions = session_handler(realtime, &pool, &stores, ack_log, &auth, &clock);
        let push = Push::new(&config.push, &stores, &clock)?;
        let ingest = Ingest::new(&config, &stores, &pool, &push, &clock)?;
        let kafka = ingest.kafka.as_ref().map(KafkaNotificationConsumer::health);
        let retention =
            Retention::new(stores.store(), Arc::clone(&clock), config.retention.clone());
        let upkeep = metrics.clone();

        let revocations = revocations(&config, &stores, &auth, &pool, &clock).await?;
        let readiness = Arc::new(Readiness::default());
        let session_tasks = TaskTracker::new();
        let stop_sessions = CancellationToken::new();
        let app = Arc::new(App {
            intake: ingest.intake,
            kafka,
            notifications: Arc::clone(&store) as _,
            devices: Arc::clone(&store) as _,
            deliveries: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&store) as _,
            letter_decoder: letter_decoder(&config.kafka, &clock),
            answers: Arc::clone(&store) as _,
            requests: RequestsUnderWay::default(),
            checkpoints: Arc::clone(&store) as _,
            kafka_group: config.kafka.group.as_str().into(),
            kafka_topics: config.kafka.topics.iter().map(|topic| topic.name.clone()).collect(),
            event_counts: EventCounts::new(),
            graph: stores.graph(),
            pool,
            sessions,
            session_tasks: session_tasks.clone(),
            stop_sessions: stop_sessions.clone(),
            revocations: Arc::clone(&revocations),
            auth,
            readiness: Arc::clone(&readiness),
            metrics,
            clock,
            origins: AllowedOrigins::new(&config.server.allowed_origins)?,
            body_limit_bytes: config.server.body_limit_bytes,
            frame_bytes: config.realtime.frame_bytes,
            request_timeout: Duration::from_millis(config.server.request_timeout_ms),
        });

        // In the order in which they are stopped.
        let mut supervisor = Supervisor::default();
        let header_timeout = Duration::from_millis(config.server.header_timeout_ms);
        supervisor
            .add("http", |stop| http::serve(listener, http::router(app), header_timeout, stop));
        if let Some(consumer) = ingest.kafka {
            supervisor.add("kafka", |stop| consumer.run(stop));
        }
        supervisor.add("fan-outs", |stop| ingest.fan_outs.run(stop));
        supervisor.add("intake", |stop| ingest.pipeline.run(stop));
        supervisor.add("push", |stop| push.run(stop));
        supervisor.add("sessions", |stop| async move {
            stop.cancelled().await;
            stop_sessions.cancel();
            session_tasks.close();
            session_tasks.wait().await;
        });
        supervisor.add("acknowledgements", |stop| acks.run(stop));
        supervisor.add("retention", |stop| retention.run(stop));
        supervisor.add("revocations", |stop| revocations.run(stop));
        supervisor.add("metrics", |stop| telemetry::keep_metrics(upkeep, stop));
        if let Some(jwks) = jwks {
            supervisor.add("key set", |stop| jwks.run(stop));
        }
        Ok(Self { address, supervisor, readiness, stores })
    }

    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a part that ends although it should not.
    pub async fn watch(&mut self) -> SupervisorError {
        self.supervisor.watch().await
    }

    /// Stops everything in order, within `grace`; then closes the stores.
    pub async fn stop(self, grace: Duration) {
        self.readiness.begin_stopping();
        self.supervisor.stop(grace).await;
        self.stores.close().await;
    }
}

fn session_pool(section: &RealtimeSection) -> Arc<ConnectionPool> {
    Arc::new(ConnectionPool::new(
        section.sessions_max,
        section.sessions_per_user_max,
        section.mailbox_frames,
    ))
}

/// What is revoked, read whole: a node that does not know it must not answer.
async fn revocations(
    config: &Config,
    stores: &Stores,
    auth: &Authenticator,
    pool: &Arc<ConnectionPool>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<Revocations>> {
    let revocations = Arc::new(Revocations::new(
        stores.store(),
        Arc::clone(auth.revoked()),
        Arc::clone(pool),
        Arc::clone(clock),
        config.retention.revocations_days,
    ));
    revocations.read().await.context("revocations cannot be read")?;
    Ok(revocations)
}

fn session_handler(
    section: &RealtimeSection,
    pool: &Arc<ConnectionPool>,
    stores: &Stores,
    acks: AckLog,
    auth: &Arc<Authenticator>,
    clock: &Arc<dyn Clock>,
) -> Arc<WebSocketHandler> {
    let config = RealtimeConfig {
        replay_page: section.replay_page,
        hello_timeout: Duration::from_millis(section.hello_timeout_ms),
        heartbeat: Duration::from_millis(section.heartbeat_ms),
        slow: Duration::from_millis(section.slow_ms),
        pace: Pace::new(section.frames_per_second, section.frames_burst),
        drain_retry: Duration::from_millis(section.drain_retry_ms),
    };
    let authenticator = Arc::new(Tokens(Arc::clone(auth)));
    let store: Arc<dyn NotificationStore> = stores.store();
    let clock = Arc::clone(clock);
    let pool = Arc::clone(pool);
    Arc::new(WebSocketHandler::new(config, pool, store, acks, authenticator, clock))
}

/// Sessions show the same tokens as requests.
struct Tokens(Arc<Authenticator>);

#[async_trait]
impl SessionAuthenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Result<SessionIdentity, SessionRefused> {
        match self.0.user(token) {
            Ok(UserToken { user, expires_at, issued_at }) => {
                Ok(SessionIdentity { user, expires_at, issued_at })
            }
            Err(error) => Err(SessionRefused { reason: error.to_string() }),
        }
    }

    fn recheck(&self, identity: &SessionIdentity) -> Result<(), SessionRefused> {
        let refused = |error: TokenError| SessionRefused { reason: error.to_string() };
        self.0.recheck(&identity.user, identity.issued_at).map_err(refused)
    }
}
