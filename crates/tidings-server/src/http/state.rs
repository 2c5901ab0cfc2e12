//! What the routes work with.

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tidings_core::{
    clock::Clock,
    dead_letter::NewDeadLetter,
    event::IncomingEvent,
    ids::UserId,
    ports::{
        AnswerStore, CheckpointStore, DeadLetterStore, DeliveryLogStore, DeviceStore,
        NotificationStore, RecommendationFeedbackStore, SocialGraphStore,
    },
};
use tidings_delivery::{
    dispatcher::PushLanes,
    realtime::{Admission, BusHealthHandle, ConnectionPool, Drain, WebSocketHandler},
};
use tidings_graph::cache::GraphCacheHealthHandle;
use tidings_ingest::{
    Intake,
    kafka::{KafkaHealthHandle, RecordError},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::BodyLimits, changes::Changes, idempotency::RequestsUnderWay, measure::EventCounts,
    origins::AllowedOrigins,
};
use crate::{
    auth::Authenticator, config::Config, follow_notices::FollowNotices,
    recommendations::Recommender, revocations::Revocations,
};

/// Whether the node takes work.
#[derive(Debug, Default)]
pub struct Readiness {
    stopping: CancellationToken,
}

impl Readiness {
    /// From now on the node says that it is going away, so that load balancers look elsewhere.
    pub fn begin_stopping(&self) {
        self.stopping.cancel();
    }

    /// Whether the node is going away.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Ends when the node begins to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

/// Reads a dead letter in the format that its source has.
pub type LetterDecoder =
    Arc<dyn Fn(&NewDeadLetter) -> Result<IncomingEvent, RecordError> + Send + Sync>;

/// What the routes work with.
pub struct App {
    /// Takes events.
    pub intake: Intake,
    /// How the Kafka consumer is doing, if there is one.
    pub kafka: Option<KafkaHealthHandle>,
    /// How the bus between nodes is doing, if there is one.
    pub bus: Option<BusHealthHandle>,
    /// How the cache before the graph is doing, if there is one.
    pub graph_cache: Option<GraphCacheHealthHandle>,
    /// The push services, and how they fare.
    pub lanes: Arc<PushLanes>,
    /// Inboxes.
    pub notifications: Arc<dyn NotificationStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Devices that one user may have.
    pub devices_per_user_max: u64,
    /// The delivery log.
    pub deliveries: Arc<dyn DeliveryLogStore>,
    /// What could not become notifications.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Reads a dead letter as the event that it may be by now.
    pub letter_decoder: LetterDecoder,
    /// Answers that are given again.
    pub answers: Arc<dyn AnswerStore>,
    /// Requests with an idempotency key that are being answered.
    pub requests: RequestsUnderWay,
    /// How far Kafka was read.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// The consumer group.
    pub kafka_group: Arc<str>,
    /// The topics that are configured.
    pub kafka_topics: Vec<String>,
    /// Counts events by what became of them.
    pub event_counts: EventCounts,
    /// Tells users who follows them, if it is to.
    pub follow_notices: Option<FollowNotices>,
    /// Who follows whom.
    pub graph: Arc<dyn SocialGraphStore>,
    /// What users made of recommendations.
    pub feedback: Arc<dyn RecommendationFeedbackStore>,
    /// Recommends whom to follow, if it is to.
    pub recommender: Option<Arc<Recommender>>,
    /// Live sessions of this node.
    pub pool: Arc<ConnectionPool>,
    /// Serves a new live session.
    pub sessions: Arc<WebSocketHandler>,
    /// Lets new live sessions in.
    pub admission: Arc<Admission>,
    /// The requests that change something.
    pub changes: Changes,
    /// Owns the tasks of live sessions.
    pub session_tasks: TaskTracker,
    /// Ends live sessions.
    pub drain: Arc<Drain>,
    /// Signs users out everywhere.
    pub revocations: Arc<Revocations>,
    /// Checks credentials.
    pub auth: Arc<Authenticator>,
    /// Whether the node takes work.
    pub readiness: Arc<Readiness>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which web pages may use the node.
    pub origins: AllowedOrigins,
    /// How much a request may ask for.
    pub limits: Limits,
}

/// How much a request may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How much request bodies may have.
    pub bodies: BodyLimits,
    /// The longest frame of a live session's client.
    pub frame_bytes: usize,
    /// How many a user may come to follow with a token of their own.
    pub following_max: u64,
    /// How long a request may take.
    pub request_timeout: Duration,
}

impl Limits {
    /// As the configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let server = &config.server;
        Self {
            bodies: BodyLimits::new(server.body_limit_bytes, server.bodies_limit_bytes),
            frame_bytes: config.realtime.frame_bytes,
            following_max: config.graph.following_max,
            request_timeout: Duration::from_millis(server.request_timeout_ms),
        }
    }
}

impl App {
    /// To be held while the follows, blocks or mutes of `users` change: what was recommended to them before
    /// is dropped when it goes, also where the outcome is not known or nobody waits for it any more. What
    /// takes effect later than that is seen when a list lapses.
    pub(super) fn changing<'a>(
        &'a self,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> OutdatedLists<'a> {
        let users = Some(users.into_iter().collect());
        OutdatedLists { recommender: self.recommender.as_deref(), users }
    }

    /// The same for a change that concerns what anybody may have been recommended.
    pub(super) fn changing_all(&self) -> OutdatedLists<'_> {
        OutdatedLists { recommender: self.recommender.as_deref(), users: None }
    }
}

/// Drops lists of recommendations when it goes.
#[must_use]
pub(super) struct OutdatedLists<'a> {
    recommender: Option<&'a Recommender>,
    /// Whose; everyone's if not said.
    users: Option<Vec<&'a UserId>>,
}

impl Drop for OutdatedLists<'_> {
    fn drop(&mut self) {
        let Some(recommender) = self.recommender else { return };
        match &self.users {
            Some(users) => users.iter().for_each(|user| recommender.forget_lists(user)),
            None => recommender.forget_all_lists(),
        }
    }
}
