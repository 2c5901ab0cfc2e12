//! Cursors: "before edge number n of this very list".

use tidings_core::{
    ids::UserId,
    ports::{Cursor, GraphError},
};

use crate::hash::hash_bytes;

/// Until its format 3, the embedded graph numbered follows over the whole graph: cursors from then, which
/// were made without this, are refused.
const CURSOR_SEED: u64 = 0x6c69_7374_2d33;

/// Which list of a user a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    Followers,
    Following,
    Mutual,
    Common,
    Known,
    Blocks,
    Mutes,
}

impl ListKind {
    fn letter(self) -> char {
        match self {
            Self::Followers => 'r',
            Self::Following => 'g',
            Self::Mutual => 'm',
            Self::Common => 'c',
            Self::Known => 'k',
            Self::Blocks => 'b',
            Self::Mutes => 'u',
        }
    }
}

/// Whose list it is: a user's own, or that of a user and another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    One(&'a UserId),
    Pair(&'a UserId, &'a UserId),
}

impl Owner<'_> {
    fn hash(self, start: u64) -> u64 {
        let start = start ^ CURSOR_SEED;
        match self {
            Self::One(user) => hash_bytes(start, user.as_str().as_bytes()),
            Self::Pair(user, other) => {
                let start = hash_bytes(start, user.as_str().as_bytes());
                hash_bytes(start, other.as_str().as_bytes())
            }
        }
    }
}

/// Writes a cursor: the list's letter, the edge number in hexadecimal, and a check over list, user
/// and number, which tells the cursors of one list from those of another.
#[expect(clippy::expect_used, reason = "the text has at most 34 characters, all plain")]
pub(crate) fn encode(kind: ListKind, owner: Owner<'_>, before: u64) -> Cursor {
    let letter = kind.letter();
    let check = owner.hash(before ^ u64::from(u32::from(letter)) << 56);
    Cursor::new(format!("{letter}{before:x}-{check:016x}")).expect("a cursor is a cursor")
}

/// Reads what [`encode`] wrote for the same list of the same owner.
pub(crate) fn decode(kind: ListKind, owner: Owner<'_>, cursor: &Cursor) -> Result<u64, GraphError> {
    let number = |text: &str| {
        let (number, _) = text.strip_prefix(kind.letter())?.split_once('-')?;
        u64::from_str_radix(number, 16).ok()
    };
    let before = number(cursor.as_str()).ok_or(GraphError::BadCursor)?;
    // Written again, it has to be the same text: one cursor has one spelling.
    if encode(kind, owner, before) == *cursor { Ok(before) } else { Err(GraphError::BadCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_list_only_and_in_one_spelling() {
        let [a, b] = ["ann", "ben"].map(|id| UserId::new(id).unwrap());
        let (ann, ben) = (Owner::One(&a), Owner::One(&b));
        for before in [0, 1, 0xabc, u64::MAX] {
            let cursor = encode(ListKind::Followers, ann, before);
            assert_eq!(decode(ListKind::Followers, ann, &cursor).unwrap(), before);
            assert!(decode(ListKind::Followers, ben, &cursor).is_err());
            assert!(decode(ListKind::Following, ann, &cursor).is_err());
            assert!(decode(ListKind::Mutual, ann, &cursor).is_err());
            assert!(decode(ListKind::Blocks, ann, &cursor).is_err());
            assert!(decode(ListKind::Mutes, ann, &cursor).is_err());
            let text = cursor.as_str();
            for other in [text.to_uppercase(), text.replacen('r', "r0", 1), format!("{text}0")] {
                let other = Cursor::new(other).unwrap();
                assert!(decode(ListKind::Followers, ann, &other).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn the_text_of_a_cursor_does_not_change_between_versions() {
        let ann = UserId::new("ann").unwrap();
        let cursor = encode(ListKind::Following, Owner::One(&ann), 0x2a);
        assert_eq!(cursor.as_str(), "g2a-907716d944ed0541");
        // What the embedded graph gave for the same list before its format 3.
        let check = hash_bytes(0x2a ^ u64::from(u32::from('g')) << 56, b"ann");
        let old = Cursor::new(format!("g2a-{check:016x}")).unwrap();
        let refused = decode(ListKind::Following, Owner::One(&ann), &old);
        assert!(matches!(refused, Err(GraphError::BadCursor)));
    }
}
