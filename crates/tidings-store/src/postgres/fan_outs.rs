//! `FanOutStore`, and the fan-outs that begin and move on with a batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    batch::PlannedEvent,
    clock::Timestamp,
    fan_out::{FanOut, FanOutBacklog, FanOutId, FanOutStep, FanOutsLeft, NewFanOut},
    ids::GraphId,
    ports::{Claim, Cursor, FanOutStore, StoreError},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    error::Failure,
    events,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    session::{Command, Session},
    store::PostgresStore,
};

pub(super) const BEGIN: &str = "INSERT INTO fan_out (event, graph, followee_id, cursor, began_ms) \
     SELECT *, $5 FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[]) \
     ON CONFLICT (event) DO NOTHING";

/// Begins fan-outs, unless their event has one, be it done.
pub(super) async fn begin(
    session: &Session,
    fan_outs: &BTreeMap<i64, &NewFanOut>,
    now: Timestamp,
) -> Result<(), Failure> {
    if fan_outs.is_empty() {
        return Ok(());
    }
    let events: Vec<_> = fan_outs.keys().copied().collect();
    let graphs: Vec<_> = fan_outs.values().map(|it| Uuid::from_u128(it.graph.0)).collect();
    let followees: Vec<_> = fan_outs.values().map(|it| it.followee.as_str()).collect();
    let cursors: Vec<_> = fan_outs.values().map(|it| it.cursor.as_str()).collect();
    session.execute(BEGIN, &[&events, &graphs, &followees, &cursors, &now.as_millis()]).await?;
    Ok(())
}

/// Which of `events` have a fan-out, be it done.
pub(super) async fn existing(session: &Session, events: &[i64]) -> Result<BTreeSet<i64>, Failure> {
    let rows = session.query("SELECT event FROM fan_out WHERE event = ANY($1)", &[&events]).await?;
    rows.iter().map(|row| Columns::of(row).get()).collect()
}

/// In the order of the key, like every transaction that locks some.
pub(super) const LOCK: &str = "SELECT fan_out, steps, done, cursor FROM fan_out \
     WHERE fan_out = ANY($1::bigint[]) ORDER BY fan_out FOR NO KEY UPDATE";

pub(super) const MOVE: &str = "UPDATE fan_out f SET steps = m.steps, done = m.done, \
     cursor = m.cursor, leased_ms = m.leased_ms \
     FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::text[], $5::bigint[]) \
     AS m (fan_out, steps, done, cursor, leased_ms) WHERE f.fan_out = m.fan_out";

/// Where a fan-out is.
struct At {
    steps: i64,
    done: bool,
    cursor: String,
    /// When the lease ends, if it has moved.
    leased_ms: Option<i64>,
}

/// The fan-outs that a batch moves on.
pub(super) struct Stepped(BTreeMap<i64, At>);

/// Locks the fan-outs that `steps` move on.
pub(super) async fn lock(session: &Session, steps: &[FanOutStep]) -> Result<Stepped, Failure> {
    let mut locked = BTreeMap::new();
    if steps.is_empty() {
        return Ok(Stepped(locked));
    }
    let ids: Vec<_> = steps.iter().map(|it| to_sql(it.id.0)).collect();
    for row in &session.query(LOCK, &[&ids]).await? {
        let mut columns = Columns::of(row);
        let id = columns.get()?;
        let (steps, done, cursor) = (columns.get()?, columns.get()?, columns.get()?);
        locked.insert(id, At { steps, done, cursor, leased_ms: None });
    }
    Ok(Stepped(locked))
}

impl Stepped {
    /// Makes the steps, one after the other; names those that do not hold.
    pub(super) fn make(&mut self, steps: &[FanOutStep]) -> Vec<Claim> {
        let mut fenced = Vec::new();
        for step in steps {
            let holds = self.0.get_mut(&to_sql(step.id.0)).is_some_and(|at| make(at, step));
            if !holds {
                fenced.push(Claim::FanOut(step.id));
            }
        }
        fenced
    }

    /// Whether there are any, and all had moved already: an earlier try was committed without our
    /// knowing.
    pub(super) fn is_repeated(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|at| at.leased_ms.is_none())
    }
}

/// Makes a step, if as many were made as the worker believes. Says whether it holds.
fn make(at: &mut At, step: &FanOutStep) -> bool {
    let before = to_sql(step.steps);
    let next = step.next.as_ref().map(Cursor::as_str);
    if at.steps == before && !at.done {
        at.steps += 1;
        at.done = next.is_none();
        at.cursor = next.unwrap_or(&at.cursor).to_owned();
        at.leased_ms = Some(step.leased_until.as_millis());
        return true;
    }
    // It may have been made by an earlier try that was committed without our knowing.
    let made = at.done == next.is_none() && next.is_none_or(|it| it == at.cursor);
    at.steps == before.saturating_add(1) && made
}

/// Stores where the fan-outs are that have moved, which are locked.
pub(super) async fn store(session: &Session, stepped: &Stepped) -> Result<(), Failure> {
    let mut moved = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, at) in &stepped.0 {
        if let Some(leased_ms) = at.leased_ms {
            moved.0.push(*id);
            moved.1.push(at.steps);
            moved.2.push(at.done);
            moved.3.push(at.cursor.as_str());
            moved.4.push(leased_ms);
        }
    }
    if !moved.0.is_empty() {
        session.execute(MOVE, &[&moved.0, &moved.1, &moved.2, &moved.3, &moved.4]).await?;
    }
    Ok(())
}

struct ClaimFanOuts {
    graph: GraphId,
    now: Timestamp,
    lease: Duration,
    limit: usize,
}

static CLAIM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH free AS (SELECT fan_out, leased_ms, greatest(leased_ms, began_ms) AS waits_since \
         FROM fan_out WHERE NOT done AND leased_ms <= $1 AND coalesce(graph, $4) = $4 \
         ORDER BY waits_since, leased_ms, fan_out LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED), \
         leased AS (UPDATE fan_out f SET leased_ms = $3, graph = $4 \
         FROM free WHERE f.fan_out = free.fan_out RETURNING f.fan_out, f.followee_id, f.cursor, \
         f.steps, f.began_ms, f.event, free.waits_since, free.leased_ms AS was_leased_ms) \
         SELECT f.fan_out, f.followee_id, f.cursor, f.steps, f.began_ms, {} \
         FROM leased f JOIN event e ON e.event = f.event ORDER BY f.waits_since, f.was_leased_ms, f.fan_out",
        events::COLUMNS
    )
});

impl Command for ClaimFanOuts {
    type Output = Vec<FanOut>;
    const OP: &'static str = "claim_fan_outs";

    async fn run(&self, session: &Session) -> Result<Vec<FanOut>, Failure> {
        let until = self.now.after(self.lease).as_millis();
        let limit = limit_to_sql(self.limit);
        let (now, graph) = (self.now.as_millis(), Uuid::from_u128(self.graph.0));
        let rows = session.query(&CLAIM, &[&now, &limit, &until, &graph]).await?;
        let mut fan_outs = Vec::with_capacity(rows.len());
        for row in &rows {
            match read(row) {
                Ok(it) => fan_outs.push(it),
                // One must not hold up the others; it is leased, so it is out of their way.
                Err(failure) => {
                    let fan_out = row.try_get::<_, i64>(0).unwrap_or_default();
                    tracing::error!(fan_out, error = %failure, "a fan-out cannot be read");
                }
            }
        }
        Ok(fan_outs)
    }
}

fn read(row: &Row) -> Result<FanOut, Failure> {
    let mut columns = Columns::of(row);
    Ok(FanOut {
        id: FanOutId(columns.count()?),
        followee: columns.user()?,
        cursor: columns.parse("cursor", |text| Cursor::new(text.to_owned()))?,
        steps: columns.count()?,
        began_at: columns.time()?,
        event: Arc::new(events::read(&mut columns)?),
    })
}

struct Backlog(GraphId);

impl Command for Backlog {
    type Output = FanOutBacklog;
    const OP: &'static str = "fan_out_backlog";

    async fn run(&self, session: &Session) -> Result<FanOutBacklog, Failure> {
        const COUNT: &str = "SELECT coalesce(graph, $1) = $1 AS here, count(*), min(began_ms) \
             FROM fan_out WHERE NOT done GROUP BY here";
        let mut backlog = FanOutBacklog::default();
        for row in &session.query(COUNT, &[&Uuid::from_u128(self.0.0)]).await? {
            let mut columns = Columns::of(row);
            let here = columns.get()?;
            let unfinished = from_sql(columns.get()?);
            let left = FanOutsLeft { unfinished, oldest: columns.optional_time()? };
            *if here { &mut backlog.here } else { &mut backlog.elsewhere } = left;
        }
        Ok(backlog)
    }
}

#[async_trait]
impl FanOutStore for PostgresStore {
    async fn claim_fan_outs(
        &self,
        graph: GraphId,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<FanOut>, StoreError> {
        self.writers.run(ClaimFanOuts { graph, now, lease, limit }).await
    }

    /// Makes the inboxes of those who have none: a third of the work for a page of new users, and a
    /// transaction of its own in any case.
    async fn prepare_page(&self, page: &PlannedEvent) -> Result<(), StoreError> {
        self.inboxes.prepare(&self.writers, &page.recipients).await
    }

    async fn fan_out_backlog(&self, graph: GraphId) -> Result<FanOutBacklog, StoreError> {
        self.readers.run(Backlog(graph)).await
    }
}
