//! How much one request may read, whatever the degrees of those involved.
//!
//! Lists are left out whole, the longest first, never sampled: what is found through an account that a
//! million follow says little, and a sample of a list loses more than it saves.

/// The newest follows of the user, and the newest followers, that are looked at.
pub(super) const OWN_ENTRIES: usize = 2_000;
/// Follows of the user that are kept from being candidates, by which the best are chosen.
pub(super) const LEFT_OUT_ENTRIES: usize = 50_000;
/// Accounts with more followers than this do not tell who is alike.
pub(super) const ALIKE_FOLLOWERS: u32 = 3_000;
/// Entries of the followers of the user's followees.
pub(super) const ALIKE_ENTRIES: usize = 40_000;
/// Of those who share followees with the user, so many are compared by how much they follow.
pub(super) const ALIKE_COMPARED: usize = 2_000;
/// Of these, so many are asked whom they follow.
pub(super) const ALIKE_USERS: usize = 400;
/// Entries of the lists of these.
pub(super) const ALIKE_FOLLOWING_ENTRIES: usize = 40_000;
/// Entries of the lists of neighbours, for each way of two steps.
pub(super) const NEAR_ENTRIES: usize = 20_000;
/// The newest entries of any one list of somebody else.
pub(super) const LIST_ENTRIES: usize = 2_000;
/// Entries that the random walks look at.
pub(super) const WALK_ENTRIES: usize = 15_000;
/// The best of each signal, and the followers that are candidates at most.
pub(super) const SIGNAL_CANDIDATES: usize = 80;
/// Of each signal that is to be divided by popularity, so many are looked at.
pub(super) const SIGNAL_COMPARED: usize = 300;
/// Followers that are candidates at most.
pub(super) const FOLLOWER_CANDIDATES: usize = 200;
/// Popular accounts that are candidates,
pub(super) const POPULAR_CANDIDATES: usize = 50;
/// of so many, of whom the user may have dismissed some, and others do not want to be found.
pub(super) const POPULAR_FOUND: usize = 500;

/// The same for a graph that is fetched: the newest follows and followers of the user,
pub(super) const REMOTE_OWN_ENTRIES: usize = 500;
/// of these, those whose lists are fetched,
pub(super) const REMOTE_NEIGHBOURS: usize = 100;
/// the newest entries of each,
pub(super) const REMOTE_LIST_ENTRIES: usize = 100;
/// entries of the followers of the user's followees,
pub(super) const REMOTE_ALIKE_ENTRIES: usize = 10_000;
/// and of those who are alike, so many.
pub(super) const REMOTE_ALIKE_USERS: usize = 200;
