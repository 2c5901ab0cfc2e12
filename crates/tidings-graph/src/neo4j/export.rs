//! The whole graph, page by page: by kind, then by source, then by edge number.

use neo4j::ValueSend;
use tidings_core::{
    follow::{Edge, EdgeKind},
    ports::{Cursor, GraphError, Page},
};

use super::{
    bolt::{Bolt, Deadline},
    cypher::{KINDS, Reads, slot},
    error::Failure,
    row::{Row, count, with},
};

/// A place in the whole graph: from this edge on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    kind: EdgeKind,
    source: i64,
    number: i64,
}

impl Place {
    pub(super) const START: Self = Self { kind: EdgeKind::Follow, source: -1, number: 0 };

    fn start_of(kind: EdgeKind) -> Self {
        Self { kind, ..Self::START }
    }

    #[expect(clippy::expect_used, reason = "the text has at most 37 characters, all plain")]
    fn encode(self) -> Cursor {
        let Self { kind, source, number } = self;
        let letter = match kind {
            EdgeKind::Follow => 'f',
            EdgeKind::Block => 'b',
            EdgeKind::Mute => 'm',
        };
        Cursor::new(format!("x{letter}{source:x}-{number:x}")).expect("a cursor is a cursor")
    }

    /// Reads what a page of an export gave.
    pub(super) fn decode(cursor: &Cursor) -> Result<Self, GraphError> {
        let place = |text: &str| {
            let (kind, rest) = text.strip_prefix('x')?.split_at_checked(1)?;
            let kind = match kind {
                "f" => EdgeKind::Follow,
                "b" => EdgeKind::Block,
                "m" => EdgeKind::Mute,
                _ => return None,
            };
            let (source, number) = rest.split_once('-')?;
            let source = i64::from_str_radix(source, 16).ok()?;
            Some(Self { kind, source, number: i64::from_str_radix(number, 16).ok()? })
        };
        let place = place(cursor.as_str()).ok_or(GraphError::BadCursor)?;
        // Written again, it has to be the same text: one cursor has one spelling.
        if place.encode() == *cursor { Ok(place) } else { Err(GraphError::BadCursor) }
    }
}

/// Reads up to `limit` edges from `place` on.
pub(super) fn page(
    bolt: &Bolt,
    reads: &Reads,
    mut place: Place,
    limit: usize,
    deadline: Deadline,
) -> Result<Page<Edge>, Failure> {
    let mut items = Vec::new();
    let kinds = KINDS.into_iter().skip(slot(place.kind));
    for kind in kinds {
        if place.kind != kind {
            place = Place::start_of(kind);
        }
        let in_source = (&reads.export_source[slot(kind)], place.source >= 0);
        let after = (&reads.export_after[slot(kind)], true);
        for (cypher, _) in [in_source, after].into_iter().filter(|it| it.1) {
            let left = limit - items.len();
            let parameters = with([
                ("source", ValueSend::Integer(place.source)),
                ("number", ValueSend::Integer(place.number)),
                ("limit", count(left)),
            ]);
            let rows = bolt.query("export_edges", cypher, &parameters, deadline)?;
            let is_full = rows.len() >= left;
            for row in rows.into_iter().filter(Row::is_whole) {
                let (edge, next) = edge(kind, row)?;
                items.push(edge);
                place = next;
            }
            if is_full {
                return Ok(Page { items, next: Some(place.encode()) });
            }
        }
    }
    Ok(Page { items, next: None })
}

/// An edge, and the place after it.
fn edge(kind: EdgeKind, mut row: Row) -> Result<(Edge, Place), Failure> {
    let (source, number) = (row.number("source of an edge")?, row.number("number of an edge")?);
    let edge = Edge { kind, source: row.user()?, target: row.user()?, at: row.time()? };
    Ok((edge, Place { kind, source, number: number.saturating_add(1) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        for kind in KINDS {
            let place = Place { kind, source: 0x1f, number: i64::MAX };
            assert_eq!(Place::decode(&place.encode()).unwrap(), place);
        }
        assert_eq!(Place { source: 10, ..Place::START }.encode().as_str(), "xfa-0");
        for text in ["x", "xf", "xfA-0", "xfa-00", "xqa-0", "xf-0", "fa-0", "xfa-0-0"] {
            let cursor = Cursor::new(text.to_owned()).unwrap();
            assert!(Place::decode(&cursor).is_err(), "{text}");
        }
    }
}
