//! Makes a unit durable, however long that takes and whatever one record of it does.

use std::sync::Arc;

use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch},
    dead_letter::Stage,
    error_chain::ErrorChain,
    ids::UserId,
    ports::StoreError,
};

use super::{
    account::Charge,
    chunk::Record,
    deps::{Deps, Ended, Unplanned},
    letter::DeadRecord,
    measure,
    partition::Partition,
    status::StopReason,
    unit::{Built, Planned, Unit, rows_bytes},
};
use crate::outcome::{Accepted, IntakeError};

/// People whose events the store may refuse without taking one in between before the partition is
/// stopped: then it is not the events that are wrong, nor one inbox, but the store, and the dead letters
/// are not to be filled with all that comes.
const MOST_REFUSED_IN_A_ROW: usize = 20;

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
    let Built { unit, batch, dead, rows } = built;
    let mut todo = vec![(unit, Some((batch, dead, rows)))];
    let mut attempt = 0;
    while let Some((mut unit, made)) = todo.pop() {
        // The rows are counted until the store has answered: the batch is somewhere until then.
        let (batch, dead, _rows) = match made {
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

/// The batch of a unit, its dead records, and what its rows take.
type Made = (NotificationBatch, Vec<DeadRecord>, Charge);

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
    let mut built = Built::new(unit.from, limits, &partition.account);
    let kept = deps.config.dead_letter_payload_bytes;
    for (chunk, index) in unit.iter() {
        let planned = match &unit.refused {
            Some(why) => Err((Stage::Store, why.to_string())),
            None => plan_patiently(deps, partition, chunk.record(index)).await?,
        };
        built.rows.add(planned.as_ref().map_or(0, rows_bytes));
        if built.add((chunk, index), planned, partition, kept, deps.clock.now()).is_err() {
            return Ok(None);
        }
    }
    built.unit.to = unit.to;
    built.complete(partition, deps.clock.now());
    Ok(Some((built.batch, built.dead, built.rows)))
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
