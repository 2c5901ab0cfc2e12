//! Inboxes: their numbers and counters, and marking what is in them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
};

use hashlink::LruCache;
use tidings_core::{
    batch::{NotificationBatch, Recipient},
    clock::Timestamp,
    ids::{Seq, UserId},
    inbox::{Acknowledgement, InboxState, Mark, Selection, Stretch},
    ports::StoreError,
};
use tokio::try_join;

use super::{
    delivery_log,
    error::Failure,
    rows::{Columns, to_sql},
    session::{Command, Param, Session, Sessions},
};

/// The numbers of the inboxes that were used last. They never change.
pub(super) struct InboxNumbers(Mutex<LruCache<UserId, i64>>);

impl fmt::Debug for InboxNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxNumbers(…)")
    }
}

impl InboxNumbers {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Mutex::new(LruCache::new(capacity.max(1))))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, LruCache<UserId, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all. Done when an append fails because the database went away: it may come back as it was
    /// on an earlier day.
    pub(super) fn clear(&self) {
        self.known().clear();
    }

    /// The inbox of each recipient of the batch, in its order; makes those that are missing.
    pub(super) async fn of_batch(
        &self,
        sessions: &Sessions,
        batch: &NotificationBatch,
    ) -> Result<Vec<i64>, StoreError> {
        let recipients = || batch.events().iter().flat_map(|it| &it.recipients);
        let mut numbers = Vec::with_capacity(batch.rows());
        let mut missing = BTreeMap::new();
        {
            let mut known = self.known();
            for (place, recipient) in recipients().enumerate() {
                let number = known.get(&recipient.user).copied();
                if number.is_none() {
                    let places: &mut Vec<_> = missing.entry(recipient.user.clone()).or_default();
                    places.push(place);
                }
                // Those that are missing are filled in below.
                numbers.push(number.unwrap_or_default());
            }
        }
        if missing.is_empty() {
            return Ok(numbers);
        }
        let users: Vec<_> = missing.keys().cloned().collect();
        for (user, number) in sessions.run(MakeInboxes(users)).await? {
            for place in missing.get(&user).into_iter().flatten() {
                numbers[*place] = number;
            }
            self.known().insert(user, number);
        }
        Ok(numbers)
    }

    /// Makes the inboxes of recipients that are missing, and remembers their numbers.
    pub(super) async fn prepare(
        &self,
        sessions: &Sessions,
        recipients: &[Recipient],
    ) -> Result<(), StoreError> {
        let missing: BTreeSet<_> = {
            let mut known = self.known();
            let users = recipients.iter().map(|it| &it.user);
            users.filter(|user| known.get(*user).is_none()).cloned().collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        for (user, number) in sessions.run(MakeInboxes(missing.into_iter().collect())).await? {
            self.known().insert(user, number);
        }
        Ok(())
    }

    /// The user's inbox; makes one if there is none.
    pub(super) async fn of_user(
        &self,
        sessions: &Sessions,
        user: &UserId,
    ) -> Result<i64, StoreError> {
        if let Some(number) = self.known().get(user) {
            return Ok(*number);
        }
        let made = sessions.run(MakeInboxes(vec![user.clone()])).await?;
        let mut numbers = made.into_iter().map(|(user, number)| {
            self.known().insert(user, number);
            number
        });
        // One was asked for, and `MakeInboxes` answers for all or fails.
        Ok(numbers.next().unwrap_or_default())
    }
}

/// Finds the inboxes of users, and makes those that are missing. Users are sorted, each once.
struct MakeInboxes(Vec<UserId>);

impl MakeInboxes {
    async fn find(
        &self,
        session: &Session,
        found: &mut BTreeMap<String, i64>,
        sql: &str,
    ) -> Result<bool, Failure> {
        let missing = self.0.iter().map(UserId::as_str);
        let missing: Vec<_> = missing.filter(|it| !found.contains_key(*it)).collect();
        if !missing.is_empty() {
            for row in &session.query(sql, &[&missing]).await? {
                let mut columns = Columns::of(row);
                found.insert(columns.get()?, columns.get()?);
            }
        }
        Ok(found.len() == self.0.len())
    }
}

impl Command for MakeInboxes {
    type Output = Vec<(UserId, i64)>;
    const OP: &'static str = "append";

    async fn run(&self, session: &Session) -> Result<Vec<(UserId, i64)>, Failure> {
        const FIND: &str = "SELECT user_id, inbox FROM user_inbox WHERE user_id = ANY($1::text[])";
        // One statement, one transaction. In order, so that two nodes that make the same do not wait
        // for each other in a circle.
        const MAKE: &str = "WITH made AS (INSERT INTO user_inbox (user_id) \
             SELECT unnest($1::text[]) ON CONFLICT (user_id) DO NOTHING RETURNING user_id, inbox), \
             kept AS (INSERT INTO inbox (inbox, user_id) SELECT inbox, user_id FROM made) \
             SELECT user_id, inbox FROM made";
        let mut found = BTreeMap::new();
        // The second search finds what another node made between the first and the making.
        for sql in [FIND, MAKE, FIND] {
            if self.find(session, &mut found, sql).await? {
                break;
            }
        }
        let number = |user: &UserId| {
            let number = found.get(user.as_str()).copied();
            number.map(|it| (user.clone(), it)).ok_or(Failure::Overtaken("a user's inbox"))
        };
        self.0.iter().map(number).collect()
    }
}

/// The inbox of a user by a subquery; `$1` is the user.
macro_rules! inbox_of_user {
    () => {
        "(SELECT u.inbox FROM user_inbox u WHERE u.user_id = $1)"
    };
}
pub(super) use inbox_of_user;

/// Reads the counters; all zero for a user without an inbox.
pub(super) struct ReadState<'a>(pub(super) &'a UserId);

impl Command for ReadState<'_> {
    type Output = InboxState;
    const OP: &'static str = "inbox";

    async fn run(&self, session: &Session) -> Result<InboxState, Failure> {
        let sql = concat!(
            "SELECT last_seq, acked_seq, acked_after, unread, forgotten_seq FROM inbox WHERE inbox = ",
            inbox_of_user!()
        );
        match session.query_opt(sql, &[&self.0.as_str()]).await? {
            Some(row) => Columns::of(&row).inbox_state(),
            None => Ok(InboxState::default()),
        }
    }
}

pub(super) struct MarkInbox<'a> {
    pub(super) user: &'a UserId,
    pub(super) mark: Mark,
    pub(super) selection: &'a Selection,
    pub(super) now: Timestamp,
}

/// Sets the mark on `which` and moves the end of the range that has it throughout to `$4`. Parameters:
/// inbox, time, which, end.
macro_rules! mark_sql {
    ($set:literal, $unmarked:literal, $was_unread:literal, $floors:literal, $which:literal) => {
        concat!(
            "WITH marked AS (UPDATE notification SET ",
            $set,
            " WHERE inbox = $1 AND ",
            $which,
            " AND ",
            $unmarked,
            " RETURNING ",
            $was_unread,
            " AS was_unread) \
             UPDATE inbox SET ",
            $floors,
            ", \
             unread = unread - (SELECT count(*) FROM marked WHERE was_unread) WHERE inbox = $1 \
             RETURNING last_seq, acked_seq, acked_after, unread, forgotten_seq"
        )
    };
}

/// The statements for a range, whose third parameter is its first `seq`, and for a list of `seq`.
fn statements(mark: Mark) -> (&'static str, &'static str) {
    macro_rules! both {
        ($set:literal, $unmarked:literal, $was_unread:literal, $floors:literal) => {
            (
                mark_sql!($set, $unmarked, $was_unread, $floors, "seq BETWEEN $3::bigint AND $4"),
                mark_sql!($set, $unmarked, $was_unread, $floors, "seq = ANY($3::bigint[])"),
            )
        };
    }
    match mark {
        Mark::Seen => {
            both!("seen_ms = $2", "seen_ms IS NULL", "false", "seen_upto = greatest(seen_upto, $4)")
        }
        Mark::Read => both!(
            "read_ms = $2, seen_ms = coalesce(seen_ms, $2)",
            "read_ms IS NULL",
            "archived_ms IS NULL",
            "read_upto = greatest(read_upto, $4), seen_upto = greatest(seen_upto, $4)"
        ),
        Mark::Archived => both!(
            "archived_ms = $2",
            "archived_ms IS NULL",
            "read_ms IS NULL",
            "archived_upto = greatest(archived_upto, $4)"
        ),
    }
}

impl Command for MarkInbox<'_> {
    type Output = InboxState;
    const OP: &'static str = "mark";

    async fn run(&self, session: &Session) -> Result<InboxState, Failure> {
        // What is marked next sees all that was committed before the lock was had.
        let lock = concat!(
            "SELECT inbox, seen_upto, read_upto, archived_upto, \
             last_seq, acked_seq, acked_after, unread, forgotten_seq FROM inbox WHERE inbox = ",
            inbox_of_user!(),
            " FOR NO KEY UPDATE"
        );
        let (range, list) = statements(self.mark);
        session.ready(&[lock, range, list]).await?;
        let user = self.user.as_str();
        let locked: [Param<'_>; 1] = [&user];
        let ((), row) = try_join!(biased; session.begin(), session.query_opt(lock, &locked))?;
        let Some(row) = row else {
            session.commit().await?;
            return Ok(InboxState::default());
        };
        let mut columns = Columns::of(&row);
        let inbox: i64 = columns.get()?;
        let floors: [i64; 3] = [columns.get()?, columns.get()?, columns.get()?];
        let floor = floors[match self.mark {
            Mark::Seen => 0,
            Mark::Read => 1,
            Mark::Archived => 2,
        }];
        let state = columns.inbox_state()?;
        let last = to_sql(state.last_seq.0);
        let now = self.now.as_millis();
        match self.selection {
            Selection::UpTo(Seq(seq)) => {
                // Not beyond the newest: what is appended later does not have the mark.
                let (first, end) = (floor + 1, to_sql(*seq).min(last));
                if first <= end {
                    return change(session, range, &[&inbox, &now, &first, &end]).await;
                }
            }
            Selection::Ids(ids) => {
                let ids = ids.iter().filter(|id| to_sql(id.inbox.0) == inbox);
                let mut seqs: Vec<_> = ids.map(|id| to_sql(id.seq.0)).collect();
                seqs.retain(|seq| *seq > floor && *seq <= last);
                if !seqs.is_empty() {
                    return change(session, list, &[&inbox, &now, &seqs, &floor]).await;
                }
            }
        }
        session.commit().await?;
        Ok(state)
    }
}

async fn change(session: &Session, sql: &str, params: &[Param<'_>]) -> Result<InboxState, Failure> {
    let (row, ()) = try_join!(biased; session.query_one(sql, params), session.commit())?;
    Columns::of(&row).inbox_state()
}

/// Adds what their sessions have to what is acknowledged in inboxes; `$1` are users, each once, `$2` and
/// `$3` stretches, which are joined as [`Stretch::join`] does. Locks in the order in which appends lock,
/// and only what changes.
const ACKNOWLEDGE: &str = "\
    WITH said AS MATERIALIZED ( \
        SELECT u.inbox, s.after, s.upto \
        FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS s (user_id, after, upto) \
        JOIN user_inbox u ON u.user_id = s.user_id \
    ), held AS MATERIALIZED ( \
        SELECT i.inbox, said.after, least(said.upto, i.last_seq) AS upto \
        FROM said JOIN inbox i ON i.inbox = said.inbox \
        WHERE said.after < least(said.upto, i.last_seq) AND (i.acked_seq < least(said.upto, i.last_seq) \
        OR (said.after < i.acked_after AND i.acked_after <= said.upto)) \
        ORDER BY i.inbox FOR NO KEY UPDATE OF i \
    ) \
    UPDATE inbox i SET acked_seq = greatest(i.acked_seq, held.upto), \
    acked_after = CASE WHEN held.after <= i.acked_seq \
        THEN least(i.acked_after, held.after) ELSE held.after END \
    FROM held WHERE i.inbox = held.inbox";

pub(super) struct Acknowledge<'a>(pub(super) &'a [Acknowledgement]);

impl Command for Acknowledge<'_> {
    type Output = ();
    const OP: &'static str = "acknowledge";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        let mut of_users: HashMap<&str, Stretch> = HashMap::with_capacity(self.0.len());
        for ack in self.0 {
            let has = of_users.entry(ack.user.as_str()).or_default();
            *has = has.join(ack.has);
        }
        let (users, stretches): (Vec<&str>, Vec<Stretch>) = of_users.into_iter().unzip();
        let after: Vec<i64> = stretches.iter().map(|it| to_sql(it.after.0)).collect();
        let upto: Vec<i64> = stretches.iter().map(|it| to_sql(it.upto.0)).collect();
        let said: [Param<'_>; 3] = [&users, &after, &upto];
        let logged: Vec<_> = self.0.iter().flat_map(|it| &it.deliveries).collect();
        session.ready(&[ACKNOWLEDGE, delivery_log::LOG]).await?;
        try_join!(
            biased;
            session.begin_unhurried(),
            session.execute(ACKNOWLEDGE, &said),
            delivery_log::log(session, &logged),
            session.commit(),
        )?;
        Ok(())
    }
}
