//! `DeliveryStore`: pushes that fall due. The log is in `delivery_log`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    device::Device,
    ids::{DeviceId, NotificationId},
    inbox::InboxState,
    notification::Notification,
    ports::{DeliveryStore, DuePush, DueRetry, PushJob, PushSettlement, StoreError},
};
use tokio::try_join;
use tokio_postgres::Row;

use super::{
    delivery_log::{LOG, log},
    devices,
    error::Failure,
    rows::{self, Columns, limit_to_sql, select_notifications, to_sql},
    session::{Command, Param, Session},
    store::PostgresStore,
};

/// A push whose lease has just begun.
struct Leased {
    job: PushJob,
    attempt: u32,
    /// When it had fallen due.
    due_ms: i64,
}

struct ClaimDue {
    now: Timestamp,
    lease: Duration,
    limit: usize,
}

impl Command for ClaimDue {
    type Output = Vec<Leased>;
    const OP: &'static str = "claim_due";

    async fn run(&self, session: &Session) -> Result<Vec<Leased>, Failure> {
        // Each of many workers passes over what another is about to lease.
        const CLAIM: &str = "WITH due AS (SELECT inbox, seq, device_id, due_ms FROM due_push \
             WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) \
             UPDATE due_push p SET due_ms = $3 FROM due WHERE p.inbox = due.inbox \
             AND p.seq = due.seq AND p.device_id = due.device_id \
             RETURNING p.inbox, p.seq, p.device_id, p.attempt, due.due_ms";
        let until = self.now.after(self.lease);
        let limit = limit_to_sql(self.limit);
        let rows =
            session.query(CLAIM, &[&self.now.as_millis(), &limit, &until.as_millis()]).await?;
        let mut leased = Vec::with_capacity(rows.len());
        for row in &rows {
            match read_leased(row, until) {
                Ok(it) => leased.push(it),
                // It is leased, so it is out of the way of the others.
                Err(error) => tracing::error!(%error, "a due push cannot be read"),
            }
        }
        leased.sort_by(|a, b| {
            let key = |it: &Leased| (it.due_ms, it.job.notification, it.job.device.clone());
            key(a).cmp(&key(b))
        });
        Ok(leased)
    }
}

fn read_leased(row: &Row, leased_until: Timestamp) -> Result<Leased, Failure> {
    let mut columns = Columns::of(row);
    let notification = columns.notification_id()?;
    let device = columns.parse("device id", |id| match id {
        "" => Ok(None),
        id => DeviceId::new(id).map(Some),
    })?;
    let attempt: i32 = columns.get()?;
    let attempt = u32::try_from(attempt).map_err(|it| Failure::unreadable("attempt", it))?;
    let job = PushJob { notification, device, leased_until };
    Ok(Leased { job, attempt, due_ms: columns.get()? })
}

static FIND_DUE: LazyLock<String> = LazyLock::new(|| {
    select_notifications(
        "FROM unnest($1::bigint[], $2::bigint[]) AS w (inbox, seq) \
         JOIN inbox i ON i.inbox = w.inbox \
         JOIN notification n ON n.inbox = w.inbox AND n.seq = w.seq \
         JOIN event e ON e.event = n.event",
    )
});

/// Reads what routing needs of the pushes that were leased.
struct LoadDue {
    leased: Vec<(PushJob, u32)>,
}

impl Command for LoadDue {
    type Output = Vec<DuePush>;
    const OP: &'static str = "claim_due";

    async fn run(&self, session: &Session) -> Result<Vec<DuePush>, Failure> {
        let ids: HashSet<_> = self.leased.iter().map(|(job, _)| job.notification).collect();
        let inboxes: Vec<_> = ids.iter().map(|id| to_sql(id.inbox.0)).collect();
        let seqs: Vec<_> = ids.iter().map(|id| to_sql(id.seq.0)).collect();
        // Of a user with ten thousand devices only those that are to be tried again are read.
        let wanted: HashSet<_> = self.leased.iter().map(|(job, _)| devices_of(job)).collect();
        let (mut owners, mut one_each) = (Vec::new(), (Vec::new(), Vec::new()));
        for (inbox, device) in wanted {
            match device {
                ALL_DEVICES => owners.push(inbox),
                device => {
                    one_each.0.push(inbox);
                    one_each.1.push(device);
                }
            }
        }
        session.ready(&[&FIND_DUE, devices::OF_INBOXES, devices::BY_ID]).await?;
        // Read after the lease was committed, so it is at least as new.
        let (found, all, one_each) = try_join!(
            biased;
            async { session.query(&FIND_DUE, &[&inboxes, &seqs]).await },
            async { session.query(devices::OF_INBOXES, &[&owners]).await },
            async { session.query(devices::BY_ID, &[&one_each.0, &one_each.1]).await },
        )?;
        let notifications = read_notifications(&found)?;
        let mut devices = FoundDevices::default();
        devices.read(&all, |_| Ok(ALL_DEVICES))?;
        devices.read(&one_each, |row| row.try_get(1))?;
        let devices = SharedDevices::from(devices);
        let mut due = Vec::with_capacity(self.leased.len());
        for (job, attempt) in &self.leased {
            let id = job.notification;
            let (Some((notification, inbox)), Some(devices)) =
                (notifications.get(&id), devices.of(job))
            else {
                // Forgotten since it was leased, and the push with it; or it cannot be read, which is
                // said by now, and it comes again when its lease ends.
                tracing::debug!(notification.id = %id, "a push has no notification");
                continue;
            };
            due.push(DuePush {
                job: job.clone(),
                notification: Arc::clone(notification),
                inbox: *inbox,
                devices,
                attempt: *attempt,
            });
        }
        Ok(due)
    }
}

type Found = HashMap<NotificationId, (Arc<Notification>, InboxState)>;

/// One that cannot be read must not hold up the others.
fn read_notifications(found: &[Row]) -> Result<Found, Failure> {
    let mut notifications = HashMap::with_capacity(found.len());
    for row in found {
        match rows::notification(row) {
            Ok((it, inbox)) => {
                notifications.insert(it.id, (Arc::new(it), inbox));
            }
            Err(failure) => {
                let id = Columns::of(row).notification_id()?;
                tracing::error!(notification.id = %id, error = %failure, "a due push cannot be read");
            }
        }
    }
    Ok(notifications)
}

/// Stands for all devices of an inbox, as in `due_push` before routing has chosen.
const ALL_DEVICES: &str = "";

/// The devices that a push may go to: those of an inbox, or one of them.
fn devices_of(job: &PushJob) -> (i64, &str) {
    let (inbox, _, device) = job_key(job);
    (inbox, device)
}

/// Devices by [`devices_of`]; `None` where one cannot be read.
#[derive(Default)]
struct FoundDevices(HashMap<(i64, String), Option<Vec<Device>>>);

impl FoundDevices {
    fn read<'a>(
        &mut self,
        found: &'a [Row],
        which: impl Fn(&'a Row) -> Result<&'a str, tokio_postgres::Error>,
    ) -> Result<(), Failure> {
        let unreadable = |error| Failure::unreadable("device", error);
        for row in found {
            let inbox: i64 = row.try_get(devices::INBOX).map_err(unreadable)?;
            let which = which(row).map_err(unreadable)?;
            let of_job =
                self.0.entry((inbox, which.to_owned())).or_insert_with(|| Some(Vec::new()));
            match devices::read(row) {
                Ok(device) => of_job.iter_mut().for_each(|it| it.push(device.clone())),
                Err(failure) => {
                    tracing::error!(inbox, error = %failure, "a device cannot be read");
                    *of_job = None;
                }
            }
        }
        Ok(())
    }
}

/// [`FoundDevices`] that pushes share: a user may have many, and many pushes due.
struct SharedDevices(HashMap<(i64, String), Option<Arc<[Device]>>>);

impl From<FoundDevices> for SharedDevices {
    fn from(found: FoundDevices) -> Self {
        Self(found.0.into_iter().map(|(key, devices)| (key, devices.map(Arc::from))).collect())
    }
}

impl SharedDevices {
    fn of(&self, job: &PushJob) -> Option<Arc<[Device]>> {
        let (inbox, device) = devices_of(job);
        self.0.get(&(inbox, device.to_owned())).map_or_else(|| Some(Arc::default()), Clone::clone)
    }
}

/// A push by inbox, `seq` and device.
type JobKey<'a> = (i64, i64, &'a str);

fn job_key(job: &PushJob) -> JobKey<'_> {
    (
        to_sql(job.notification.inbox.0),
        to_sql(job.notification.seq.0),
        job.device.as_ref().map_or("", DeviceId::as_str),
    )
}

struct Settle(Vec<PushSettlement>);

// Both find a push by its key and then look at its lease. `+ 0` keeps the planner from the index of due
// times: all that were claimed together have one, and each would be looked for among all.

/// Moves pushes whose lease still stands to another time.
const MOVE: &str = "UPDATE due_push p SET due_ms = j.due_ms, attempt = j.attempt \
     FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[]) \
     AS j (inbox, seq, device_id, leased_ms, due_ms, attempt) \
     WHERE p.inbox = j.inbox AND p.seq = j.seq AND p.device_id = j.device_id \
     AND p.due_ms + 0 = j.leased_ms";

/// Ends pushes whose lease still stands, and says which.
const END: &str = "DELETE FROM due_push p \
     USING unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) \
     AS j (inbox, seq, device_id, leased_ms) \
     WHERE p.inbox = j.inbox AND p.seq = j.seq AND p.device_id = j.device_id \
     AND p.due_ms + 0 = j.leased_ms RETURNING p.inbox, p.seq, p.device_id, p.due_ms";

const RETRY: &str = "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[]) \
     ON CONFLICT (inbox, seq, device_id) \
     DO UPDATE SET due_ms = excluded.due_ms, attempt = excluded.attempt";

/// As [`RETRY`], for devices that have another token than the dead one.
const RENEW: &str = "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
     SELECT j.inbox, j.seq, j.device_id, j.due_ms, j.attempt \
     FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[], $6::text[]) \
     AS j (inbox, seq, device_id, due_ms, attempt, dead) \
     JOIN device d ON d.inbox = j.inbox AND d.device_id = j.device_id \
     WHERE d.token <> j.dead ON CONFLICT (inbox, seq, device_id) \
     DO UPDATE SET due_ms = excluded.due_ms, attempt = excluded.attempt";

/// A push under one lease.
type LeaseKey<'a> = (JobKey<'a>, i64);

fn lease_key(job: &PushJob) -> LeaseKey<'_> {
    (job_key(job), job.leased_until.as_millis())
}

/// Settlements by what has to be done, in the order in which rows are locked.
#[derive(Default)]
struct Sorted<'a> {
    /// When, and which attempt.
    moves: BTreeMap<LeaseKey<'a>, (i64, i32)>,
    ends: BTreeMap<LeaseKey<'a>, &'a PushSettlement>,
}

impl Command for Settle {
    type Output = ();
    const OP: &'static str = "settle";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        session.ready(&[LOG, MOVE, END, RETRY, RENEW]).await?;
        let logged: Vec<_> = self.0.iter().flat_map(|it| &it.deliveries).collect();
        let prunes = self.prunes();
        let Sorted { moves, ends } = self.sorted();
        if logged.is_empty() && prunes.inboxes.is_empty() && ends.is_empty() {
            // One statement is a transaction of its own.
            return put_off(session, &moves).await;
        }
        try_join!(biased; session.begin(), log(session, &logged))?;
        // A dead token is dead, whoever learned of it. Inboxes before pushes, as when forgetting.
        devices::prune(session, &prunes).await?;
        let ((), ended) = try_join!(biased; put_off(session, &moves), end(session, &ends))?;
        let (mut retries, mut renewals) = (BTreeMap::new(), BTreeMap::new());
        for row in &ended {
            let mut columns = Columns::of(row);
            let key: LeaseKey<'_> =
                ((columns.get()?, columns.get()?, columns.get()?), columns.get()?);
            // The others were settled already, or claimed by another when their lease had ended: that
            // one's retries count.
            let Some((((inbox, seq, _), _), settlement)) = ends.get_key_value(&key) else {
                continue;
            };
            for it in &settlement.retries {
                retries.insert((*inbox, *seq, it.device.as_str()), due_to_sql(it));
            }
            for it in &settlement.renewals {
                let key = (*inbox, *seq, it.retry.device.as_str());
                renewals.insert(key, (due_to_sql(&it.retry), it.dead.expose()));
            }
        }
        let again = async {
            renew(session, &renewals).await?;
            retry(session, &retries).await
        };
        try_join!(biased; again, session.commit())?;
        Ok(())
    }
}

fn due_to_sql(retry: &DueRetry) -> (i64, i32) {
    (retry.at.as_millis(), i32::try_from(retry.attempt).unwrap_or(i32::MAX))
}

impl Settle {
    fn prunes(&self) -> devices::Prunes {
        let mut prunes = devices::Prunes::default();
        for settlement in &self.0 {
            for it in &settlement.prunes {
                prunes.inboxes.push(to_sql(settlement.job.notification.inbox.0));
                prunes.devices.push(it.device.as_str().to_owned());
                prunes.registered.push(it.registered_at.as_millis());
            }
        }
        prunes
    }

    /// Of two settlements of one push under one lease the first counts.
    fn sorted(&self) -> Sorted<'_> {
        let mut sorted = Sorted::default();
        for settlement in &self.0 {
            let key = lease_key(&settlement.job);
            match settlement.moved() {
                _ if sorted.moves.contains_key(&key) || sorted.ends.contains_key(&key) => {}
                Some(retry) => {
                    sorted.moves.insert(key, due_to_sql(retry));
                }
                None => {
                    sorted.ends.insert(key, settlement);
                }
            }
        }
        sorted
    }
}

/// The columns of keys.
fn columns_of<'a>(
    keys: impl Iterator<Item = &'a JobKey<'a>>,
) -> (Vec<i64>, Vec<i64>, Vec<&'a str>) {
    let (mut inboxes, mut seqs, mut devices) = (Vec::new(), Vec::new(), Vec::new());
    for (inbox, seq, device) in keys {
        inboxes.push(*inbox);
        seqs.push(*seq);
        devices.push(*device);
    }
    (inboxes, seqs, devices)
}

async fn put_off(
    session: &Session,
    moves: &BTreeMap<LeaseKey<'_>, (i64, i32)>,
) -> Result<(), Failure> {
    if moves.is_empty() {
        return Ok(());
    }
    let (inboxes, seqs, devices) = columns_of(moves.keys().map(|(key, _)| key));
    let leases: Vec<_> = moves.keys().map(|(_, leased_ms)| *leased_ms).collect();
    let times: Vec<_> = moves.values().map(|(due_ms, _)| *due_ms).collect();
    let attempts: Vec<_> = moves.values().map(|(_, attempt)| *attempt).collect();
    let params: [Param<'_>; 6] = [&inboxes, &seqs, &devices, &leases, &times, &attempts];
    session.execute(MOVE, &params).await?;
    Ok(())
}

async fn end(
    session: &Session,
    ends: &BTreeMap<LeaseKey<'_>, &PushSettlement>,
) -> Result<Vec<Row>, Failure> {
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let (inboxes, seqs, devices) = columns_of(ends.keys().map(|(key, _)| key));
    let leases: Vec<_> = ends.keys().map(|(_, leased_ms)| *leased_ms).collect();
    session.query(END, &[&inboxes, &seqs, &devices, &leases]).await
}

async fn retry(
    session: &Session,
    retries: &BTreeMap<JobKey<'_>, (i64, i32)>,
) -> Result<(), Failure> {
    if retries.is_empty() {
        return Ok(());
    }
    let (inboxes, seqs, devices) = columns_of(retries.keys());
    let times: Vec<_> = retries.values().map(|(due_ms, _)| *due_ms).collect();
    let attempts: Vec<_> = retries.values().map(|(_, attempt)| *attempt).collect();
    session.execute(RETRY, &[&inboxes, &seqs, &devices, &times, &attempts]).await?;
    Ok(())
}

async fn renew(
    session: &Session,
    renewals: &BTreeMap<JobKey<'_>, ((i64, i32), &str)>,
) -> Result<(), Failure> {
    if renewals.is_empty() {
        return Ok(());
    }
    let (inboxes, seqs, devices) = columns_of(renewals.keys());
    let times: Vec<_> = renewals.values().map(|((due_ms, _), _)| *due_ms).collect();
    let attempts: Vec<_> = renewals.values().map(|((_, attempt), _)| *attempt).collect();
    let dead: Vec<_> = renewals.values().map(|(_, dead)| *dead).collect();
    session.execute(RENEW, &[&inboxes, &seqs, &devices, &times, &attempts, &dead]).await?;
    Ok(())
}

struct NextDue;

impl Command for NextDue {
    type Output = Option<Timestamp>;
    const OP: &'static str = "next_due";

    async fn run(&self, session: &Session) -> Result<Option<Timestamp>, Failure> {
        const NEXT: &str = "SELECT due_ms FROM due_push ORDER BY due_ms LIMIT 1";
        let next = session.query_opt(NEXT, &[]).await?;
        next.map(|row| Columns::of(&row).time()).transpose()
    }
}

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn claim_due(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DuePush>, StoreError> {
        let leased = self.writers.run(ClaimDue { now, lease, limit }).await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let leased = leased.into_iter().map(|it| (it.job, it.attempt)).collect();
        self.readers.run(LoadDue { leased }).await
    }

    async fn settle(&self, settlements: Vec<PushSettlement>) -> Result<(), StoreError> {
        self.writers.run(Settle(settlements)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.run(NextDue).await
    }
}
