//! One list as it stands: what is packed, and what the layers above have changed.

use std::ops::ControlFlow;

use tidings_core::clock::Timestamp;

use super::{
    bits::{BLOCK, low_word},
    index::UserNumber,
    layer::{Changes, Record},
    packed::{Entries, PackedList, TimeReader},
    segment::Direction,
};

/// Entries that are gone and are passed over for the newest ones.
const MOST_GONE: usize = 8_192;

/// A follow, seen from one of its two lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its number in this list.
    pub(super) number: u64,
    /// The user at the other end.
    pub(super) other: UserNumber,
    pub(super) source: EntrySource,
}

/// Where an entry was found, which says how to learn its time.
#[derive(Debug, Clone, Copy)]
pub(super) enum EntrySource {
    /// At this place of the packed list.
    Packed(usize),
    /// In a layer, with its time.
    Added(Timestamp),
}

/// Where a walk over a list has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// Everything from this number on has been walked.
    pub(super) before: u64,
    /// Whether nothing is left.
    pub(super) end: bool,
    /// Entries that were looked at.
    pub(super) work: usize,
}

impl Reached {
    /// A list that there is not.
    pub(super) const NOTHING: Self = Self { before: 0, end: true, work: 0 };
}

/// A list of a user.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListView<'a> {
    pub(super) direction: Direction,
    pub(super) packed: PackedList<'a>,
    /// What the frozen layer says, while the packed list has not taken it in.
    pub(super) frozen: Option<Changes<'a>>,
    pub(super) active: Changes<'a>,
}

/// A walk over a list: what may still be looked at, and what was.
struct Walk<V> {
    before: u64,
    work: usize,
    most_work: usize,
    visit: V,
}

impl<V: FnMut(Entry) -> ControlFlow<(), usize>> Walk<V> {
    /// Counts an entry that is gone.
    fn skip(&mut self, number: u64) -> ControlFlow<()> {
        if self.work >= self.most_work && self.work > 0 {
            return ControlFlow::Break(());
        }
        self.before = number;
        self.work += 1;
        ControlFlow::Continue(())
    }

    fn visit(&mut self, entry: Entry) -> ControlFlow<()> {
        if self.work >= self.most_work && self.work > 0 {
            return ControlFlow::Break(());
        }
        let work = (self.visit)(entry)?;
        self.before = entry.number;
        self.work += 1 + work;
        ControlFlow::Continue(())
    }
}

impl<'a> ListView<'a> {
    fn layers(&self) -> [(u64, Option<Changes<'a>>); 2] {
        [(self.active_start(), Some(self.active)), (self.packed.next(), self.frozen)]
    }

    /// The first number that the active layer gives.
    pub(super) fn active_start(&self) -> u64 {
        self.packed.next() + self.frozen.map_or(0, |it| it.numbers())
    }

    /// The number that the next entry will get.
    pub(super) fn next(&self) -> u64 {
        self.active_start() + self.active.numbers()
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> u64 {
        let mut len = (self.packed.len() as u64).cast_signed();
        len += self.active.difference();
        len += self.frozen.map_or(0, |it| it.difference());
        len.max(0).cast_unsigned()
    }

    /// Whether the entry with this number, which is packed or in the frozen layer, is gone.
    pub(super) fn is_gone(&self, number: u64) -> bool {
        self.active.is_removed(number)
            || self.frozen.is_some_and(|it| number < self.packed.next() && it.is_removed(number))
    }

    /// Shows the entries with a number below `before` to `visit`, newest first, until it breaks: then
    /// the entry is still to be walked. It says how much more it looked at. At least one entry is
    /// walked; after that, no more is looked at than `most_work`.
    pub(super) fn walk(
        &self,
        before: u64,
        most_work: usize,
        visit: impl FnMut(Entry) -> ControlFlow<(), usize>,
    ) -> Reached {
        let mut walk = Walk { before, work: 0, most_work, visit };
        let end = self.run(&mut walk).is_continue();
        Reached { before: walk.before, end, work: walk.work }
    }

    fn run<V>(&self, walk: &mut Walk<V>) -> ControlFlow<()>
    where
        V: FnMut(Entry) -> ControlFlow<(), usize>,
    {
        for (start, layer) in self.layers() {
            let (Some(layer), Some(count)) = (layer, walk.before.checked_sub(start)) else {
                continue;
            };
            for (place, record) in layer.newest_first(count) {
                let number = start + u64::from(place);
                if record.is_removed() || self.is_gone(number) {
                    walk.skip(number)?;
                } else {
                    walk.visit(self.entry(number, &record))?;
                }
            }
        }
        self.run_packed(walk)
    }

    fn run_packed<V>(&self, walk: &mut Walk<V>) -> ControlFlow<()>
    where
        V: FnMut(Entry) -> ControlFlow<(), usize>,
    {
        let mut end = self.packed.rank(walk.before);
        let mut others = [0; BLOCK];
        let is_plain = self.packed.is_plain();
        let is_whole = self.active.is_empty() && self.frozen.is_none_or(|it| it.is_empty());
        while let Some(last) = end.checked_sub(1) {
            let block = last / BLOCK;
            self.packed.read_others(block, &mut others);
            for place in (block * BLOCK..end).rev() {
                let number = if is_plain { place as u64 } else { self.packed.number(place) };
                if !is_whole && self.is_gone(number) {
                    walk.skip(number)?;
                    continue;
                }
                let source = EntrySource::Packed(place);
                walk.visit(Entry { number, other: others[place % BLOCK], source })?;
            }
            end = block * BLOCK;
        }
        ControlFlow::Continue(())
    }

    /// Appends who is at the other end of the newest entries, `most` at most, newest first; fewer where very
    /// many of them are gone and no checkpoint was made since.
    pub(super) fn append_newest(&self, most: usize, others: &mut Vec<UserNumber>) {
        let start = others.len();
        let is_whole = self.active.is_empty() && self.frozen.is_none_or(|it| it.is_empty());
        if !is_whole {
            self.walk(u64::MAX, most.saturating_add(MOST_GONE), |entry| {
                if others.len() - start >= most {
                    return ControlFlow::Break(());
                }
                others.push(entry.other);
                ControlFlow::Continue(0)
            });
            return;
        }
        let mut end = self.packed.len();
        let first = end - most.min(end);
        let mut block = [0; BLOCK];
        while end > first {
            let start = (end - 1) / BLOCK * BLOCK;
            self.packed.read_others(start / BLOCK, &mut block);
            let wanted = first.saturating_sub(start)..end - start;
            others.extend(block.get(wanted).unwrap_or_default().iter().rev());
            end = start;
        }
    }

    fn entry(&self, number: u64, record: &Record) -> Entry {
        let source = EntrySource::Added(record.at());
        Entry { number, other: record.other(self.direction), source }
    }

    /// Up to `most` entries from `number` on, oldest first, and the number to go on from, if there may be
    /// more.
    pub(super) fn oldest_first(&self, number: u64, most: usize) -> (Vec<Entry>, Option<u64>) {
        let mut entries = Vec::new();
        for place in self.packed.rank(number)..self.packed.len() {
            let number = self.packed.number(place);
            if entries.len() >= most {
                return (entries, Some(number));
            }
            if !self.is_gone(number) {
                let source = EntrySource::Packed(place);
                entries.push(Entry { number, other: self.packed.other(place), source });
            }
        }
        let mut layers = self.layers();
        layers.reverse();
        for (start, layer) in layers {
            let Some(layer) = layer else { continue };
            let first = low_word(number.saturating_sub(start).min(layer.numbers()));
            for (place, record) in layer.oldest_first(first) {
                let number = start + u64::from(place);
                if entries.len() >= most {
                    return (entries, Some(number));
                }
                if !record.is_removed() && !self.is_gone(number) {
                    entries.push(self.entry(number, &record));
                }
            }
        }
        (entries, None)
    }

    /// The times of entries of the list of a follower.
    pub(super) fn times(&self) -> EntryTimes<'a> {
        EntryTimes(TimeReader::new(&self.packed))
    }
}

/// Reads the times of entries.
#[derive(Debug)]
pub(super) struct EntryTimes<'a>(TimeReader<'a>);

impl EntryTimes<'_> {
    pub(super) fn get(&mut self, entry: &Entry) -> Timestamp {
        match entry.source {
            EntrySource::Packed(place) => Timestamp::from_millis(self.0.get(place)),
            EntrySource::Added(at) => at,
        }
    }
}

/// Appends to `entries` what a packed list holds once it has taken a layer in.
pub(super) fn merge(
    packed: &PackedList<'_>,
    changes: &Changes<'_>,
    direction: Direction,
    entries: &mut Entries,
) {
    packed.decode(direction.has_times(), entries, |number| !changes.is_removed(number));
    let start = packed.next();
    let kept = entries.others.len();
    for (place, record) in changes.newest_first(u64::MAX).filter(|(_, it)| !it.is_removed()) {
        entries.numbers.push(start + u64::from(place));
        entries.others.push(record.other(direction));
        if direction.has_times() {
            entries.times.push(record.at().as_millis());
        }
    }
    entries.numbers[kept..].reverse();
    entries.others[kept..].reverse();
    if direction.has_times() {
        entries.times[kept..].reverse();
    }
    entries.next = start + changes.numbers();
}
