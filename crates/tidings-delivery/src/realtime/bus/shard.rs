//! Users are spread over a fixed number of shards, by a hash that is the same on every node.

use tidings_core::ids::UserId;

/// How many shards there are. Part of what nodes agree on: another number needs another prefix.
pub(in crate::realtime) const SHARDS: usize = 64;

/// One of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::realtime) struct ShardIndex(u8);

impl ShardIndex {
    /// `None` for a number that no shard has.
    pub(super) fn new(index: u8) -> Option<Self> {
        (usize::from(index) < SHARDS).then_some(Self(index))
    }

    pub(in crate::realtime) fn get(self) -> u8 {
        self.0
    }

    pub(in crate::realtime) fn all() -> impl Iterator<Item = Self> + Clone {
        (0u8..).map_while(Self::new)
    }
}

/// A user, by a hash that all nodes have: presence is told in these. Two users with the same one cost
/// a push that waits for an acknowledgement in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::realtime) struct UserHash(pub(super) u64);

impl UserHash {
    pub(in crate::realtime) fn of(user: &UserId) -> Self {
        Self::of_text(user.as_str())
    }

    /// FNV-1a, with the last step of `MurmurHash3` for its upper bits.
    pub(in crate::realtime) fn of_text(user: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in user.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Self(hash ^ (hash >> 33))
    }

    pub(in crate::realtime) fn shard(self) -> ShardIndex {
        let [.., last] = self.0.to_be_bytes();
        // 64 divides 256: no shard has more than its share.
        ShardIndex(last % 64)
    }
}

/// Some of the shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ShardSet(pub(super) u64);

impl ShardSet {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(u64::MAX);

    pub(super) fn only(shard: ShardIndex) -> Self {
        Self(1 << shard.0)
    }

    pub(super) fn insert(&mut self, shard: ShardIndex) {
        self.0 |= 1 << shard.0;
    }

    pub(super) fn remove(&mut self, shard: ShardIndex) {
        self.0 &= !(1 << shard.0);
    }

    pub(super) fn contains(self, shard: ShardIndex) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = ShardIndex> {
        ShardIndex::all().filter(move |shard| self.contains(*shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        let hashes = ["ann", "ben", "ü"].map(|user| UserHash::of_text(user).0);
        assert_eq!(hashes, [0x6ef4_c3ab_a814_f113, 0xf41a_96c0_b3f0_aaf3, 0x9a8f_a3aa_aa09_fd21]);
    }

    #[test]
    fn users_are_spread_over_all_shards() {
        let mut counts = [0; SHARDS];
        for number in 0..64_000 {
            let shard = UserHash::of_text(&format!("user-{number}")).shard();
            counts[usize::from(shard.get())] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
