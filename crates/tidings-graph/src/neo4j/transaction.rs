//! The steps of a transaction that writes.
#![expect(clippy::result_large_err, reason = "the error is the driver's, and so is its size")]

use neo4j::{Neo4jError, ValueSend, transaction::Transaction};
use tidings_core::{follow::EdgeKind, ids::UserId};

use super::{
    bolt::run,
    cypher::{KINDS, Writes, slot},
    error::Failure,
    plan::{Plan, Question},
    row::{Row, count, id, ids, with},
};

/// A step's answer; within, what is wrong with what was read.
pub(super) type Step<T> = Result<Result<T, Failure>, Neo4jError>;

/// What the lock gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    /// The first of the edge numbers that were taken.
    pub(super) first_edge: i64,
    /// The first of the user numbers that were taken.
    pub(super) first_user: i64,
    /// The last group that this writer has committed.
    pub(super) last_group: Option<i64>,
}

/// What the lock is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lock<'a> {
    pub(super) writer: &'a str,
    pub(super) group: i64,
    /// Edge numbers to take; those that are not used are left out for ever.
    pub(super) edges: usize,
    /// User numbers to take.
    pub(super) users: usize,
}

/// Locks the graph until the transaction ends. Has to be its first step.
pub(super) fn lock<'t>(
    transaction: &'t Transaction<'_, 't>,
    writes: &Writes,
    lock: Lock<'_>,
) -> Step<Locked> {
    let parameters = with([
        ("writer", lock.writer.into()),
        ("group", ValueSend::Integer(lock.group)),
        ("edges", count(lock.edges)),
        ("users", count(lock.users)),
    ]);
    let rows = run(transaction, &writes.lock, &parameters)?;
    Ok(locked(rows, lock))
}

fn locked(rows: Vec<Row>, lock: Lock<'_>) -> Result<Locked, Failure> {
    let what = "edge counter";
    let mut row = rows.into_iter().next().ok_or(Failure::Unreadable(what))?;
    let before = |next: i64, taken: usize| {
        let taken = i64::try_from(taken).ok()?;
        next.checked_sub(taken)
    };
    let (edges, users) = (row.number(what)?, row.number("user counter")?);
    Ok(Locked {
        first_edge: before(edges, lock.edges).ok_or(Failure::Unreadable(what))?,
        first_user: before(users, lock.users).ok_or(Failure::Unreadable(what))?,
        last_group: row.number_if_any("last group")?,
    })
}

/// Reads what a plan has to know.
pub(super) fn find<'t, 'q>(
    transaction: &'t Transaction<'_, 't>,
    writes: &Writes,
    question: &'q Question,
    locked: Locked,
) -> Step<Plan<'q>> {
    let pairs = |kind| {
        let pair = |(source, target)| ValueSend::List(vec![count(source), count(target)]);
        ValueSend::List(question.pairs(kind).map(pair).collect())
    };
    let parameters = with([
        ("ids", ids(question.names())),
        ("follows", pairs(EdgeKind::Follow)),
        ("blocks", pairs(EdgeKind::Block)),
        ("mutes", pairs(EdgeKind::Mute)),
    ]);
    let rows = run(transaction, &writes.find, &parameters)?;
    Ok(known(rows, question, locked))
}

fn known(rows: Vec<Row>, question: &Question, locked: Locked) -> Result<Plan<'_>, Failure> {
    let what = "state of a group";
    let mut row = rows.into_iter().next().ok_or(Failure::Unreadable(what))?;
    let mut plan = Plan::new(question, locked.first_user, locked.first_edge);
    for mut user in row.rows(what)? {
        let (place, number) = (user.place(what)?, user.number("number of a user")?);
        plan.know_user(place, number).ok_or(Failure::Unreadable(what))?;
    }
    for kind in KINDS {
        for mut pair in row.rows(what)? {
            plan.know_edge(kind, pair.place(what)?, pair.place(what)?);
        }
    }
    Ok(plan)
}

/// Writes what is planned.
pub(super) fn write<'t>(
    transaction: &'t Transaction<'_, 't>,
    writes: &Writes,
    question: &Question,
    plan: &Plan<'_>,
) -> Result<(), Neo4jError> {
    let list = ValueSend::List;
    for kind in KINDS {
        let pair =
            |(source, target)| list(vec![ValueSend::Integer(source), ValueSend::Integer(target)]);
        let pairs: Vec<_> = plan.removed(kind).map(pair).collect();
        if !pairs.is_empty() {
            run(transaction, &writes.remove[slot(kind)], &with([("pairs", list(pairs))]))?;
        }
    }
    let user = |(place, number)| list(vec![count(place), ValueSend::Integer(number)]);
    let users: Vec<_> = plan.new_users().map(user).collect();
    if !users.is_empty() {
        let parameters = with([("ids", ids(question.names())), ("users", list(users))]);
        run(transaction, &writes.add_users, &parameters)?;
    }
    for kind in KINDS {
        let edges = plan.added().filter(|edge| edge.kind == kind).map(|edge| {
            list(vec![
                count(edge.source),
                count(edge.target),
                ValueSend::Integer(edge.number),
                ValueSend::Integer(edge.at.as_millis()),
            ])
        });
        let edges: Vec<_> = edges.collect();
        if !edges.is_empty() {
            let parameters = with([("ids", ids(question.names())), ("edges", list(edges))]);
            run(transaction, &writes.add[slot(kind)], &parameters)?;
        }
    }
    Ok(())
}

/// Removes up to `most` of a user's edges, and the user with the last; says how many are gone.
pub(super) fn erase<'t>(
    transaction: &'t Transaction<'_, 't>,
    writes: &Writes,
    user: &UserId,
    most: usize,
) -> Step<u64> {
    let parameters = with([("user", id(user)), ("limit", count(most))]);
    let rows = run(transaction, &writes.erase, &parameters)?;
    let what = "number of erased edges";
    let gone = rows.into_iter().next().ok_or(Failure::Unreadable(what));
    let gone = match gone.and_then(|mut row| row.size(what)) {
        Ok(gone) => gone,
        Err(failure) => return Ok(Err(failure)),
    };
    // Nobody else writes meanwhile: whoever has fewer has none left.
    if gone < most as u64 {
        run(transaction, &writes.forget, &with([("user", id(user))]))?;
    }
    Ok(Ok(gone))
}
