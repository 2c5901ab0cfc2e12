//! `DeliveryLogStore`, the log of all attempts: written by whoever delivers, read by notification, by user, and as a whole.

use async_trait::async_trait;
use rusqlite::{Connection, Row, Rows};
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, UserId},
    ports::{
        DeliveryFilter, DeliveryLogStore, DeliveryNumber, DeliveryPlace, LogPage, LoggedDelivery,
        MAX_LOG_LOOKS, NotificationLogPage, StoreError, UserLogPage,
    },
};

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::WriteTx,
};
use crate::log_scan::{self, PROBE_ROWS, StartSearch};

/// The number that was given to a row last. Ours and not SQLite's, which begins anew once all rows are
/// forgotten: whoever goes on after a number would miss what comes then. It lives with the writer, only
/// ever grows, and is written down when rows are forgotten.
#[derive(Debug)]
pub(super) struct LastDelivery(i64);

impl LastDelivery {
    /// Reads it from what is stored.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT max(last_delivery, coalesce((SELECT max(delivery) FROM delivery), 0)) \
                   FROM store_state";
        conn.query_row(sql, [], |row| row.get(0)).map(Self)
    }

    fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

/// Appends to the log.
pub(super) fn log<'a>(
    tx: &mut WriteTx<'_>,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> Result<(), Failure> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO delivery (inbox, seq, channel, target, attempt, at_ms, latency_ms, outcome, \
         reason, provider_id, delivery) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
            tx.last_delivery.next(),
        ))?;
    }
    Ok(())
}

/// Forgets rows by their numbers, and returns how many there were.
pub(super) fn forget(tx: &mut WriteTx<'_>, numbers: &[i64]) -> Result<u64, Failure> {
    let mut remove = tx.conn.prepare_cached("DELETE FROM delivery WHERE delivery = ?1")?;
    let mut removed = 0;
    for number in numbers {
        removed += remove.execute([number])?;
    }
    // The last row may have been among them.
    tx.conn
        .prepare_cached("UPDATE store_state SET last_delivery = ?1")?
        .execute([tx.last_delivery.0])?;
    Ok(from_sql(limit_to_sql(removed)))
}

/// A query for rows of the log, to be completed with `FROM`, conditions and order. `i` is the inbox, `d`
/// the row.
macro_rules! select_deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT d.inbox, d.seq, i.user_id, d.channel, d.target, d.attempt, d.at_ms, \
             d.latency_ms, d.outcome, d.reason, d.provider_id, d.delivery ",
            $rest
        )
    };
}

const OF_NOTIFICATION: &str = select_deliveries!(
    "FROM inbox i CROSS JOIN delivery d ON d.inbox = i.inbox \
     WHERE i.inbox = ?1 AND d.seq = ?2 AND d.delivery > ?3 ORDER BY d.delivery LIMIT ?4"
);
const OF_USER: &str = select_deliveries!(
    "FROM inbox i CROSS JOIN delivery d ON d.inbox = i.inbox \
     WHERE i.user_id = ?1 AND (d.seq, d.delivery) < (?2, ?3) \
     ORDER BY d.seq DESC, d.delivery DESC LIMIT ?4"
);
const IN_ORDER: &str = select_deliveries!(
    "FROM delivery d CROSS JOIN inbox i ON i.inbox = d.inbox \
     WHERE d.delivery > ?1 ORDER BY d.delivery LIMIT ?2"
);

#[async_trait]
impl DeliveryLogStore for SqliteStore {
    async fn list_deliveries(
        &self,
        notification: NotificationId,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<NotificationLogPage, StoreError> {
        let query =
            move |conn: &Connection| of_notification(conn, notification, &filter, after, limit);
        self.readers.read("list_deliveries", query).await
    }

    async fn list_user_deliveries(
        &self,
        user: &UserId,
        filter: DeliveryFilter,
        before: Option<DeliveryPlace>,
        limit: usize,
    ) -> Result<UserLogPage, StoreError> {
        let user = user.clone();
        let query = move |conn: &Connection| of_user(conn, &user, &filter, before, limit);
        self.readers.read("list_user_deliveries", query).await
    }

    async fn read_log(
        &self,
        user: Option<&UserId>,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        let user = user.cloned();
        let query = move |conn: &Connection| in_order(conn, user.as_ref(), &filter, after, limit);
        self.readers.read("read_log", query).await
    }
}

#[cfg(test)]
pub(super) const QUERIES: [&str; 3] = [OF_NOTIFICATION, OF_USER, IN_ORDER];

fn read(row: &Row<'_>) -> Result<LoggedDelivery, Failure> {
    let mut columns = Columns::of(row);
    let delivery = Delivery {
        notification: columns.notification_id()?,
        user: columns.user()?,
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
    };
    Ok(LoggedDelivery { number: DeliveryNumber(columns.count()?), delivery })
}

/// What a page takes of the rows that a query gives, at most [`MAX_LOG_LOOKS`]: those that `filter`
/// takes, up to `limit`; and the row that was looked at last, unless that is the end.
fn page_of(
    mut rows: Rows<'_>,
    filter: &DeliveryFilter,
    limit: usize,
) -> Result<(Vec<LoggedDelivery>, Option<DeliveryPlace>), Failure> {
    let (mut wanted, mut looks) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let row = read(row)?;
        looks += 1;
        let place = DeliveryPlace { seq: row.delivery.notification.seq, number: row.number };
        if filter.takes(&row.delivery) {
            wanted.push(row);
        }
        if wanted.len() >= limit || looks == MAX_LOG_LOOKS {
            return Ok((wanted, Some(place)));
        }
    }
    Ok((wanted, None))
}

/// A part of the log of one notification, oldest first.
pub(super) fn of_notification(
    conn: &Connection,
    notification: NotificationId,
    filter: &DeliveryFilter,
    after: Option<DeliveryNumber>,
    limit: usize,
) -> Result<NotificationLogPage, Failure> {
    let mut statement = conn.prepare_cached(OF_NOTIFICATION)?;
    let (inbox, seq) = (to_sql(notification.inbox.0), to_sql(notification.seq.0));
    let after = after.map_or(0, |after| to_sql(after.0));
    let rows = statement.query((inbox, seq, after, limit_to_sql(MAX_LOG_LOOKS)))?;
    let (rows, last) = page_of(rows, filter, limit)?;
    Ok(NotificationLogPage { rows, next: last.map(|place| place.number) })
}

/// A part of a user's log, newest first.
pub(super) fn of_user(
    conn: &Connection,
    user: &UserId,
    filter: &DeliveryFilter,
    before: Option<DeliveryPlace>,
    limit: usize,
) -> Result<UserLogPage, Failure> {
    let (seq, number) =
        before.map_or((i64::MAX, i64::MAX), |it| (to_sql(it.seq.0), to_sql(it.number.0)));
    let mut statement = conn.prepare_cached(OF_USER)?;
    let rows = statement.query((user.as_str(), seq, number, limit_to_sql(MAX_LOG_LOOKS)))?;
    let (rows, next) = page_of(rows, filter, limit)?;
    Ok(UserLogPage { rows, next })
}

/// A part of the whole log, in its order.
pub(super) fn in_order(
    conn: &Connection,
    user: Option<&UserId>,
    filter: &DeliveryFilter,
    after: Option<DeliveryNumber>,
    limit: usize,
) -> Result<LogPage, Failure> {
    // One snapshot for the search and the page. Rows become visible in the order of their numbers:
    // there is one writer.
    let snapshot = conn.unchecked_transaction()?;
    let after = match (after, filter.since) {
        (Some(after), _) => to_sql(after.0),
        (None, Some(since)) => start_of(&snapshot, since)?,
        (None, None) => 0,
    };
    let mut page = LogPage { upto: DeliveryNumber(from_sql(after)), ..LogPage::default() };
    let mut statement = snapshot.prepare_cached(IN_ORDER)?;
    let mut rows = statement.query((after, limit_to_sql(MAX_LOG_LOOKS)))?;
    let (mut looks, mut earliest) = (0, None);
    while let Some(row) = rows.next()? {
        let row = read(row)?;
        looks += 1;
        page.upto = row.number;
        earliest = earliest.min(Some(row.delivery.at)).or(Some(row.delivery.at));
        if filter.takes(&row.delivery) && user.is_none_or(|user| row.delivery.user == *user) {
            page.rows.push(row);
        }
        if page.rows.len() >= limit {
            return Ok(page);
        }
    }
    page.complete = looks < MAX_LOG_LOOKS || log_scan::is_beyond(filter, looks, earliest);
    Ok(page)
}

/// After which number the rows of `since` begin.
fn start_of(conn: &Connection, since: Timestamp) -> Result<i64, Failure> {
    let end = |sql| -> Result<u64, Failure> {
        let number: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(number.map_or(0, from_sql))
    };
    let first = end("SELECT min(delivery) FROM delivery")?;
    let mut search = StartSearch::new(first, end("SELECT max(delivery) FROM delivery")?);
    while let Some(probe) = search.probe() {
        let latest: Option<i64> = conn
            .prepare_cached(
                "SELECT max(at_ms) FROM (SELECT at_ms FROM delivery WHERE delivery > ?1 \
                 ORDER BY delivery LIMIT ?2)",
            )?
            .query_row((to_sql(probe), limit_to_sql(PROBE_ROWS)), |row| row.get(0))?;
        search.learn(probe, latest.map(Timestamp::from_millis), since);
    }
    Ok(to_sql(search.after()))
}
