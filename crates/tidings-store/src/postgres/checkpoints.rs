//! `CheckpointStore`, and the positions that move with a batch.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidings_core::{
    checkpoint::{Advance, Checkpoint, Epoch, PartitionId},
    ports::{CheckpointStore, Claim, StoreError},
};
use tokio_postgres::Row;

use super::{
    error::Failure,
    rows::Columns,
    session::{Command, Session},
    store::PostgresStore,
    text,
};

/// In the order of the key, like every transaction that locks some.
pub(super) const LOCK: &str = "SELECT c.epoch, c.next_offset, c.group_name, c.topic, c.part \
     FROM checkpoint c WHERE (c.group_name, c.topic, c.part) IN \
     (SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])) \
     ORDER BY c.group_name, c.topic, c.part FOR NO KEY UPDATE";

pub(super) const MOVE: &str = "UPDATE checkpoint c SET next_offset = m.next_offset \
     FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[]) \
     AS m (group_name, topic, part, next_offset) \
     WHERE c.group_name = m.group_name AND c.topic = m.topic AND c.part = m.part";

/// Positions as columns, for `unnest`.
struct Keys {
    groups: Vec<String>,
    topics: Vec<String>,
    parts: Vec<i32>,
}

impl Keys {
    fn of<'a>(partitions: impl Iterator<Item = &'a PartitionId>) -> Self {
        let mut keys = Self { groups: Vec::new(), topics: Vec::new(), parts: Vec::new() };
        for id in partitions {
            keys.groups.push(text::to_sql(&id.group).into_owned());
            keys.topics.push(text::to_sql(&id.topic).into_owned());
            keys.parts.push(id.partition);
        }
        keys
    }
}

/// Locks the positions that `advances` move, and says where they are.
pub(super) async fn lock(
    session: &Session,
    advances: &[Advance],
) -> Result<BTreeMap<PartitionId, Checkpoint>, Failure> {
    let mut locked = BTreeMap::new();
    if advances.is_empty() {
        return Ok(locked);
    }
    let keys = Keys::of(advances.iter().map(|it| &it.partition));
    for row in &session.query(LOCK, &[&keys.groups, &keys.topics, &keys.parts]).await? {
        let (id, checkpoint) = position(row)?;
        locked.insert(id, checkpoint);
    }
    Ok(locked)
}

/// What the advances of a batch come to.
pub(super) struct Advanced<'a> {
    /// Where positions move to.
    moved: BTreeMap<&'a PartitionId, i64>,
    /// Positions that were there already: an earlier try was committed without our knowing.
    pub(super) repeated: Vec<&'a PartitionId>,
    /// Positions that somebody else has.
    pub(super) fenced: Vec<Claim>,
}

/// Compares `advances` with where the positions are, one after the other.
pub(super) fn compare(
    advances: &[Advance],
    mut now: BTreeMap<PartitionId, Checkpoint>,
) -> Advanced<'_> {
    let mut advanced =
        Advanced { moved: BTreeMap::new(), repeated: Vec::new(), fenced: Vec::new() };
    for advance in advances {
        let known = now.get_mut(&advance.partition).filter(|it| it.epoch == advance.epoch);
        match known {
            // The start first: an advance over no record at all starts where it ends, and is no
            // repetition.
            Some(at) if at.next_offset == advance.from => {
                at.next_offset = Some(advance.to);
                advanced.moved.insert(&advance.partition, advance.to);
            }
            Some(at) if at.next_offset == Some(advance.to) => {
                advanced.repeated.push(&advance.partition);
            }
            _ => advanced.fenced.push(Claim::Partition(advance.partition.clone())),
        }
    }
    advanced
}

/// Moves the positions, which are locked.
pub(super) async fn store(session: &Session, advanced: &Advanced<'_>) -> Result<(), Failure> {
    if advanced.moved.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(advanced.moved.keys().copied());
    let offsets: Vec<_> = advanced.moved.values().copied().collect();
    session.execute(MOVE, &[&keys.groups, &keys.topics, &keys.parts, &offsets]).await?;
    Ok(())
}

fn position(row: &Row) -> Result<(PartitionId, Checkpoint), Failure> {
    let mut columns = Columns::of(row);
    let checkpoint = checkpoint(&mut columns)?;
    let group = columns.text()?.into();
    let topic = columns.text()?.into();
    Ok((PartitionId { group, topic, partition: columns.get()? }, checkpoint))
}

fn checkpoint(columns: &mut Columns<'_>) -> Result<Checkpoint, Failure> {
    Ok(Checkpoint { epoch: Epoch(columns.count()?), next_offset: columns.get()? })
}

struct ClaimPartition<'a>(&'a PartitionId);

impl Command for ClaimPartition<'_> {
    type Output = Checkpoint;
    const OP: &'static str = "claim_partition";

    async fn run(&self, session: &Session) -> Result<Checkpoint, Failure> {
        let Self(id) = self;
        let (group, topic) = (text::to_sql(&id.group), text::to_sql(&id.topic));
        let row = session
            .query_one(
                "INSERT INTO checkpoint AS c (group_name, topic, part, epoch) \
                 VALUES ($1, $2, $3, 1) ON CONFLICT (group_name, topic, part) \
                 DO UPDATE SET epoch = c.epoch + 1 RETURNING epoch, next_offset",
                &[&group, &topic, &id.partition],
            )
            .await?;
        checkpoint(&mut Columns::of(&row))
    }
}

struct SetCheckpoint<'a> {
    partition: &'a PartitionId,
    next_offset: Option<i64>,
}

impl Command for SetCheckpoint<'_> {
    type Output = Checkpoint;
    const OP: &'static str = "set_checkpoint";

    async fn run(&self, session: &Session) -> Result<Checkpoint, Failure> {
        let id = self.partition;
        let (group, topic) = (text::to_sql(&id.group), text::to_sql(&id.topic));
        let row = session
            .query_one(
                "INSERT INTO checkpoint AS c (group_name, topic, part, epoch, next_offset) \
                 VALUES ($1, $2, $3, 1, $4) ON CONFLICT (group_name, topic, part) \
                 DO UPDATE SET epoch = c.epoch + 1, next_offset = excluded.next_offset \
                 RETURNING epoch, next_offset",
                &[&group, &topic, &id.partition, &self.next_offset],
            )
            .await?;
        checkpoint(&mut Columns::of(&row))
    }
}

struct ListCheckpoints<'a>(&'a str);

impl Command for ListCheckpoints<'_> {
    type Output = Vec<(PartitionId, Checkpoint)>;
    const OP: &'static str = "list_checkpoints";

    async fn run(&self, session: &Session) -> Result<Self::Output, Failure> {
        let rows = session
            .query(
                "SELECT epoch, next_offset, group_name, topic, part FROM checkpoint \
                 WHERE group_name = $1 ORDER BY topic, part",
                &[&text::to_sql(self.0)],
            )
            .await?;
        rows.iter().map(position).collect()
    }
}

#[async_trait]
impl CheckpointStore for PostgresStore {
    async fn claim_partition(&self, partition: &PartitionId) -> Result<Checkpoint, StoreError> {
        self.writers.run(ClaimPartition(partition)).await
    }

    async fn set_checkpoint(
        &self,
        partition: &PartitionId,
        next_offset: Option<i64>,
    ) -> Result<Checkpoint, StoreError> {
        self.writers.run(SetCheckpoint { partition, next_offset }).await
    }

    async fn list_checkpoints(
        &self,
        group: &str,
    ) -> Result<Vec<(PartitionId, Checkpoint)>, StoreError> {
        self.readers.run(ListCheckpoints(group)).await
    }
}
