//! Makes a unit durable, however long that takes and whatever one record of it does.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch},
    clock::{Clock, Timestamp},
    dead_letter::Stage,
    error_chain::ErrorChain,
    ids::UserId,
    ports::{CheckpointStore, StoreError},
};
use tokio_util::sync::CancellationToken;

use super::{
    chunk::Record,
    config::KafkaConfig,
    letter::DeadLetterTopics,
    measure,
    partition::Partition,
    record,
    status::StopReason,
    unit::{Built, Planned, Unit},
};
use crate::{
    outcome::{Accepted, IntakeError},
    pipeline::PipelineHandle,
    planner::Planner,
};

/// People whose events the store may refuse without taking one in between before the partition is
/// stopped: then it is not the events that are wrong, nor one inbox, but the store, and the dead letters
/// are not to be filled with all that comes.
const MOST_REFUSED_IN_A_ROW: usize = 20;

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

/// Stores a unit and returns the position after it.
///
/// A store that is out of reach is tried again and again. A batch that the store refuses, or that needs
/// what it cannot read (an inbox, an event: others may be sound), is stored in halves until the record
/// that it does not take is alone, and that becomes a dead letter.
pub(super) async fn store(
    deps: Arc<Deps>,
    partition: Arc<Partition>,
    built: Built,
) -> Result<i64, Ended> {
    let end = built.unit.to;
    let mut todo = vec![(built.unit, Some((built.batch, built.dead)))];
    let mut attempt = 0;
    while let Some((mut unit, made)) = todo.pop() {
        let (batch, dead) = match made {
            Some(made) => made,
            None => match rebuild(&deps, &partition, &unit).await? {
                Some(made) => made,
                None => {
                    let (first, second) = unit.split();
                    todo.extend([(second, None), (first, None)]);
                    continue;
                }
            },
        };
        if let (false, Some(topics)) = (unit.announced || dead.is_empty(), &deps.topics) {
            topics.produce(&partition.id, &dead).await;
        }
        unit.announced = true;
        let whose = first_recipient(&batch);
        let error = match submit(&deps, batch).await {
            Ok(accepted) => {
                attempt = 0;
                note_stored(&partition, &unit, &accepted);
                dead.iter().for_each(|it| measure::count_dead(it.stage));
                continue;
            }
            Err(error) => error,
        };
        match error {
            IntakeError::Fenced { .. } => return Err(Ended::Fenced),
            IntakeError::Stopping => return Err(Ended::Stopping),
            IntakeError::Store(ref refused) if is_refusal(refused) => {
                let why = ErrorChain(&**refused).to_string();
                if let Some(user) = whose.filter(|_| unit.records() == 1) {
                    let users = partition.note_refused(user);
                    if users >= MOST_REFUSED_IN_A_ROW {
                        let reason = StopReason::AllRefused { users, why: why.into() };
                        return Err(Ended::Stopped(reason));
                    }
                }
                divide(unit, &why, dead.len(), &mut todo)?;
            }
            error => {
                attempt += 1;
                deps.wait(&partition, attempt, "the batch was not stored", &error).await?;
                todo.push((unit, None));
            }
        }
    }
    Ok(end)
}

type Made = (NotificationBatch, Vec<super::letter::DeadRecord>);

/// Puts what a refused unit is divided into on the stack, the first part on top.
fn divide(
    mut unit: Unit,
    why: &str,
    dead: usize,
    todo: &mut Vec<(Unit, Option<Made>)>,
) -> Result<(), Ended> {
    if unit.records() > 1 {
        let (first, second) = unit.split();
        todo.extend([(second, None), (first, None)]);
        return Ok(());
    }
    if dead > 0 || unit.records() == 0 {
        // Nothing smaller is left to give it. To pass over the record would be to lose it.
        let reason = StopReason::Refused { offset: unit.to - 1, why: why.into() };
        return Err(Ended::Stopped(reason));
    }
    unit.refused = Some(why.into());
    unit.announced = false;
    todo.push((unit, None));
    Ok(())
}

/// Decodes and plans the records of a unit anew. `None` if they have become more than a store takes at
/// once, because an audience has grown since; never for a single record.
async fn rebuild(deps: &Deps, partition: &Partition, unit: &Unit) -> Result<Option<Made>, Ended> {
    let limits = deps.pipeline.limits();
    let limits = BatchLimits { max_rows: MAX_BATCH_ROWS, max_bytes: usize::MAX, ..limits };
    let mut built = Built::new(unit.from, limits);
    let kept = deps.config.dead_letter_payload_bytes;
    for (chunk, index) in unit.iter() {
        let planned = match &unit.refused {
            Some(why) => Err((Stage::Store, why.to_string())),
            None => plan_patiently(deps, partition, chunk.record(index)).await?,
        };
        if built.add((chunk, index), planned, partition, kept, deps.clock.now()).is_err() {
            return Ok(None);
        }
    }
    built.unit.to = unit.to;
    built.complete(partition, deps.clock.now());
    Ok(Some((built.batch, built.dead)))
}

async fn plan_patiently(
    deps: &Deps,
    partition: &Partition,
    record: Record<'_>,
) -> Result<Planned, Ended> {
    let mut attempt = 0;
    loop {
        match deps.plan(partition, record, deps.clock.now()).await {
            Ok(planned) => return Ok(Ok(planned)),
            Err(Unplanned::Dead(stage, reason)) => return Ok(Err((stage, reason))),
            Err(Unplanned::Ended(ended)) => return Err(ended),
            Err(Unplanned::Later(error)) => {
                attempt += 1;
                deps.wait(partition, attempt, "an event was not planned", &error).await?;
            }
        }
    }
}

async fn submit(deps: &Deps, batch: NotificationBatch) -> Result<Vec<Accepted>, IntakeError> {
    let answer = deps.pipeline.submit_patiently(batch).await?;
    answer.await.unwrap_or(Err(IntakeError::Stopping))
}

fn first_recipient(batch: &NotificationBatch) -> Option<UserId> {
    let mut recipients = batch.events().iter().flat_map(|planned| &planned.recipients);
    recipients.next().map(|recipient| recipient.user.clone())
}

/// Whether the store will never take the batch as it is.
fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Refused { .. } | StoreError::Corrupt { .. } | StoreError::BatchTooLarge { .. }
    )
}

fn note_stored(partition: &Partition, unit: &Unit, accepted: &[Accepted]) {
    partition.set_position(unit.to);
    if !accepted.is_empty() {
        partition.note_taken();
    }
    if partition.read_on() {
        tracing::info!(partition = %partition.id, "what had to wait is stored: reading on");
    }
    tracing::trace!(
        partition = %partition.id,
        records = unit.records(),
        stored = accepted.iter().map(|it| it.stored).sum::<usize>(),
        "stored up to {}", unit.to
    );
}
