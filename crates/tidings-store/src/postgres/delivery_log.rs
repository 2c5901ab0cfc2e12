//! `DeliveryLogStore`, the log of all attempts: written by whoever delivers, read by notification, by user, and as a whole.

use std::{
    collections::HashSet,
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, UserId},
    ports::{
        DeliveryFilter, DeliveryLogStore, DeliveryNumber, DeliveryPlace, LogPage, LoggedDelivery,
        MAX_LOG_LOOKS, NotificationLogPage, StoreError, UserLogPage,
    },
};
use tokio_postgres::Row;

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    session::{Command, Param, Session},
    store::PostgresStore,
    text,
};
use crate::log_scan::{self, PROBE_ROWS, StartSearch};

pub(super) const LOG: &str = "INSERT INTO delivery (inbox, seq, channel, target, attempt, at_ms, \
     latency_ms, outcome, reason, provider_id) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], \
     $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[])";

/// Appends to the log.
pub(super) async fn log(session: &Session, deliveries: &[&Delivery]) -> Result<(), Failure> {
    if deliveries.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($delivery:ident => $value:expr) => {
            deliveries.iter().map(|$delivery| $value).collect::<Vec<_>>()
        };
    }
    let inboxes = column!(it => to_sql(it.notification.inbox.0));
    let seqs = column!(it => to_sql(it.notification.seq.0));
    let channels = column!(it => it.channel.as_str());
    let targets = column!(it => text::to_sql(&it.target));
    let attempts = column!(it => i64::from(it.attempt));
    let times = column!(it => it.at.as_millis());
    let latencies = column!(it => to_sql(it.latency_ms));
    let outcomes = column!(it => it.outcome.as_str());
    let reasons = column!(it => it.reason.as_deref().map(text::to_sql));
    let provider_ids = column!(it => it.provider_id.as_deref().map(text::to_sql));
    session
        .execute(
            LOG,
            &[
                &inboxes,
                &seqs,
                &channels,
                &targets,
                &attempts,
                &times,
                &latencies,
                &outcomes,
                &reasons,
                &provider_ids,
            ],
        )
        .await?;
    Ok(())
}

fn read(columns: &mut Columns<'_>) -> Result<Delivery, Failure> {
    Ok(Delivery {
        notification: columns.notification_id()?,
        user: columns.user()?,
        channel: columns.parse("channel", |name| {
            Channel::from_name(name).ok_or_else(|| format!("unknown channel {name}"))
        })?,
        target: columns.text()?,
        attempt: u32::try_from(columns.count()?)
            .map_err(|error| Failure::unreadable("attempt", error))?,
        at: columns.time()?,
        latency_ms: columns.count()?,
        outcome: columns.parse("outcome", |name| {
            Outcome::from_name(name).ok_or_else(|| format!("unknown outcome {name}"))
        })?,
        reason: columns.optional_text()?,
        provider_id: columns.optional_text()?,
    })
}

/// A query that looks at the rows which `looked_at` gives, `$3` at most, in `order`, and gives those that
/// are wanted, with the last of those that were looked at, if there are so many.
fn looking_at(looked_at: &str, order: &str) -> String {
    format!(
        "SELECT w.inbox, w.seq, i.user_id, w.channel, w.target, w.attempt, w.at_ms, w.latency_ms, \
         w.outcome, w.reason, w.provider_id, w.delivery, w.nr, w.wanted, w.earliest_ms \
         FROM (SELECT l.*, row_number() OVER (ORDER BY {order}) AS nr, \
         min(l.at_ms) OVER () AS earliest_ms, \
         ($4::text IS NULL OR l.channel = $4) AND ($5::text IS NULL OR l.outcome = $5) \
         AND l.at_ms >= $6 AND l.at_ms < $7 AND ($8::bigint IS NULL OR l.inbox = $8) AS wanted \
         FROM (SELECT * FROM delivery WHERE {looked_at} ORDER BY {order} LIMIT $3) l) w \
         JOIN inbox i ON i.inbox = w.inbox WHERE w.wanted OR w.nr = $3 ORDER BY w.nr LIMIT $9"
    )
}

static OF_NOTIFICATION: LazyLock<String> =
    LazyLock::new(|| looking_at("inbox = $8 AND seq = $1 AND delivery > $2", "delivery"));

static OF_USER: LazyLock<String> = LazyLock::new(|| {
    looking_at("inbox = $8 AND (seq, delivery) < ($1, $2)", "seq DESC, delivery DESC")
});

static IN_ORDER: LazyLock<String> =
    LazyLock::new(|| looking_at("delivery > $1 AND delivery <= $2", "delivery"));

/// What [`looking_at`] takes.
struct Look<'a> {
    bounds: (i64, i64),
    /// How many rows are looked at.
    looks: usize,
    filter: &'a DeliveryFilter,
    inbox: Option<i64>,
    limit: usize,
}

impl Look<'_> {
    async fn run(&self, session: &Session, sql: &str) -> Result<Looked, Failure> {
        let filter = self.filter;
        let channel = filter.channel.map(Channel::as_str);
        let outcome = filter.outcome.map(Outcome::as_str);
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millis);
        let until = filter.until.map_or(i64::MAX, Timestamp::as_millis);
        let (looks, limit) = (limit_to_sql(self.looks), limit_to_sql(self.limit));
        let params: [Param<'_>; 9] = [
            &self.bounds.0,
            &self.bounds.1,
            &looks,
            &channel,
            &outcome,
            &since,
            &until,
            &self.inbox,
            // One more may come that only says how far was looked.
            &limit.saturating_add(1),
        ];
        Looked::read(&session.query(sql, &params).await?, self)
    }
}

/// What [`looking_at`] gave.
#[derive(Default)]
struct Looked {
    rows: Vec<LoggedDelivery>,
    /// Where to go on, if there may be more.
    next: Option<DeliveryPlace>,
    /// The earliest of the rows that were looked at, if there were as many as there may be.
    earliest: Option<Timestamp>,
}

impl Looked {
    fn read(rows: &[Row], look: &Look<'_>) -> Result<Self, Failure> {
        let mut looked = Self::default();
        for row in rows {
            let mut columns = Columns::of(row);
            let delivery = read(&mut columns)?;
            let number = DeliveryNumber(columns.count()?);
            let place = DeliveryPlace { seq: delivery.notification.seq, number };
            let is_last = columns.get::<i64>()? == limit_to_sql(look.looks);
            let wanted: bool = columns.get()?;
            if wanted {
                looked.rows.push(LoggedDelivery { number, delivery });
            }
            if is_last {
                looked.earliest = Some(columns.time()?);
            }
            if is_last || looked.rows.len() >= look.limit {
                looked.next = Some(place);
                break;
            }
        }
        Ok(looked)
    }
}

/// How many rows a page of one inbox looks at: without a filter all are wanted.
fn looks_for(filter: &DeliveryFilter, limit: usize) -> usize {
    if *filter == DeliveryFilter::default() { limit } else { MAX_LOG_LOOKS }
}

/// A part of the log of one notification, oldest first.
struct OfNotification {
    notification: NotificationId,
    filter: DeliveryFilter,
    after: Option<DeliveryNumber>,
    limit: usize,
}

impl Command for OfNotification {
    type Output = NotificationLogPage;
    const OP: &'static str = "list_deliveries";

    async fn run(&self, session: &Session) -> Result<NotificationLogPage, Failure> {
        let after = self.after.map_or(0, |after| to_sql(after.0));
        let look = Look {
            bounds: (to_sql(self.notification.seq.0), after),
            looks: looks_for(&self.filter, self.limit),
            filter: &self.filter,
            inbox: Some(to_sql(self.notification.inbox.0)),
            limit: self.limit,
        };
        let looked = look.run(session, &OF_NOTIFICATION).await?;
        let next = looked.next.map(|place| place.number);
        Ok(NotificationLogPage { rows: looked.rows, next })
    }
}

async fn find_inbox(session: &Session, user: &UserId) -> Result<Option<i64>, Failure> {
    const FIND: &str = "SELECT inbox FROM user_inbox WHERE user_id = $1";
    let row = session.query_opt(FIND, &[&user.as_str()]).await?;
    row.map(|row| Columns::of(&row).get()).transpose()
}

/// A part of a user's log, newest first.
struct OfUser<'a> {
    pub(super) user: &'a UserId,
    pub(super) filter: DeliveryFilter,
    pub(super) before: Option<DeliveryPlace>,
    pub(super) limit: usize,
}

impl Command for OfUser<'_> {
    type Output = UserLogPage;
    const OP: &'static str = "list_user_deliveries";

    async fn run(&self, session: &Session) -> Result<UserLogPage, Failure> {
        let inbox = find_inbox(session, self.user).await?;
        if inbox.is_none() {
            return Ok(UserLogPage::default());
        }
        let bounds =
            self.before.map_or((i64::MAX, i64::MAX), |it| (to_sql(it.seq.0), to_sql(it.number.0)));
        let looks = looks_for(&self.filter, self.limit);
        let look = Look { bounds, looks, filter: &self.filter, inbox, limit: self.limit };
        let looked = look.run(session, &OF_USER).await?;
        Ok(UserLogPage { rows: looked.rows, next: looked.next })
    }
}

/// A part of the whole log up to a number, in its order.
struct InOrder<'a> {
    user: Option<&'a UserId>,
    filter: DeliveryFilter,
    after: Option<DeliveryNumber>,
    settled: i64,
    limit: usize,
}

impl Command for InOrder<'_> {
    type Output = LogPage;
    const OP: &'static str = "read_log";

    async fn run(&self, session: &Session) -> Result<LogPage, Failure> {
        let after = match (self.after, self.filter.since) {
            (Some(after), _) => to_sql(after.0),
            (None, Some(since)) => start_of(session, since, self.settled).await?,
            (None, None) => 0,
        };
        // The clock of numbers may have been ahead when `after` was given: it never goes back.
        let end = self.settled.max(after);
        let all = LogPage { rows: vec![], upto: DeliveryNumber(from_sql(end)), complete: true };
        let inbox = match self.user {
            None => None,
            Some(user) => match find_inbox(session, user).await? {
                None => return Ok(all),
                inbox => inbox,
            },
        };
        let look = Look {
            bounds: (after, self.settled),
            looks: self.looks(),
            filter: &self.filter,
            inbox,
            limit: self.limit,
        };
        let looked = look.run(session, &IN_ORDER).await?;
        Ok(match looked.next {
            None => LogPage { rows: looked.rows, ..all },
            Some(place) => LogPage {
                rows: looked.rows,
                upto: place.number,
                complete: log_scan::is_beyond(&self.filter, look.looks, looked.earliest),
            },
        })
    }
}

impl InOrder<'_> {
    /// How many rows a page looks at: what is looked at and not given is looked at again.
    fn looks(&self) -> usize {
        let DeliveryFilter { channel, outcome, .. } = self.filter;
        if channel.is_some() || outcome.is_some() || self.user.is_some() {
            return MAX_LOG_LOOKS;
        }
        // Of a time window all is wanted, but for its ends.
        self.limit.clamp(PROBE_ROWS, MAX_LOG_LOOKS)
    }
}

/// After which number the rows of `since` begin.
async fn start_of(session: &Session, since: Timestamp, last: i64) -> Result<i64, Failure> {
    const FIRST: &str = "SELECT delivery FROM delivery ORDER BY delivery LIMIT 1";
    const PROBE: &str = "SELECT max(at_ms) FROM (SELECT at_ms FROM delivery \
         WHERE delivery > $1 ORDER BY delivery LIMIT $2) p";
    let first = session.query_opt(FIRST, &[]).await?;
    let first = first.map_or(Ok(0), |row| Columns::of(&row).count())?;
    let mut search = StartSearch::new(first, from_sql(last));
    while let Some(probe) = search.probe() {
        let row = session.query_one(PROBE, &[&to_sql(probe), &limit_to_sql(PROBE_ROWS)]).await?;
        search.learn(probe, Columns::of(&row).optional_time()?, since);
    }
    Ok(to_sql(search.after()))
}

/// The number that was taken last, by whatever transaction.
struct LastTaken;

impl Command for LastTaken {
    type Output = i64;
    const OP: &'static str = "read_log";

    async fn run(&self, session: &Session) -> Result<i64, Failure> {
        const LAST: &str =
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM delivery_number";
        let row = session.query_one(LAST, &[]).await?;
        Columns::of(&row).get()
    }
}

/// The transactions that may have written to the log and have not ended.
struct Writers;

impl Command for Writers {
    type Output = HashSet<String>;
    const OP: &'static str = "read_log";

    async fn run(&self, session: &Session) -> Result<HashSet<String>, Failure> {
        const WRITERS: &str = "SELECT l.virtualtransaction FROM pg_locks l \
             WHERE l.locktype = 'relation' AND l.relation = 'delivery'::regclass \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND l.mode = 'RowExclusiveLock' AND l.granted";
        let rows = session.query(WRITERS, &[]).await?;
        rows.iter().map(|row| Columns::of(row).get()).collect()
    }
}

/// How often, and how far apart, it is looked whether writers have ended.
const LOOKS_AT_WRITERS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl PostgresStore {
    /// The number up to which no row can appear any more.
    ///
    /// Numbers are taken from a sequence while rows are written, and rows appear when their transaction
    /// commits: 8 may be there before 7. A transaction has the table's lock before it takes a number,
    /// and until it has ended. So when a number was the last one taken, and after that every transaction
    /// with the lock has ended, whatever was to appear up to there has. A writer that hangs is not
    /// waited for long: what it hides is told later.
    async fn settle_numbers(&self) -> Result<i64, StoreError> {
        let taken = self.readers.run(LastTaken).await?;
        let mut writers = self.readers.run(Writers).await?;
        for _ in 0..LOOKS_AT_WRITERS {
            if writers.is_empty() {
                return Ok(self.settled_delivery.fetch_max(taken, Ordering::Relaxed).max(taken));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            // Those that came since have taken later numbers.
            let now = self.readers.run(Writers).await?;
            writers.retain(|writer| now.contains(writer));
        }
        tracing::warn!(
            writers = writers.len(),
            "transactions hold up the reading of the delivery log"
        );
        Ok(self.settled_delivery.load(Ordering::Relaxed))
    }

    /// A part of the whole log, in its order.
    pub(super) async fn log_in_order(
        &self,
        user: Option<&UserId>,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        let page = |settled| self.readers.run(InOrder { user, filter, after, settled, limit });
        let known = self.settled_delivery.load(Ordering::Relaxed);
        // Far from the end nothing has to be asked.
        if after.is_some_and(|after| to_sql(after.0) < known) {
            let page = page(known).await?;
            if !page.complete {
                return Ok(page);
            }
        }
        page(self.settle_numbers().await?).await
    }
}

#[async_trait]
impl DeliveryLogStore for PostgresStore {
    async fn list_deliveries(
        &self,
        notification: NotificationId,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<NotificationLogPage, StoreError> {
        self.readers.run(OfNotification { notification, filter, after, limit }).await
    }

    async fn list_user_deliveries(
        &self,
        user: &UserId,
        filter: DeliveryFilter,
        before: Option<DeliveryPlace>,
        limit: usize,
    ) -> Result<UserLogPage, StoreError> {
        self.readers.run(OfUser { user, filter, before, limit }).await
    }

    async fn read_log(
        &self,
        user: Option<&UserId>,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        self.log_in_order(user, filter, after, limit).await
    }
}
