//! Cursors: "before edge number n of this very list".

use tidings_core::{
    ids::UserId,
    ports::{Cursor, GraphError},
};

use super::digest::hash_bytes;

/// Which list of a user a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Followers,
    Following,
    Mutual,
    Blocks,
    Mutes,
}

impl ListKind {
    fn letter(self) -> char {
        match self {
            Self::Followers => 'r',
            Self::Following => 'g',
            Self::Mutual => 'm',
            Self::Blocks => 'b',
            Self::Mutes => 'u',
        }
    }
}

/// Writes a cursor: the list's letter, the edge number in hexadecimal, and a check over list, user
/// and number, which tells the cursors of one list from those of another.
#[expect(clippy::expect_used, reason = "the text has at most 34 characters, all plain")]
pub(super) fn encode(kind: ListKind, user: &UserId, before: u64) -> Cursor {
    let letter = kind.letter();
    let check = hash_bytes(before ^ u64::from(u32::from(letter)) << 56, user.as_str().as_bytes());
    Cursor::new(format!("{letter}{before:x}-{check:016x}")).expect("a cursor is a cursor")
}

/// Reads what [`encode`] wrote for the same list of the same user.
pub(super) fn decode(kind: ListKind, user: &UserId, cursor: &Cursor) -> Result<u64, GraphError> {
    let number = |text: &str| {
        let (number, _) = text.strip_prefix(kind.letter())?.split_once('-')?;
        u64::from_str_radix(number, 16).ok()
    };
    let before = number(cursor.as_str()).ok_or(GraphError::BadCursor)?;
    // Written again, it has to be the same text: one cursor has one spelling.
    if encode(kind, user, before) == *cursor { Ok(before) } else { Err(GraphError::BadCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_list_only_and_in_one_spelling() {
        let [ann, ben] = ["ann", "ben"].map(|id| UserId::new(id).unwrap());
        for before in [0, 1, 0xabc, u64::MAX] {
            let cursor = encode(ListKind::Followers, &ann, before);
            assert_eq!(decode(ListKind::Followers, &ann, &cursor).unwrap(), before);
            assert!(decode(ListKind::Followers, &ben, &cursor).is_err());
            assert!(decode(ListKind::Following, &ann, &cursor).is_err());
            assert!(decode(ListKind::Mutual, &ann, &cursor).is_err());
            assert!(decode(ListKind::Blocks, &ann, &cursor).is_err());
            assert!(decode(ListKind::Mutes, &ann, &cursor).is_err());
            let text = cursor.as_str();
            for other in [text.to_uppercase(), text.replacen('r', "r0", 1), format!("{text}0")] {
                let other = Cursor::new(other).unwrap();
                assert!(decode(ListKind::Followers, &ann, &other).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn the_text_of_a_cursor_does_not_change_between_versions() {
        let ann = UserId::new("ann").unwrap();
        let cursor = encode(ListKind::Following, &ann, 0x2a);
        assert!(cursor.as_str().starts_with("g2a-"), "{cursor}");
    }
}
