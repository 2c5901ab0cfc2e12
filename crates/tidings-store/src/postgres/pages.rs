//! Many inboxes in one round trip.

use tidings_core::{ids::UserId, inbox::InboxState};

use super::{
    error::Failure,
    rows::Columns,
    session::{Command, Session},
};

/// `$1` are users; `nr` is the place of a user among them, from 1.
const HEADS: &str = "\
    SELECT asked.nr, i.last_seq, i.acked_seq, i.unread, i.forgotten_seq \
    FROM unnest($1::text[]) WITH ORDINALITY AS asked (user_id, nr) \
    JOIN user_inbox u ON u.user_id = asked.user_id JOIN inbox i ON i.inbox = u.inbox";

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

/// The index of the one that is number `nr`, from 1.
fn place_of(nr: u64) -> usize {
    usize::try_from(nr).map_or(usize::MAX, |nr| nr.wrapping_sub(1))
}
