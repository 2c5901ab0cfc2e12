//! What the workers of a consumer share: how they plan, wait, and why they end.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::{Clock, Timestamp},
    dead_letter::Stage,
    error_chain::ErrorChain,
    ports::CheckpointStore,
};
use tokio_util::sync::CancellationToken;

use super::{
    chunk::Record, config::KafkaConfig, letter::DeadLetterTopics, measure, partition::Partition,
    record, status::StopReason,
};
use crate::{outcome::IntakeError, pipeline::PipelineHandle, planner::Planner};

/// What all workers of a consumer share.
pub(super) struct Deps {
    pub(super) config: Arc<KafkaConfig>,
    pub(super) planner: Planner,
    pub(super) pipeline: PipelineHandle,
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) topics: Option<DeadLetterTopics>,
    pub(super) stop: CancellationToken,
}

/// Why a worker ends.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// The partition is no longer assigned to us.
    Gone,
    /// The node is stopping.
    Stopping,
    /// Somebody else has claimed the partition or moved its position.
    Fenced,
    /// A person has to look.
    Stopped(StopReason),
}

/// Why a record was not planned.
pub(super) enum Unplanned {
    /// Nor will it be later.
    Dead(Stage, String),
    /// What is needed is out of reach.
    Later(IntakeError),
    Ended(Ended),
}

impl Deps {
    /// Waits before another try; says so to whoever looks.
    pub(super) async fn wait(
        &self,
        partition: &Partition,
        attempt: u32,
        what: &'static str,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Result<(), Ended> {
        let wait = self.backoff(attempt);
        self.say_waiting(partition, attempt, what, error, wait);
        self.sleep(partition, wait).await
    }

    pub(super) fn say_waiting(
        &self,
        partition: &Partition,
        attempt: u32,
        what: &'static str,
        error: &(dyn std::error::Error + Send + Sync + 'static),
        wait: Duration,
    ) {
        metrics::counter!(measure::RETRIES, "what" => what).increment(1);
        let why = ErrorChain(error).to_string();
        let wait_ms = wait.as_millis();
        // Every partition waits while a store is gone, for minutes maybe: said less and less often.
        if attempt.is_power_of_two() {
            tracing::warn!(
                error = why,
                partition = %partition.id,
                attempt,
                "{what}; trying again in {wait_ms} ms, and for as long as it takes"
            );
        }
        partition.wait(why.into());
    }

    /// Full jitter below the policy's ceiling.
    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        self.config.retry.ceiling(attempt).mul_f64(rand::random::<f64>())
    }

    pub(super) async fn sleep(&self, partition: &Partition, wait: Duration) -> Result<(), Ended> {
        tokio::select! {
            () = partition.gone.cancelled() => Err(Ended::Gone),
            () = self.stop.cancelled() => Err(Ended::Stopping),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Decodes a record and works out who is told.
    pub(super) async fn plan(
        &self,
        partition: &Partition,
        record: Record<'_>,
        now: Timestamp,
    ) -> Result<tidings_core::batch::PlannedEvent, Unplanned> {
        let incoming = record::decode(record, partition.format, now)
            .map_err(|error| Unplanned::Dead(Stage::Decode, error.to_string()))?;
        self.planner.plan(&incoming).await.map_err(|error| match error {
            IntakeError::Stopping => Unplanned::Ended(Ended::Stopping),
            error if error.is_transient() => Unplanned::Later(error),
            error => Unplanned::Dead(Stage::Plan, ErrorChain(&error).to_string()),
        })
    }
}
