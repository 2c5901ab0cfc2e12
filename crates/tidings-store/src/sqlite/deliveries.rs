//! `DeliveryStore`: pushes that fall due. The log is in `delivery_log`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{
    Connection,
    types::{Value, ValueRef},
};
use tidings_core::{
    clock::Timestamp,
    device::Device,
    ids::{DeviceId, InboxNumber, NotificationId, Seq},
    ports::{DeliveryStore, DuePush, PushJob, PushSettlement, StoreError},
};

use super::{
    delivery_log, devices,
    error::Failure,
    notifications,
    rows::{from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// A push whose lease has just begun.
struct Leased {
    job: PushJob,
    attempt: u32,
}

struct ClaimDue {
    now: Timestamp,
    lease: Duration,
    limit: usize,
}

impl Command for ClaimDue {
    type Output = Vec<Leased>;
    const OP: &'static str = "claim_due";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Vec<Leased>, Failure> {
        let mut leased = Vec::new();
        {
            // The rest of the order is the index's own, so that nothing is sorted.
            let mut due = tx.conn.prepare_cached(
                "SELECT inbox, seq, device_id, attempt FROM due_push WHERE due_ms <= ?1 \
                 ORDER BY due_ms, inbox, seq, device_id LIMIT ?2",
            )?;
            let mut rows = due.query((self.now.as_millis(), limit_to_sql(self.limit)))?;
            while let Some(row) = rows.next()? {
                leased.push(<(i64, i64, Value, i64)>::try_from(row)?);
            }
        }
        let until = self.now.after(self.lease);
        let mut lease = tx.conn.prepare_cached(
            "UPDATE due_push SET due_ms = ?4 WHERE inbox = ?1 AND seq = ?2 AND device_id = ?3",
        )?;
        let mut jobs = Vec::with_capacity(leased.len());
        for (inbox, seq, device, attempt) in &leased {
            // Also if it cannot be read, so that it is out of the way of the others.
            lease.execute((inbox, seq, device, until.as_millis()))?;
            match job_from_sql(*inbox, *seq, device, *attempt, until) {
                Ok(job) => jobs.push(job),
                Err(error) => tracing::error!(inbox, seq, %error, "a due push cannot be read"),
            }
        }
        Ok(jobs)
    }
}

fn job_from_sql(
    inbox: i64,
    seq: i64,
    device: &Value,
    attempt: i64,
    leased_until: Timestamp,
) -> Result<Leased, Failure> {
    let device = match ValueRef::from(device).as_str() {
        Ok("") => None,
        Ok(id) => Some(DeviceId::new(id).map_err(|it| Failure::unreadable("device id", it))?),
        Err(error) => return Err(Failure::unreadable("device id", error)),
    };
    let inbox = InboxNumber(from_sql(inbox));
    let notification = NotificationId { inbox, seq: Seq(from_sql(seq)) };
    let attempt = u32::try_from(attempt).map_err(|it| Failure::unreadable("attempt", it))?;
    Ok(Leased { job: PushJob { notification, device, leased_until }, attempt })
}

fn job_to_sql(job: &PushJob) -> (i64, i64, &str) {
    (
        to_sql(job.notification.inbox.0),
        to_sql(job.notification.seq.0),
        job.device.as_ref().map_or("", DeviceId::as_str),
    )
}

/// Reads what routing needs of the pushes that were leased.
fn load_due(conn: &Connection, leased: Vec<Leased>) -> Result<Vec<DuePush>, Failure> {
    // One snapshot for all. Read after the lease was committed, so it is at least as new.
    let snapshot = conn.unchecked_transaction()?;
    let mut due = Vec::with_capacity(leased.len());
    let mut known = KnownDevices::default();
    for leased in leased {
        let id = leased.job.notification;
        match load_one(&snapshot, leased, &mut known) {
            Ok(Some(push)) => due.push(push),
            // Forgotten since it was leased, and the push with it.
            Ok(None) => tracing::debug!(notification.id = %id, "a push has no notification"),
            // One must not hold up the others. It comes again when its lease ends.
            Err(failure) if failure.is_of_a_row() => {
                tracing::error!(notification.id = %id, error = %failure, "a due push cannot be read");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(due)
}

/// The devices of inboxes that were read already: a user may have many, and many pushes due.
type KnownDevices = HashMap<InboxNumber, Arc<[Device]>>;

fn load_one(
    conn: &Connection,
    leased: Leased,
    known: &mut KnownDevices,
) -> Result<Option<DuePush>, Failure> {
    let Leased { job, attempt } = leased;
    let Some((notification, inbox)) = notifications::find(conn, job.notification)? else {
        return Ok(None);
    };
    let inbox_number = to_sql(job.notification.inbox.0);
    let devices = match (&job.device, known.get(&job.notification.inbox)) {
        (Some(device), _) => devices::one_of_inbox(conn, inbox_number, device)?.into(),
        (None, Some(devices)) => Arc::clone(devices),
        (None, None) => {
            let devices: Arc<[Device]> = devices::of_inbox(conn, inbox_number)?.into();
            known.insert(job.notification.inbox, Arc::clone(&devices));
            devices
        }
    };
    let notification = Arc::new(notification);
    Ok(Some(DuePush { job, notification, inbox, devices, attempt }))
}

struct Settle(Vec<PushSettlement>);

impl Command for Settle {
    type Output = ();
    const OP: &'static str = "settle";

    fn rows(&self) -> usize {
        let each =
            |it: &PushSettlement| 1 + it.deliveries.len() + it.retries.len() + it.renewals.len();
        self.0.iter().map(each).sum()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        for settlement in &self.0 {
            delivery_log::log(tx, &settlement.deliveries)?;
            end(tx.conn, settlement)?;
            // A dead token is dead, whoever learned of it.
            let inbox = to_sql(settlement.job.notification.inbox.0);
            devices::prune(tx, inbox, &settlement.prunes)?;
        }
        Ok(())
    }
}

/// Ends a push but for its retries. If it was settled already, or claimed by another when this lease had
/// ended, nothing happens: that one's retries count.
fn end(conn: &Connection, settlement: &PushSettlement) -> Result<(), Failure> {
    let (inbox, seq, device) = job_to_sql(&settlement.job);
    let leased_ms = settlement.job.leased_until.as_millis();
    if let Some(retry) = settlement.moved() {
        conn.prepare_cached(
            "UPDATE due_push SET due_ms = ?5, attempt = ?6 \
             WHERE inbox = ?1 AND seq = ?2 AND device_id = ?3 AND due_ms = ?4",
        )?
        .execute((inbox, seq, device, leased_ms, retry.at.as_millis(), retry.attempt))?;
        return Ok(());
    }
    let open = conn
        .prepare_cached(
            "DELETE FROM due_push \
             WHERE inbox = ?1 AND seq = ?2 AND device_id = ?3 AND due_ms = ?4",
        )?
        .execute((inbox, seq, device, leased_ms))?;
    if open > 0 {
        retry(conn, inbox, seq, settlement)?;
    }
    Ok(())
}

fn retry(
    conn: &Connection,
    inbox: i64,
    seq: i64,
    settlement: &PushSettlement,
) -> Result<(), Failure> {
    for it in &settlement.renewals {
        // The `WHERE` keeps the parser from taking `ON` as a join's.
        conn.prepare_cached(
            "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
             SELECT ?1, ?2, ?3, ?4, ?5 FROM device \
             WHERE inbox = ?1 AND device_id = ?3 AND token <> ?6 \
             ON CONFLICT (inbox, seq, device_id) \
             DO UPDATE SET due_ms = excluded.due_ms, attempt = excluded.attempt",
        )?
        .execute((
            inbox,
            seq,
            it.retry.device.as_str(),
            it.retry.at.as_millis(),
            it.retry.attempt,
            it.dead.expose(),
        ))?;
    }
    for retry in &settlement.retries {
        conn.prepare_cached(
            "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (inbox, seq, device_id) \
             DO UPDATE SET due_ms = excluded.due_ms, attempt = excluded.attempt",
        )?
        .execute((
            inbox,
            seq,
            retry.device.as_str(),
            retry.at.as_millis(),
            retry.attempt,
        ))?;
    }
    Ok(())
}

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn claim_due(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DuePush>, StoreError> {
        let command = ClaimDue { now, lease, limit };
        let leased = self.writer.run(command).await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        // Not in the writer: appends would wait for these reads.
        let query = move |conn: &Connection| load_due(conn, leased);
        self.readers.read("claim_due", query).await
    }

    async fn settle(&self, settlements: Vec<PushSettlement>) -> Result<(), StoreError> {
        self.writer.run(Settle(settlements)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = |conn: &Connection| {
            let next: Option<i64> = conn
                .prepare_cached("SELECT min(due_ms) FROM due_push")?
                .query_row([], |row| row.get(0))?;
            Ok(next.map(Timestamp::from_millis))
        };
        self.readers.read("next_due", query).await
    }
}
