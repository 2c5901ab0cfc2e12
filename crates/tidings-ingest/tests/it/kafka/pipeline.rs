//! What stands between a consumer and the store: the real planner and the real pipeline.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    batch::BatchLimits,
    clock::{Clock, SystemClock},
    ports::{NotificationStore, SocialGraphStore},
    route::RoutingPolicy,
};
use tidings_ingest::{
    Planner, PlannerConfig,
    pipeline::{Pipeline, PipelineConfig, PipelineHandle},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::doubles::Recorder;

/// When a batch is closed, if a test says nothing else.
pub(super) const LIMITS: BatchLimits =
    BatchLimits { max_rows: 1_000, max_bytes: 4 << 20, max_age: Duration::ZERO };

const CONFIG: PipelineConfig = PipelineConfig {
    batch: LIMITS,
    queue_jobs: 64,
    queue_bytes: 16 << 20,
    queue_wait: Duration::from_secs(1),
    lanes: 2,
};

/// What a consumer is made with.
pub(super) struct Parts {
    pub(super) planner: Planner,
    pub(super) handle: PipelineHandle,
    /// Ends the pipeline once the consumer has.
    pub(super) stop: CancellationToken,
}

/// Starts a pipeline in front of `store`; `graph` also stands for the live sessions.
pub(super) fn start(
    batch: BatchLimits,
    store: Arc<dyn NotificationStore>,
    graph: &Arc<Recorder>,
    tasks: &mut JoinSet<()>,
) -> Parts {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let after_commit = Arc::new(|| {});
    let config = PipelineConfig { batch, ..CONFIG };
    let (pipeline, handle) =
        Pipeline::new(config, store, graph.clone(), after_commit, Arc::clone(&clock));
    let follows: Arc<dyn SocialGraphStore> = graph.clone();
    let planning = PlannerConfig { routing: RoutingPolicy::default(), page: 100 };
    let planner = Planner::new(planning, follows, graph.clone(), clock);
    let stop = CancellationToken::new();
    tasks.spawn(pipeline.run(stop.clone()));
    Parts { planner, handle, stop }
}
