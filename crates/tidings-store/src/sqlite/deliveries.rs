//! `DeliveryStore`: pushes that fall due, and the log of all attempts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{
    Connection,
    types::{Value, ValueRef},
};
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    ports::{DeliveryStore, DuePush, PushJob, PushSettlement, StoreError},
};

use super::{
    devices,
    error::Failure,
    notifications,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// Appends to the log.
pub(super) fn log(conn: &Connection, deliveries: &[Delivery]) -> Result<(), Failure> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO delivery (inbox, seq, channel, target, attempt, at_ms, latency_ms, outcome, \
         reason, provider_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for delivery in deliveries {
        insert.execute((
            to_sql(delivery.notification.inbox.0),
            to_sql(delivery.notification.seq.0),
            delivery.channel.as_str(),
            &delivery.target,
            delivery.attempt,
            delivery.at.as_millis(),
            to_sql(delivery.latency_ms),
            delivery.outcome.as_str(),
            delivery.reason.as_ref(),
            delivery.provider_id.as_ref(),
        ))?;
    }
    Ok(())
}

fn list(
    conn: &Connection,
    notification: NotificationId,
    limit: usize,
) -> Result<Vec<Delivery>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT d.inbox, d.seq, i.user_id, d.channel, d.target, d.attempt, d.at_ms, d.latency_ms, \
         d.outcome, d.reason, d.provider_id \
         FROM inbox i CROSS JOIN delivery d ON d.inbox = i.inbox \
         WHERE i.inbox = ?1 AND d.seq = ?2 ORDER BY d.delivery LIMIT ?3",
    )?;
    let (inbox, seq) = (to_sql(notification.inbox.0), to_sql(notification.seq.0));
    let mut rows = statement.query((inbox, seq, limit_to_sql(limit)))?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        deliveries.push(Delivery {
            notification: columns.notification_id()?,
            user: columns.text("user id", UserId::new)?,
            channel: columns.text("channel", |name| {
                Channel::from_name(name).ok_or_else(|| format!("unknown channel {name}"))
            })?,
            target: columns.get()?,
            attempt: columns.attempt()?,
            at: columns.time()?,
            latency_ms: columns.count()?,
            outcome: columns.text("outcome", |name| {
                Outcome::from_name(name).ok_or_else(|| format!("unknown outcome {name}"))
            })?,
            reason: columns.get()?,
            provider_id: columns.get()?,
        });
    }
    Ok(deliveries)
}

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
    for leased in leased {
        let id = leased.job.notification;
        match load_one(&snapshot, leased) {
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

fn load_one(conn: &Connection, leased: Leased) -> Result<Option<DuePush>, Failure> {
    let Leased { job, attempt } = leased;
    let Some((notification, inbox)) = notifications::find(conn, job.notification)? else {
        return Ok(None);
    };
    let inbox_number = to_sql(job.notification.inbox.0);
    let devices = match &job.device {
        Some(device) => devices::one_of_inbox(conn, inbox_number, device)?,
        None => devices::of_inbox(conn, inbox_number)?,
    };
    let notification = Arc::new(notification);
    Ok(Some(DuePush { job, notification, inbox, devices, attempt }))
}

struct Settle(Vec<PushSettlement>);

impl Command for Settle {
    type Output = ();
    const OP: &'static str = "settle";

    fn rows(&self) -> usize {
        let each = |it: &PushSettlement| 1 + it.deliveries.len() + it.retries.len();
        self.0.iter().map(each).sum()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let conn = tx.conn;
        for settlement in &self.0 {
            log(conn, &settlement.deliveries)?;
            let (inbox, seq, device) = job_to_sql(&settlement.job);
            let open = conn
                .prepare_cached(
                    "DELETE FROM due_push \
                     WHERE inbox = ?1 AND seq = ?2 AND device_id = ?3 AND due_ms = ?4",
                )?
                .execute((inbox, seq, device, settlement.job.leased_until.as_millis()))?;
            // Settled already, or claimed by another when this lease had ended: that one's retries
            // count.
            if open > 0 {
                retry(conn, inbox, seq, settlement)?;
            }
            // A dead token is dead, whoever learned of it.
            devices::prune(tx, inbox, &settlement.prunes)?;
        }
        Ok(())
    }
}

fn retry(
    conn: &Connection,
    inbox: i64,
    seq: i64,
    settlement: &PushSettlement,
) -> Result<(), Failure> {
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

    async fn list_deliveries(
        &self,
        notification: NotificationId,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let query = move |conn: &Connection| list(conn, notification, limit);
        self.readers.read("list_deliveries", query).await
    }
}
