//! What one commit changes, as it is applied and as the log holds it.

use tidings_core::{clock::Timestamp, follow::EdgeKind, ids::UserId};

use super::{
    bits::{put_varint, take_bytes, take_u32, take_varint, to_usize, unzigzag, zigzag},
    digest::Digest,
    index::{Edge, Index, UserNumber},
    interner::take_text,
};

/// What the last commit left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) commits: u64,
    /// The number of the next block or mute.
    pub(super) next_number: u64,
    /// Users who were numbered.
    pub(super) users: u64,
    /// Of those, the ones who are forgotten.
    pub(super) forgotten: u64,
    pub(super) follows: u64,
    pub(super) blocks: u64,
    pub(super) mutes: u64,
    pub(super) digest: Digest,
}

/// Bytes that a state takes.
pub(super) const STATE_BYTES: usize = 64;

impl State {
    pub(super) fn encode(&self) -> [u8; STATE_BYTES] {
        let Self { commits, next_number, users, forgotten, follows, blocks, mutes, digest } = *self;
        let fields = [commits, next_number, users, forgotten, follows, blocks, mutes, digest.0];
        let mut bytes = [0; STATE_BYTES];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != STATE_BYTES {
            return None;
        }
        let mut fields = [0; 8];
        for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_be_bytes(*place.first_chunk()?);
        }
        let [commits, next_number, users, forgotten, follows, blocks, mutes, digest] = fields;
        let digest = Digest(digest);
        Some(Self { commits, next_number, users, forgotten, follows, blocks, mutes, digest })
    }

    /// How many edges of a kind there are.
    fn edges(&mut self, kind: EdgeKind) -> &mut u64 {
        match kind {
            EdgeKind::Follow => &mut self.follows,
            EdgeKind::Block => &mut self.blocks,
            EdgeKind::Mute => &mut self.mutes,
        }
    }

    /// The state after one more commit.
    pub(super) fn after(mut self, commit: &Commit) -> Self {
        self.commits += 1;
        self.next_number = commit.next_number;
        for id in &commit.new_users {
            let number = u32::try_from(self.users).unwrap_or(u32::MAX);
            self.digest.add_user(number, id.as_str());
            self.users += 1;
        }
        for edge in &commit.removed {
            self.digest.remove_edge(edge);
            let edges = self.edges(edge.kind);
            *edges = edges.wrapping_sub(1);
        }
        for edge in &commit.added {
            self.digest.add_edge(edge);
            *self.edges(edge.kind) += 1;
        }
        for user in &commit.forgotten {
            self.digest.remove_user(user.hash);
            self.forgotten += 1;
        }
        self
    }
}

/// A user whose id goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forgotten {
    pub(super) user: UserNumber,
    /// What the user added to the digest; the log does not repeat the id.
    pub(super) hash: u64,
}

/// The changes of one commit, in the order in which they are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// Users to number, in order, after those of the index.
    pub(super) new_users: Vec<UserId>,
    /// Edges of the index to remove.
    pub(super) removed: Vec<Edge>,
    /// Edges to add, in their order.
    pub(super) added: Vec<Edge>,
    pub(super) forgotten: Vec<Forgotten>,
    /// The number of the next block or mute after it.
    pub(super) next_number: u64,
}

impl Commit {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.new_users.is_empty()
            && self.removed.is_empty()
            && self.added.is_empty()
            && self.forgotten.is_empty()
    }

    /// Makes all changes at once.
    pub(super) fn apply(&self, index: &mut Index) {
        self.new_users.iter().for_each(|id| index.add_user(id.as_str()));
        self.removed.iter().for_each(|edge| index.remove(edge));
        self.added.iter().for_each(|edge| index.add(edge));
        self.forgotten.iter().for_each(|it| index.forget_user(it.user));
    }

    /// The commit and the state after it, as the log holds them.
    pub(super) fn encode(&self, state: &State) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_BYTES + 64 + 20 * self.added.len());
        bytes.extend_from_slice(&state.encode());
        put_varint(&mut bytes, self.new_users.len() as u64);
        for id in &self.new_users {
            put_varint(&mut bytes, id.as_str().len() as u64);
            bytes.extend_from_slice(id.as_str().as_bytes());
        }
        for edges in [&self.removed, &self.added] {
            put_varint(&mut bytes, edges.len() as u64);
            let mut last = 0;
            for edge in edges {
                put_edge(&mut bytes, edge, last);
                last = edge.at.as_millis();
            }
        }
        put_varint(&mut bytes, self.forgotten.len() as u64);
        for Forgotten { user, hash } in &self.forgotten {
            put_varint(&mut bytes, u64::from(*user));
            bytes.extend_from_slice(&hash.to_be_bytes());
        }
        bytes
    }

    /// What [`Commit::encode`] wrote; `None` if it is not that.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<(Self, State)> {
        let bytes = &mut bytes;
        let state = State::decode(take_bytes(bytes, STATE_BYTES)?)?;
        let mut commit = Self { next_number: state.next_number, ..Self::default() };
        for _ in 0..take_varint(bytes)? {
            commit.new_users.push(UserId::new(take_text(bytes)?).ok()?);
        }
        for edges in [&mut commit.removed, &mut commit.added] {
            let count = to_usize(take_varint(bytes)?);
            edges.reserve(count.min(bytes.len()));
            let mut last = 0;
            for _ in 0..count {
                let edge = take_edge(bytes, last)?;
                last = edge.at.as_millis();
                edges.push(edge);
            }
        }
        for _ in 0..take_varint(bytes)? {
            let user = take_u32(bytes)?;
            let hash = u64::from_be_bytes(*take_bytes(bytes, 8)?.first_chunk()?);
            commit.forgotten.push(Forgotten { user, hash });
        }
        bytes.is_empty().then_some((commit, state))
    }

    /// Whether all users that it names are among so many, which it adds to first.
    pub(super) fn is_about(&self, users: usize) -> bool {
        let users = users + self.new_users.len();
        let is_user = |user: UserNumber| (user as usize) < users;
        self.removed.iter().chain(&self.added).all(|it| is_user(it.source) && is_user(it.target))
            && self.forgotten.iter().all(|it| is_user(it.user))
    }
}

const KINDS: [EdgeKind; 3] = [EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute];

/// Times are written as what they are later than the one before: edges come in the order of time.
fn put_edge(bytes: &mut Vec<u8>, edge: &Edge, last: i64) {
    let kind = KINDS.iter().position(|it| *it == edge.kind).unwrap_or(0);
    let is_numbered = edge.numbers != [0; 2];
    bytes.push(u8::try_from(kind).unwrap_or(0) | if is_numbered { NUMBERED } else { 0 });
    put_varint(bytes, u64::from(edge.source));
    put_varint(bytes, u64::from(edge.target));
    put_varint(bytes, zigzag(edge.at.as_millis() - last));
    if is_numbered {
        edge.numbers.iter().for_each(|it| put_varint(bytes, *it));
    }
}

/// The two numbers follow; else they are zero.
const NUMBERED: u8 = 0x80;

fn take_edge(bytes: &mut &[u8], last: i64) -> Option<Edge> {
    let head = *take_bytes(bytes, 1)?.first()?;
    let kind = *KINDS.get(usize::from(head & !NUMBERED))?;
    let (source, target) = (take_u32(bytes)?, take_u32(bytes)?);
    let at = Timestamp::from_millis(last.checked_add(unzigzag(take_varint(bytes)?))?);
    let mut numbers = [0; 2];
    if head & NUMBERED != 0 {
        numbers = [take_varint(bytes)?, take_varint(bytes)?];
    }
    Some(Edge { kind, source, target, at, numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let edge = |kind, at, numbers| {
            let at = Timestamp::from_millis(at);
            Edge { kind, source: 1, target: u32::MAX, at, numbers }
        };
        let commit = Commit {
            new_users: vec![UserId::new("ann").unwrap(), UserId::new("\u{1f600}").unwrap()],
            removed: vec![edge(EdgeKind::Follow, 5, [0, 7]), edge(EdgeKind::Mute, 2, [9, 0])],
            added: vec![edge(EdgeKind::Follow, i64::MAX, [0; 2]), edge(EdgeKind::Block, 0, [8, 0])],
            forgotten: vec![Forgotten { user: 3, hash: u64::MAX }],
            next_number: 10,
        };
        let before = State { follows: 1, mutes: 1, users: 5, ..State::default() };
        let state = before.after(&commit);
        assert_eq!((state.users, state.forgotten, state.commits), (7, 1, 1));
        assert_eq!((state.follows, state.blocks, state.mutes, state.next_number), (1, 1, 0, 10));
        let bytes = commit.encode(&state);
        assert_eq!(Commit::decode(&bytes), Some((commit.clone(), state)));
        for length in 0..bytes.len() {
            assert_eq!(Commit::decode(&bytes[..length]), None);
        }
        assert_eq!(Commit::decode(&[&bytes[..], b"x"].concat()), None);
        assert!(!commit.is_about(1_000) && !commit.is_empty() && Commit::default().is_empty());
    }
}
