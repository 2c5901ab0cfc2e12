//! Cursors: those of lists, which all stores share, and those of an export.

use tidings_core::ports::{Cursor, GraphError};

pub(super) use crate::cursor::{ListKind, Owner, decode, encode};

use super::{
    index::{EdgeKind, UserNumber},
    pages::Place,
};

impl Place {
    /// Writes a cursor of an export.
    #[expect(clippy::expect_used, reason = "the text has at most 29 characters, all plain")]
    pub(super) fn encode(self) -> Cursor {
        let Self { kind, source, number } = self;
        let letter = match kind {
            EdgeKind::Follow => 'f',
            EdgeKind::Block => 'b',
            EdgeKind::Mute => 'm',
        };
        Cursor::new(format!("y{letter}{source:x}-{number:x}")).expect("a cursor is a cursor")
    }

    /// Reads what [`Place::encode`] wrote.
    pub(super) fn decode(cursor: &Cursor) -> Result<Self, GraphError> {
        let place = |text: &str| {
            let (kind, rest) = text.strip_prefix('y')?.split_at_checked(1)?;
            let kind = match kind {
                "f" => EdgeKind::Follow,
                "b" => EdgeKind::Block,
                "m" => EdgeKind::Mute,
                _ => return None,
            };
            let (source, number) = rest.split_once('-')?;
            let source = UserNumber::from_str_radix(source, 16).ok()?;
            Some(Self { kind, source, number: u64::from_str_radix(number, 16).ok()? })
        };
        let place = place(cursor.as_str()).ok_or(GraphError::BadCursor)?;
        if place.encode() == *cursor { Ok(place) } else { Err(GraphError::BadCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_an_export_of_an_earlier_format_is_refused() {
        let old = Cursor::new("xf0-0".to_owned()).unwrap();
        assert!(matches!(Place::decode(&old), Err(GraphError::BadCursor)));
    }
}
