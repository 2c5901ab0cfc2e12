//! Many inboxes in one round trip: their counters, and what comes after a place in each.

use std::sync::LazyLock;

use tidings_core::{
    ids::{Seq, UserId},
    inbox::{InboxPage, InboxState},
};
use tokio_postgres::Row;

use super::{
    error::Failure,
    rows::{self, Columns, limit_to_sql, select_notifications, to_sql},
    session::{Command, Session},
};

/// `$1` are users; `nr` is the place of a user among them, from 1.
const HEADS: &str = "\
    SELECT asked.nr, i.last_seq, i.acked_seq, i.acked_after, i.unread, i.forgotten_seq \
    FROM unnest($1::text[]) WITH ORDINALITY AS asked (user_id, nr) \
    JOIN user_inbox u ON u.user_id = asked.user_id JOIN inbox i ON i.inbox = u.inbox";

/// `$1` are users, `$2` places in their inboxes, `$3` the limit of each. An inbox without anything after
/// its place has a row without a notification. One statement, so that counters and notifications are of
/// the same moment.
static PAGES_AFTER: LazyLock<String> = LazyLock::new(|| {
    select_notifications(
        ", asked.nr \
         FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS asked (user_id, after, nr) \
         JOIN user_inbox u ON u.user_id = asked.user_id JOIN inbox i ON i.inbox = u.inbox \
         LEFT JOIN LATERAL ( \
             SELECT * FROM notification p WHERE p.inbox = i.inbox AND p.seq > asked.after \
             ORDER BY p.seq LIMIT $3 \
         ) n ON true \
         LEFT JOIN event e ON e.event = n.event",
    )
});

/// Reads the counters; all zero for users without an inbox.
pub(super) struct ReadHeads<'a>(pub(super) &'a [UserId]);

impl Command for ReadHeads<'_> {
    type Output = Vec<InboxState>;
    const OP: &'static str = "heads";

    async fn run(&self, session: &Session) -> Result<Vec<InboxState>, Failure> {
        let users: Vec<&str> = self.0.iter().map(UserId::as_str).collect();
        let mut heads = vec![InboxState::default(); users.len()];
        for row in &session.query(HEADS, &[&users]).await? {
            let mut columns = Columns::of(row);
            let nr = columns.count()?;
            if let Some(head) = heads.get_mut(place_of(nr)) {
                *head = columns.inbox_state()?;
            }
        }
        Ok(heads)
    }
}

pub(super) struct PagesAfter<'a> {
    pub(super) places: &'a [(UserId, Seq)],
    /// Of each page.
    pub(super) limit: usize,
}

impl Command for PagesAfter<'_> {
    type Output = Vec<InboxPage>;
    const OP: &'static str = "pages_after";

    async fn run(&self, session: &Session) -> Result<Vec<InboxPage>, Failure> {
        let users: Vec<&str> = self.places.iter().map(|(user, _)| user.as_str()).collect();
        let after: Vec<i64> = self.places.iter().map(|(_, after)| to_sql(after.0)).collect();
        let limit = limit_to_sql(self.limit);
        let found = session.query(&PAGES_AFTER, &[&users, &after, &limit]).await?;
        let mut pages = vec![InboxPage::default(); users.len()];
        for row in &found {
            let nr: i64 = get(row, "nr")?;
            let Some(page) = pages.get_mut(place_of(rows::from_sql(nr))) else { continue };
            if get::<Option<i64>>(row, "seq")?.is_some() {
                let (notification, inbox) = rows::notification(row)?;
                page.inbox = inbox;
                page.notifications.push(notification);
            } else {
                page.inbox = state(row)?;
            }
        }
        for page in &mut pages {
            // The order of rows is not promised, and seldom another: sorting is next to free.
            page.notifications.sort_unstable_by_key(|it| it.seq());
        }
        Ok(pages)
    }
}

/// The index of the one that is number `nr`, from 1.
fn place_of(nr: u64) -> usize {
    usize::try_from(nr).map_or(usize::MAX, |nr| nr.wrapping_sub(1))
}

fn get<'r, T: tokio_postgres::types::FromSql<'r>>(row: &'r Row, name: &str) -> Result<T, Failure> {
    row.try_get(name).map_err(|error| Failure::unreadable("column", error))
}

fn state(row: &Row) -> Result<InboxState, Failure> {
    let number = |name| Ok::<_, Failure>(rows::from_sql(get(row, name)?));
    Ok(InboxState {
        last_seq: Seq(number("last_seq")?),
        acked_seq: Seq(number("acked_seq")?),
        acked_after: Seq(number("acked_after")?),
        unread: number("unread")?,
        forgotten_seq: Seq(number("forgotten_seq")?),
    })
}
