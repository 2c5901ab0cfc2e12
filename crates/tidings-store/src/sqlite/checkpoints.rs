//! `CheckpointStore`, and the positions that move with a batch.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use tidings_core::{
    checkpoint::{Advance, Checkpoint, Epoch, PartitionId},
    ports::{CheckpointStore, StoreError},
};

use super::{
    error::Failure,
    rows::Columns,
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// What came of an [`Advance`], or of a fan-out's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advanced {
    /// It was made.
    Now,
    /// It was made already: an earlier try of the batch was committed without our knowing.
    Before,
    /// Somebody else has taken over.
    Fenced,
}

/// Moves a position, if it is still where the consumer believes it to be.
pub(super) fn advance(conn: &Connection, advance: &Advance) -> Result<Advanced, Failure> {
    let id = &advance.partition;
    let found = conn
        .prepare_cached(
            "SELECT epoch, next_offset FROM checkpoint \
             WHERE group_name = ?1 AND topic = ?2 AND part = ?3",
        )?
        .query_row((&*id.group, &*id.topic, id.partition), |row| Ok(checkpoint(row)))
        .optional()?;
    let Some(now) = found.transpose()? else {
        return Ok(Advanced::Fenced);
    };
    if now.epoch != advance.epoch {
        return Ok(Advanced::Fenced);
    }
    // The start first: an advance over no record at all starts where it ends, and is no repetition.
    if now.next_offset == advance.from {
        conn.prepare_cached(
            "UPDATE checkpoint SET next_offset = ?4 \
             WHERE group_name = ?1 AND topic = ?2 AND part = ?3",
        )?
        .execute((&*id.group, &*id.topic, id.partition, advance.to))?;
        return Ok(Advanced::Now);
    }
    let repeated = now.next_offset == Some(advance.to);
    Ok(if repeated { Advanced::Before } else { Advanced::Fenced })
}

fn checkpoint(row: &Row<'_>) -> Result<Checkpoint, Failure> {
    let mut columns = Columns::of(row);
    Ok(Checkpoint { epoch: Epoch(columns.count()?), next_offset: columns.get()? })
}

struct ClaimPartition(PartitionId);

impl Command for ClaimPartition {
    type Output = Checkpoint;
    const OP: &'static str = "claim_partition";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Checkpoint, Failure> {
        let Self(id) = self;
        tx.conn
            .prepare_cached(
                "INSERT INTO checkpoint (group_name, topic, part, epoch) VALUES (?1, ?2, ?3, 1) \
                 ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch, next_offset",
            )?
            .query_row((&*id.group, &*id.topic, id.partition), |row| Ok(checkpoint(row)))?
    }
}

struct SetCheckpoint {
    partition: PartitionId,
    next_offset: Option<i64>,
}

impl Command for SetCheckpoint {
    type Output = Checkpoint;
    const OP: &'static str = "set_checkpoint";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Checkpoint, Failure> {
        let id = &self.partition;
        tx.conn
            .prepare_cached(
                "INSERT INTO checkpoint (group_name, topic, part, epoch, next_offset) \
                 VALUES (?1, ?2, ?3, 1, ?4) ON CONFLICT DO UPDATE \
                 SET epoch = epoch + 1, next_offset = excluded.next_offset \
                 RETURNING epoch, next_offset",
            )?
            .query_row((&*id.group, &*id.topic, id.partition, self.next_offset), |row| {
                Ok(checkpoint(row))
            })?
    }
}

fn list(conn: &Connection, group: &str) -> Result<Vec<(PartitionId, Checkpoint)>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT epoch, next_offset, topic, part FROM checkpoint WHERE group_name = ?1 \
         ORDER BY topic, part",
    )?;
    let mut rows = statement.query([group])?;
    let mut checkpoints = Vec::new();
    while let Some(row) = rows.next()? {
        let topic: String = row.get(2)?;
        let partition = row.get(3)?;
        let id = PartitionId { group: group.into(), topic: topic.into(), partition };
        checkpoints.push((id, checkpoint(row)?));
    }
    Ok(checkpoints)
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn claim_partition(&self, partition: &PartitionId) -> Result<Checkpoint, StoreError> {
        self.writer.run(ClaimPartition(partition.clone())).await
    }

    async fn set_checkpoint(
        &self,
        partition: &PartitionId,
        next_offset: Option<i64>,
    ) -> Result<Checkpoint, StoreError> {
        let partition = partition.clone();
        self.writer.run(SetCheckpoint { partition, next_offset }).await
    }

    async fn list_checkpoints(
        &self,
        group: &str,
    ) -> Result<Vec<(PartitionId, Checkpoint)>, StoreError> {
        let group = group.to_owned();
        let query = move |conn: &Connection| list(conn, &group);
        self.readers.read("list_checkpoints", query).await
    }
}
