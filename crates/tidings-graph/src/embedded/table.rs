//! A hash table that grows in small pieces.
//!
//! A table of millions of entries that doubles moves them all at once, under the lock that all readers
//! wait for. This one consists of many small tables, each of which doubles for itself.

use hashbrown::HashTable;

const SHARDS_LOG2: u32 = 10;

/// A table of entries that know their own key.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// None until the first entry comes, which most tables of most graphs never see.
    shards: Vec<HashTable<T>>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { shards: Vec::new(), len: 0 }
    }
}

fn shard_of(hash: u64) -> usize {
    // The small tables use the highest and the lowest bits.
    super::bits::to_usize(hash >> 32) & ((1 << SHARDS_LOG2) - 1)
}

impl<T> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards.get(shard_of(hash))?.find(hash, is_it)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.shards.get_mut(shard_of(hash))?.find_mut(hash, is_it)
    }

    /// Adds an entry that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: T, hash_of: impl Fn(&T) -> u64) {
        if self.shards.is_empty() {
            self.shards.resize_with(1 << SHARDS_LOG2, HashTable::new);
        }
        self.shards[shard_of(hash)].insert_unique(hash, entry, hash_of);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let entry = self.shards.get_mut(shard_of(hash))?.find_entry(hash, is_it).ok()?;
        self.len -= 1;
        Some(entry.remove().0)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|it| size_of_val(it) + it.allocation_size()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::digest::mix;

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let mut table = Table::default();
        assert!(table.is_empty() && table.find(1, |_| true).is_none());
        assert_eq!(table.remove(1, |_| true), None);
        for number in 0..20_000u64 {
            table.insert(mix(number), number, |it| mix(*it));
        }
        for number in (0..20_000).step_by(2) {
            assert_eq!(table.remove(mix(number), |it| *it == number), Some(number));
        }
        for number in 0..20_001 {
            let found = table.find(mix(number), |it| *it == number);
            assert_eq!(found.is_some(), number % 2 == 1 && number < 20_000, "{number}");
        }
        assert_eq!(table.len(), 10_000);
        assert!(table.bytes() > 20_000 * size_of::<u64>());
    }
}
