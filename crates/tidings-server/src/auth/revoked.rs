//! Which tokens are refused although they are valid: a table in memory, so that no request reads the store.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use tidings_core::{clock::Timestamp, ids::UserId};

/// Users who were signed out everywhere, and when.
///
/// It holds a limited number of users. When there are more, the earlier half is left out, and stands for
/// everyone: tokens that were issued before the latest of those are refused, whoever's they are. Too
/// many have to sign in again then, and nobody who was signed out is let in.
#[derive(Debug)]
pub struct RevokedTokens {
    table: RwLock<Table>,
    users_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    before: HashMap<UserId, Timestamp>,
    /// What was issued before this is refused, whoever's it is.
    floor: Option<Timestamp>,
}

impl RevokedTokens {
    /// A table of at most `users_max` users.
    #[must_use]
    pub fn new(users_max: usize) -> Self {
        Self { table: RwLock::default(), users_max: users_max.max(1) }
    }

    /// Refuses the user's tokens that were issued before `before`.
    pub fn put(&self, user: &UserId, before: Timestamp) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let stands = table.before.entry(user.clone()).or_insert(before);
        *stands = before.max(*stands);
        if table.before.len() > self.users_max {
            table.leave_out_half();
        }
    }

    /// Forgets those that refuse only tokens that were issued before `cutoff`.
    pub fn forget(&self, cutoff: Timestamp) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.before.retain(|_, before| *before >= cutoff);
        table.floor = table.floor.filter(|floor| *floor >= cutoff);
    }

    /// Whether a token of `user` is refused. One that does not say when it was issued counts as old.
    #[must_use]
    pub fn is_revoked(&self, user: &UserId, issued_at: Option<Timestamp>) -> bool {
        let issued_at = issued_at.unwrap_or(Timestamp::from_millis(0));
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let before = table.before.get(user).copied().max(table.floor);
        before.is_some_and(|before| issued_at < before)
    }
}

impl Table {
    fn leave_out_half(&mut self) {
        let mut times: Vec<Timestamp> = self.before.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let floor = *median;
        self.before.retain(|_, before| *before > floor);
        self.floor = self.floor.max(Some(floor));
        tracing::error!(
            floor = %floor,
            "more users were signed out than auth.revocations_max: all tokens that were issued before \
             this are refused"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn user(number: i64) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    #[test]
    fn what_was_issued_before_is_refused_and_the_latest_time_stands() {
        let revoked = RevokedTokens::new(10);
        revoked.put(&user(1), at(50));
        revoked.put(&user(1), at(40));
        assert!(revoked.is_revoked(&user(1), Some(at(49))));
        assert!(revoked.is_revoked(&user(1), None));
        assert!(!revoked.is_revoked(&user(1), Some(at(50))));
        assert!(!revoked.is_revoked(&user(2), None));
        revoked.forget(at(51));
        assert!(!revoked.is_revoked(&user(1), None));
    }

    #[test]
    fn a_full_table_refuses_too_much_and_never_too_little() {
        let revoked = RevokedTokens::new(100);
        for number in 1..=1_000 {
            revoked.put(&user(number), at(number));
        }
        for number in 1..=1_000 {
            assert!(revoked.is_revoked(&user(number), Some(at(number - 1))), "u{number}");
        }
        assert!(revoked.table.read().unwrap().before.len() <= 100);
        assert!(!revoked.is_revoked(&user(0), Some(at(1_000))), "what is new is let in");
    }
}
