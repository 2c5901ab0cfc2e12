//! Builds a node out of its parts, as the configuration says. No rule of the business is in here.

mod bus;
mod credentials;
mod graph_cache;
mod ingest;
mod push;
mod realtime;
mod recommendations;
mod routing;
mod stores;

pub(crate) use self::stores::migrate_postgres;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use tidings_core::clock::{Clock, SystemClock};
use tidings_delivery::realtime::{ConnectionPool, Drain};
use tidings_graph::GraphCacheWorker;
use tidings_ingest::kafka::KafkaNotificationConsumer;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    bus::{health_of, pool_on_bus},
    credentials::Credentials,
    ingest::{Ingest, letter_decoder},
    push::Push,
    realtime::Realtime,
    recommendations::Recommendations,
    stores::Stores,
};
use crate::{
    auth::Authenticator,
    config::{Config, PushSection},
    follow_notices::FollowNotices,
    http::{self, AllowedOrigins, App, Changes, EventCounts, Limits, Readiness, RequestsUnderWay},
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
    credentials: Arc<Credentials>,
    config: Config,
}

impl Node {
    /// Opens the stores, starts every task, and listens. Stores, then delivery, then intake, then HTTP:
    /// whoever is let in finds everything running. `beside` is served next to the API.
    ///
    /// # Errors
    ///
    /// Whatever part cannot start, with its cause.
    pub async fn start(config: Config, beside: Router) -> anyhow::Result<Self> {
        let (metrics, clock) =
            (telemetry::init_metrics()?, Arc::new(SystemClock) as Arc<dyn Clock>);
        let (auth, jwks) = Authenticator::new(&config.auth)?;
        let auth = Arc::new(auth);
        let (listener, address) = listen(config.server.listen).await?;
        let mut stores = Stores::open(&config).await?;
        let graph_cache = stores.cache_graph(&config)?;
        let store = stores.store();

        let (pool, bus) = pool_on_bus(&config.realtime)?;
        let realtime = Realtime::new(&config, Arc::clone(&pool), &stores, &auth, &clock);
        let push = Push::new(&config, &stores, &clock)?;
        let credentials = Arc::clone(&push.credentials);
        let recommendations = Recommendations::new(&config, &stores, &clock).await?;
        let ingest = Ingest::new(&config, &stores, &pool, &push, &recommendations, &clock)?;
        let retention = retention(&stores, &clock, &config);
        let revocations = revocations(&config, &stores, &auth, &pool, &clock).await?;
        let readiness = Arc::new(Readiness::default());
        let (session_tasks, drain) = (TaskTracker::new(), Arc::clone(&realtime.drain));
        let changes = Changes::new(config.server.unattended_max);
        let app = Arc::new(App {
            intake: ingest.intake,
            kafka: ingest.kafka.as_ref().map(KafkaNotificationConsumer::health),
            bus: health_of(bus.as_ref()),
            graph_cache: graph_cache.as_ref().map(GraphCacheWorker::health),
            lanes: credentials.lanes(),
            notifications: Arc::clone(&store) as _,
            devices: Arc::clone(&store) as _,
            devices_per_user_max: config.push.devices_per_user_max,
            deliveries: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&store) as _,
            letter_decoder: letter_decoder(&config.kafka, &clock),
            answers: Arc::clone(&store) as _,
            requests: RequestsUnderWay::default(),
            checkpoints: Arc::clone(&store) as _,
            kafka_group: config.kafka.group.as_str().into(),
            kafka_topics: config.kafka.topics.iter().map(|topic| topic.name.clone()).collect(),
            event_counts: EventCounts::new(),
            follow_notices: FollowNotices::new(&config.follow_events)?,
            graph: stores.graph(),
            feedback: Arc::clone(&store) as _,
            recommender: recommendations.recommender.clone(),
            pool: Arc::clone(&pool),
            sessions: realtime.handler,
            admission: realtime.admission,
            changes: changes.clone(),
            session_tasks: session_tasks.clone(),
            revocations: Arc::clone(&revocations),
            drain: Arc::clone(&drain),
            auth,
            readiness: Arc::clone(&readiness),
            metrics: metrics.clone(),
            clock,
            origins: AllowedOrigins::new(&config.server.allowed_origins)?,
            limits: Limits::of(&config),
        });

        // In the order in which they are stopped.
        let mut supervisor = Supervisor::default();
        // First, while HTTP still answers: who asks for a session is told to come back.
        supervisor.add("shedding", |stop| shed((Arc::clone(&drain), Arc::clone(&pool)), stop));
        let header_timeout = Duration::from_millis(config.server.header_timeout_ms);
        let router = http::router(app).merge(beside);
        supervisor.add("http", |stop| http::serve(listener, router, header_timeout, changes, stop));
        supervisor.add_if("kafka", ingest.kafka, |consumer, stop| consumer.run(stop));
        supervisor.add("fan-outs", |stop| ingest.fan_outs.run(stop));
        supervisor.add("intake", |stop| ingest.pipeline.run(stop));
        supervisor.add("push", |stop| push.run(stop));
        supervisor.add("sessions", |stop| end_sessions(drain, session_tasks, stop));
        if let Some(bus) = bus {
            supervisor.add("bus", |stop| bus.run(pool, store, stop));
        }
        supervisor.add("replays", |stop| realtime.reader.run(stop));
        supervisor.add("acknowledgements", |stop| realtime.acks.run(stop));
        supervisor.add("retention", |stop| retention.run(stop));
        supervisor.add("revocations", |stop| revocations.run(stop));
        recommendations.add_to(&mut supervisor);
        // After everything that writes to the graph: the other nodes do not wait for this one then.
        supervisor.add_if("graph cache", graph_cache, |cache, stop| cache.run(stop));
        supervisor.add("metrics", |stop| telemetry::keep_metrics(metrics, stop));
        supervisor.add_if("key set", jwks, |jwks, stop| jwks.run(stop));
        Ok(Self { address, supervisor, readiness, stores, credentials, config })
    }

    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes over what can be changed while the node runs: the push credentials and their files.
    ///
    /// # Errors
    ///
    /// A credential that cannot be set up; then everything stays as it was.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let changed = self.credentials.read(&config.push)?;
        tracing::info!(changed, "push credentials were read again");
        // Put what was taken over into what runs: if that makes no difference, it was all.
        let mut running = self.config.clone();
        running.push = PushSection {
            devices_per_user_max: running.push.devices_per_user_max,
            lease_ms: running.push.lease_ms,
            retry: running.push.retry,
            ..config.push.clone()
        };
        if running != *config {
            tracing::warn!("other options have changed, too: they need a restart");
        }
        Ok(())
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

async fn listen(on: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(on).await;
    let listener =
        listener.with_context(|| format!("{on} cannot be listened on (server.listen)"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Tells the sessions that are open to go elsewhere, in their turns.
async fn shed((drain, pool): (Arc<Drain>, Arc<ConnectionPool>), stop: CancellationToken) {
    stop.cancelled().await;
    drain.shed(pool.len()).await;
}

/// Ends what sessions are left, and waits for them.
async fn end_sessions(drain: Arc<Drain>, tasks: TaskTracker, stop: CancellationToken) {
    stop.cancelled().await;
    drain.end();
    tasks.close();
    tasks.wait().await;
}

fn retention(stores: &Stores, clock: &Arc<dyn Clock>, config: &Config) -> Retention {
    let impressions_days = config.recommendations.impressions_days;
    let section = config.retention.clone();
    Retention::new(stores.store(), Arc::clone(clock), section, impressions_days)
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
