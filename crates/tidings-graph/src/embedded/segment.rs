//! The lists of some thousand neighbours by number, in one buffer that never changes.
//!
//! The buffer is also what the snapshot holds: reading it back is reading a file. It begins with the
//! places of the lists, two per user, that of the following before that of the followers.

use tidings_core::follow::NeighbourSide;

use super::{
    bits::{PADDING, to_usize},
    index::UserNumber,
    packed::{Entries, PackedList},
};

/// Users of a segment; the last one may have fewer.
pub(super) const SEGMENT_USERS: usize = 4_096;
const PLACE_BYTES: usize = 4;

/// One of the two lists of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    /// Those whom the user follows.
    Following,
    /// Those who follow the user.
    Followers,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Following, Self::Followers];

    /// The direction of the list at the other end.
    pub(super) fn reverse(self) -> Self {
        match self {
            Self::Following => Self::Followers,
            Self::Followers => Self::Following,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Following => 0,
            Self::Followers => 1,
        }
    }

    /// Whether its lists hold the times.
    pub(super) fn has_times(self) -> bool {
        self == Self::Following
    }
}

impl From<NeighbourSide> for Direction {
    fn from(side: NeighbourSide) -> Self {
        match side {
            NeighbourSide::Following => Self::Following,
            NeighbourSide::Followers => Self::Followers,
        }
    }
}

/// The segment that a user belongs to, and the user's place in it.
pub(super) fn segment_of(user: UserNumber) -> (usize, usize) {
    (user as usize / SEGMENT_USERS, user as usize % SEGMENT_USERS)
}

/// The lists of up to [`SEGMENT_USERS`] users.
#[derive(Debug, Default)]
pub(super) struct Segment {
    bytes: Box<[u8]>,
    users: usize,
}

impl Segment {
    /// Takes what [`SegmentBuilder::finish`] made; `None` if it cannot be that.
    pub(super) fn new(bytes: Vec<u8>) -> Option<Self> {
        let users = to_usize(u64::from(u32::from_le_bytes(*bytes.first_chunk()?)));
        if users > SEGMENT_USERS || bytes.len() < heads_bytes(users) + PADDING {
            return None;
        }
        let segment = Self { bytes: bytes.into_boxed_slice(), users };
        let mut last = heads_bytes(users);
        for list in 0..=2 * users {
            let place = segment.place(list)?;
            if place < last || place > segment.bytes.len() - PADDING {
                return None;
            }
            last = place;
        }
        Some(segment)
    }

    pub(super) fn users(&self) -> usize {
        self.users
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn place(&self, list: usize) -> Option<usize> {
        let place = self.bytes.get(PLACE_BYTES * (1 + list)..)?.first_chunk()?;
        Some(to_usize(u64::from(u32::from_le_bytes(*place))))
    }

    /// The bytes from the list on, and where it ends among them; empty for users it does not know.
    fn raw(&self, user: usize, direction: Direction) -> (&[u8], usize) {
        let list = 2 * user + direction.place();
        let places = self.place(list).zip(self.place(list + 1));
        let places = places.filter(|_| user < self.users);
        let (start, end) = places.unwrap_or_default();
        (self.bytes.get(start..).unwrap_or_default(), end.saturating_sub(start))
    }

    /// A list of the user at this place.
    pub(super) fn list(&self, user: usize, direction: Direction) -> PackedList<'_> {
        match self.raw(user, direction) {
            (_, 0) => PackedList::default(),
            (bytes, _) => PackedList::read(bytes).unwrap_or_default(),
        }
    }

    /// The bytes from a list on, which may be those of the next one.
    pub(super) fn bytes_from(&self, user: usize, direction: Direction) -> &[u8] {
        self.raw(user, direction).0
    }
}

fn heads_bytes(users: usize) -> usize {
    PLACE_BYTES * (2 + 2 * users)
}

/// Makes a segment, user by user.
#[derive(Debug)]
pub(super) struct SegmentBuilder {
    bytes: Vec<u8>,
    places: usize,
    users: usize,
}

impl SegmentBuilder {
    /// Begins a segment of so many users, of about so many bytes.
    pub(super) fn new(users: usize, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(heads_bytes(users)) + PADDING);
        buffer.extend_from_slice(&u32::try_from(users).unwrap_or(0).to_le_bytes());
        buffer.resize(heads_bytes(users), 0);
        Self { bytes: buffer, places: 0, users }
    }

    fn begin(&mut self) {
        let place = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let head = PLACE_BYTES * (1 + self.places);
        self.bytes[head..head + PLACE_BYTES].copy_from_slice(&place);
        self.places += 1;
    }

    /// Appends the next list: the following of the first user, then the followers, and so on.
    pub(super) fn push(&mut self, entries: &Entries) {
        self.begin();
        entries.encode(&mut self.bytes);
    }

    /// Appends the next list as it was in another segment.
    pub(super) fn copy(&mut self, segment: &Segment, user: usize, direction: Direction) {
        self.begin();
        let (bytes, length) = segment.raw(user, direction);
        self.bytes.extend_from_slice(&bytes[..length]);
    }

    /// Ends the segment.
    pub(super) fn finish(mut self) -> Segment {
        debug_assert_eq!(self.places, 2 * self.users, "each user has two lists");
        self.begin();
        self.bytes.resize(self.bytes.len() + PADDING, 0);
        Segment { bytes: self.bytes.into_boxed_slice(), users: self.users }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_two_lists_and_a_spoilt_buffer_is_refused() {
        let list = |others: &[u32], times: &[i64]| Entries {
            numbers: (0..others.len() as u64).collect(),
            others: others.to_vec(),
            times: times.to_vec(),
            next: others.len() as u64,
        };
        let mut builder = SegmentBuilder::new(2, 0);
        let lists = [list(&[7, 9], &[1, 2]), list(&[], &[]), list(&[], &[]), list(&[5], &[])];
        lists.iter().for_each(|it| builder.push(it));
        let segment = builder.finish();
        let read = Segment::new(segment.bytes().to_vec()).unwrap();
        assert_eq!((read.users(), read.bytes()), (2, segment.bytes()));
        for (place, expected) in lists.iter().enumerate() {
            let direction = Direction::BOTH[place % 2];
            let mut entries = Entries::default();
            let packed = read.list(place / 2, direction);
            packed.decode(direction.has_times(), &mut entries, |_| true);
            assert_eq!(&entries, expected);
        }
        assert_eq!(read.list(2, Direction::Following).len(), 0, "it has no third user");
        let mut builder = SegmentBuilder::new(2, 0);
        for user in 0..2 {
            Direction::BOTH.into_iter().for_each(|it| builder.copy(&read, user, it));
        }
        assert_eq!(builder.finish().bytes(), segment.bytes());
        for byte in 0..heads_bytes(2) {
            let mut bytes = segment.bytes().to_vec();
            bytes[byte] = bytes[byte].wrapping_add(77);
            assert!(Segment::new(bytes).is_none_or(|it| it.users() == 2), "byte {byte}");
        }
    }
}
