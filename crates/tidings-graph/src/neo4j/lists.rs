//! Pages of lists, and questions about many users.

use std::cmp::Reverse;

use tidings_core::{
    clock::Timestamp,
    follow::{NeighbourSide, Neighbours},
    ids::UserId,
    ports::{Cursor, GraphError, Page},
};

use super::{
    cypher::Reads,
    error::Failure,
    row::{Row, count, id, ids, with},
    store::Neo4jGraphStore,
};
use crate::cursor::{self, ListKind, Owner};

/// Items on one page, whatever the caller asks for.
pub(super) const PAGE_ITEMS: usize = 10_000;
/// Edges that are looked at for one page of a list that has to be searched for.
const PAGE_WORK: usize = 32_768;
/// Edges that are looked at by the first query for such a page, and by any.
const PIECE_WORK: (usize, usize) = (128, 4_096);
/// Users that are asked about in one query.
const QUESTION_USERS: usize = 2_000;
/// Which list a page is read from, and for which operation.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) op: &'static str,
    pub(super) kind: ListKind,
    pub(super) owner: Owner<'a>,
}

impl<'a> List<'a> {
    fn user(&self) -> &'a UserId {
        let (Owner::One(user) | Owner::Pair(user, _)) = self.owner;
        user
    }

    /// The number before which the page begins; edge numbers are positive and fit `i64`.
    fn before(&self, cursor: Option<&Cursor>) -> Result<i64, GraphError> {
        let Some(cursor) = cursor else { return Ok(i64::MAX) };
        let before = cursor::decode(self.kind, self.owner, cursor)?;
        i64::try_from(before).map_err(|_| GraphError::BadCursor)
    }
}

/// What a query that searches has found.
struct Piece {
    /// Edges that it looked at.
    seen: usize,
    /// The oldest of them.
    last: Option<i64>,
    /// Edge numbers and users, newest first.
    hits: Vec<(i64, UserId)>,
}

fn read_piece(rows: Vec<Row>) -> Result<Piece, Failure> {
    let what = "piece of a list";
    let mut row = rows.into_iter().next().ok_or(Failure::Unreadable(what))?;
    let (seen, last) = (row.place(what)?, row.number_if_any(what)?);
    let mut hits = Vec::new();
    for mut hit in row.rows(what)?.into_iter().filter(Row::is_whole) {
        hits.push((hit.number("number of an edge")?, hit.user()?));
    }
    hits.sort_unstable_by_key(|it| Reverse(it.0));
    Ok(Piece { seen, last, hits })
}

/// Sets the answers whose places came back.
fn mark(rows: Vec<Row>, answers: &mut [bool]) -> Result<(), Failure> {
    let what = "answer about users";
    // Without the user who asks there is no row.
    for mut row in rows {
        for mut place in row.rows(what)? {
            let place = place.place(what)?;
            *answers.get_mut(place).ok_or(Failure::Unreadable(what))? = true;
        }
    }
    Ok(())
}

/// Puts the neighbours in the places of the users whose they are.
fn place(rows: Vec<Row>, answers: &mut [Neighbours]) -> Result<(), Failure> {
    let what = "neighbours of a user";
    for mut row in rows {
        let place = row.place(what)?;
        let answer = answers.get_mut(place).ok_or(Failure::Unreadable(what))?;
        answer.total = row.size(what)?;
        let users = row.rows(what)?.into_iter().filter(Row::is_whole).map(|mut it| it.user());
        answer.users = users.collect::<Result<_, _>>()?;
    }
    Ok(())
}

impl Neo4jGraphStore {
    /// Reads one page of a list that is kept as it is listed.
    pub(super) async fn page<T>(
        &self,
        list: List<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
        cypher: impl Fn(&Reads) -> &str + Send + 'static,
        item: impl Fn(UserId, Timestamp) -> T,
    ) -> Result<Page<T>, GraphError> {
        let before = list.before(cursor)?;
        let most = limit.min(PAGE_ITEMS);
        // One more than asked for tells whether there is more.
        let parameters = with([
            ("user", id(list.user())),
            ("before", before.into()),
            ("limit", count(most + 1)),
        ]);
        let rows = self.query(list.op, cypher, parameters).await?;
        let is_more = rows.len() > most;
        let read = || {
            let entry =
                |mut row: Row| Ok((row.size("number of an edge")?, row.user()?, row.time()?));
            rows.into_iter().filter(Row::is_whole).map(entry).collect::<Result<Vec<_>, Failure>>()
        };
        let mut entries = read().map_err(|failure| failure.behind(list.op))?;
        // As the query read them; but it does not promise to give them in this order.
        entries.sort_unstable_by_key(|it| Reverse(it.0));
        entries.truncate(most);
        let last = entries.last().map_or(before.cast_unsigned(), |it| it.0);
        let next = is_more.then(|| cursor::encode(list.kind, list.owner, last));
        Ok(Page { items: entries.into_iter().map(|(_, user, at)| item(user, at)).collect(), next })
    }

    /// Reads one page of those whom `user` follows and of whom `cypher` says that they are meant: a
    /// piece at a time, newest first.
    pub(super) async fn search(
        &self,
        list: List<'_>,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
        cypher: fn(&Reads) -> &str,
    ) -> Result<Page<UserId>, GraphError> {
        let mut before = list.before(cursor)?;
        let most = limit.min(PAGE_ITEMS);
        let mut items = Vec::new();
        let (mut piece, mut work) = (most.saturating_mul(2).clamp(PIECE_WORK.0, PIECE_WORK.1), 0);
        loop {
            let parameters = with([
                ("user", id(list.user())),
                ("other", id(other)),
                ("before", before.into()),
                ("limit", count(piece)),
            ]);
            let rows = self.query(list.op, cypher, parameters).await?;
            let found = read_piece(rows).map_err(|failure| failure.behind(list.op))?;
            work += piece;
            let room = most - items.len();
            let is_cut = found.hits.len() > room;
            for (number, user) in found.hits.into_iter().take(room) {
                before = number;
                items.push(user);
            }
            if !is_cut {
                before = found.last.unwrap_or(before);
                if found.seen < piece {
                    return Ok(Page { items, next: None });
                }
            }
            if items.len() >= most || work >= PAGE_WORK {
                let next = cursor::encode(list.kind, list.owner, before.cast_unsigned());
                return Ok(Page { items, next: Some(next) });
            }
            piece = (piece * 2).min(PIECE_WORK.1);
        }
    }

    /// Reads the newest neighbours of many users.
    pub(super) async fn neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        let op = "get_neighbours";
        let cypher: fn(&Reads) -> &str = match side {
            NeighbourSide::Following => |reads| &reads.neighbours_following,
            NeighbourSide::Followers => |reads| &reads.neighbours_followers,
        };
        let mut answers = vec![Neighbours::default(); users.len()];
        let pieces = users.chunks(QUESTION_USERS).zip(answers.chunks_mut(QUESTION_USERS));
        for (users, answers) in pieces {
            let parameters = with([
                ("users", ids(users)),
                ("before", i64::MAX.into()),
                ("limit", count(most.min(PAGE_ITEMS))),
            ]);
            let rows = self.query(op, cypher, parameters).await?;
            place(rows, answers).map_err(|failure| failure.behind(op))?;
        }
        Ok(answers)
    }

    /// Asks about many users; one answer each, in their order.
    pub(super) async fn ask(
        &self,
        op: &'static str,
        about: (&'static str, &UserId),
        others: &[UserId],
        cypher: fn(&Reads) -> &str,
    ) -> Result<Vec<bool>, GraphError> {
        let mut answers = vec![false; others.len()];
        let pieces = others.chunks(QUESTION_USERS).zip(answers.chunks_mut(QUESTION_USERS));
        for (others, answers) in pieces {
            let parameters = with([(about.0, id(about.1)), ("others", ids(others))]);
            let rows = self.query(op, cypher, parameters).await?;
            mark(rows, answers).map_err(|failure| failure.behind(op))?;
        }
        Ok(answers)
    }
}
