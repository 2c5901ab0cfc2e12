//! Erasing a user, step by step.

use std::ops::ControlFlow;

use tidings_core::ids::UserId;

use super::{
    commit::Forgotten,
    digest::hash_user,
    group::Group,
    index::{Edge, EdgeKind, Index, UserNumber},
    segment::Direction,
};

/// Edges that one step takes out. A step is planned under one lock.
const STEP_EDGES: usize = 32;
/// Entries that one step looks at, those included that are gone already: who wants to change the index
/// meanwhile, and the readers behind, wait for that.
const STEP_WORK: usize = 1_024;
/// Entries of another's list that are looked through in about the time that one takes here.
const SCANNED: usize = 1_024;
/// Steps of one command, at most: after those, other commands have their turn.
pub(super) const STEPS: usize = 8;
/// Entries that one command looks at before they have it.
pub(super) const COMMAND_WORK: usize = 4 * STEP_WORK;
/// Edges that one command takes out, at most.
pub(super) const ERASED_EDGES: usize = STEPS * STEP_EDGES;

/// Where the erasure of a user has come to.
///
/// Without it each step would walk over everything again that those before it have taken out, since a
/// list keeps what is gone until a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erasure {
    /// Nothing was looked at.
    Begun,
    /// On its way through the user's lists, whom they follow first.
    Under(UserNumber, [Span; 2]),
    /// The user is not known, or no longer.
    Done,
}

/// Entries of a list that an erasure has to look at, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// What has a number below is gone.
    from: u64,
    /// What has this number or one above is gone, or has come since.
    before: u64,
    /// What has come since has this number or one above.
    next: u64,
}

impl Span {
    fn is_through(&self) -> bool {
        self.before <= self.from
    }
}

/// What one step of an erasure has done.
#[derive(Debug)]
pub(super) struct Step {
    /// Edges that it takes out.
    pub(super) edges: u64,
    /// Entries that it looked at.
    pub(super) work: usize,
    /// Where it came to.
    pub(super) erasure: Erasure,
}

impl Step {
    fn none(erasure: Erasure) -> Self {
        Self { edges: 0, work: 0, erasure }
    }
}

impl Index {
    /// The entries of the user's lists with these numbers and above.
    fn spans(&self, user: UserNumber, from: [u64; 2]) -> [Span; 2] {
        let [following, followers] = Direction::BOTH.map(|it| self.list(user, it).next());
        let [first, second] = from;
        [(first, following), (second, followers)].map(|(from, next)| Span {
            from,
            before: next,
            next,
        })
    }

    /// Looks at entries of a span, the newest first, and appends their follows, of which there are
    /// [`STEP_EDGES`] at most; gives how many entries it looked at.
    fn follows_in(
        &self,
        (user, direction): (UserNumber, Direction),
        span: &mut Span,
        most_work: usize,
        edges: &mut Vec<Edge>,
    ) -> usize {
        let mut is_through = false;
        let reached = self.list(user, direction).walk(span.before, most_work, |entry| {
            is_through = entry.number < span.from;
            if is_through || edges.len() >= STEP_EDGES {
                return ControlFlow::Break(());
            }
            let found = self.follow_of((user, direction), (entry.other, entry.number));
            let Some((edge, looked)) = found else { return ControlFlow::Continue(0) };
            edges.push(edge);
            ControlFlow::Continue(looked / SCANNED)
        });
        is_through |= reached.end;
        span.before = if is_through { span.from } else { reached.before };
        reached.work
    }

    /// Whether the user has any edge.
    fn has_edges(&self, user: UserNumber) -> bool {
        let aversions = [EdgeKind::Block, EdgeKind::Mute].map(|kind| self.aversions(kind));
        Direction::BOTH.into_iter().any(|it| self.list(user, it).len() > 0)
            || aversions.into_iter().flatten().any(|it| it.has_source(user) || it.has_target(user))
    }
}

impl Group {
    /// Takes the next edges of a user out, follows first. Only edges of the index: what the same group
    /// adds is found by a later command. When nothing is left, the user is forgotten.
    pub(super) fn erase(&mut self, index: &Index, id: &UserId, erasure: Erasure) -> Step {
        let Some(user) = index.user(id) else {
            // Whose first edge comes with this group is known once that is committed.
            let erasure = if self.is_new(id) { Erasure::Begun } else { Erasure::Done };
            return Step::none(erasure);
        };
        let mut spans = match erasure {
            Erasure::Begun => index.spans(user, [0; 2]),
            Erasure::Under(erased, spans) if erased == user => spans,
            // Who has come back under the id is somebody else.
            Erasure::Under(..) | Erasure::Done => return Step::none(Erasure::Done),
        };
        if self.is_forgotten(user) {
            return Step::none(Erasure::Done);
        }
        let (mut edges, mut work) = (Vec::new(), 0);
        for (direction, span) in Direction::BOTH.into_iter().zip(&mut spans) {
            if !span.is_through() && work < STEP_WORK {
                work += index.follows_in((user, direction), span, STEP_WORK - work, &mut edges);
            }
        }
        let mut gone: usize = edges.into_iter().map(|edge| usize::from(self.take(edge))).sum();
        if spans.iter().all(Span::is_through) && work < STEP_WORK {
            let taken = self.take_aversions(index, user, STEP_EDGES - gone);
            work += taken;
            gone += taken;
            if gone == 0 {
                return self.end_pass(index, (user, id), spans, work);
            }
        }
        Step { edges: gone as u64, work, erasure: Erasure::Under(user, spans) }
    }

    /// Takes up to `most` blocks and mutes out: those that another command of the group has taken are
    /// left to it.
    fn take_aversions(&mut self, index: &Index, user: UserNumber, most: usize) -> usize {
        let mut taken = 0;
        for kind in [EdgeKind::Block, EdgeKind::Mute] {
            let Some(aversions) = index.aversions(kind) else { continue };
            let pairs = aversions.pairs_of(user);
            let pairs = pairs.filter(|(source, target)| !self.is_touched(kind, *source, *target));
            let pairs: Vec<_> = pairs.take(most - taken).collect();
            let edges =
                pairs.iter().filter_map(|(source, target)| index.find(kind, *source, *target));
            taken += edges.map(|edge| usize::from(self.take(edge))).sum::<usize>();
        }
        taken
    }

    /// Forgets a user who has no edges left; else another pass is to take what has come meanwhile, or
    /// what another command of the group is taking out.
    fn end_pass(
        &mut self,
        index: &Index,
        (user, id): (UserNumber, &UserId),
        spans: [Span; 2],
        work: usize,
    ) -> Step {
        let mut erasure = Erasure::Under(user, index.spans(user, spans.map(|it| it.next)));
        if !index.has_edges(user) && !self.adds_edge_of(user) {
            self.forget(Forgotten { user, hash: hash_user(user, id.as_str()) });
            erasure = Erasure::Done;
        }
        Step { edges: 0, work, erasure }
    }
}

/// All follows of a user, at either end.
#[cfg(test)]
pub(super) fn follows_of(index: &Index, user: UserNumber) -> Vec<Edge> {
    let mut follows = Vec::new();
    for (direction, mut span) in Direction::BOTH.into_iter().zip(index.spans(user, [0; 2])) {
        while !span.is_through() {
            let mut edges = Vec::new();
            index.follows_in((user, direction), &mut span, STEP_WORK, &mut edges);
            follows.append(&mut edges);
        }
    }
    follows
}

#[cfg(test)]
mod tests {
    use tidings_core::{clock::Timestamp, follow};

    use super::*;
    use crate::embedded::{group::Command, merge::settle};

    fn id(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn commit(index: &mut Index, plan: impl FnOnce(&mut Group, &Index)) {
        let next_number = index.stats().blocks + index.stats().mutes + 1;
        let mut group = Group::new(next_number, 1_000_000);
        plan(&mut group, index);
        group.into_commit().apply(index);
    }

    fn add(index: &mut Index, edges: impl Iterator<Item = (EdgeKind, String, String)>) {
        let at = Timestamp::from_millis(1);
        let edge = |(kind, source, target): (_, String, String)| follow::Edge {
            kind,
            source: id(&source),
            target: id(&target),
            at,
        };
        let edges = edges.map(edge).collect();
        commit(index, |group, index| _ = group.plan(index, &Command::Import(edges)).unwrap());
    }

    fn fans(range: std::ops::Range<u32>) -> impl Iterator<Item = (EdgeKind, String, String)> {
        range.map(|n| (EdgeKind::Follow, format!("fan{n}"), "star".to_owned()))
    }

    /// Makes steps, a commit each, until the erasure is done; gives the edges that are gone and the
    /// entries that were looked at.
    fn erase(
        index: &mut Index,
        user: &str,
        mut between: impl FnMut(&mut Index, u32),
    ) -> (u64, usize) {
        let (mut edges, mut work, mut erasure) = (0, 0, Erasure::Begun);
        for number in 0.. {
            commit(index, |group, index| {
                let step = group.erase(index, &id(user), erasure);
                assert!(step.edges <= STEP_EDGES as u64 && step.work <= STEP_WORK + STEP_EDGES);
                edges += step.edges;
                work += step.work;
                erasure = step.erasure;
            });
            if erasure == Erasure::Done {
                break;
            }
            between(index, number);
        }
        (edges, work)
    }

    #[test]
    fn an_erasure_looks_at_each_entry_once_however_many_there_are() {
        for packed in [false, true] {
            let mut index = Index::default();
            add(&mut index, fans(0..10_000));
            if packed {
                settle(&mut index);
            }
            let (edges, work) = erase(&mut index, "star", |_, _| ());
            assert_eq!(edges, 10_000);
            assert!(work <= 11_000, "{work} entries were looked at");
            assert_eq!((index.stats().follows, index.user(&id("star"))), (0, None));
        }
    }

    #[test]
    fn entries_that_were_gone_before_count_as_looked_at() {
        let mut index = Index::default();
        add(&mut index, fans(0..10_000));
        settle(&mut index);
        commit(&mut index, |group, index| {
            for n in 1..10_000 {
                let [source, target] = [&format!("fan{n}"), "star"].map(id);
                let command = Command::Remove { kind: EdgeKind::Follow, source, target };
                assert_eq!(group.plan(index, &command).unwrap(), 1);
            }
        });
        let mut steps = 0;
        let (edges, work) = erase(&mut index, "star", |_, _| steps += 1);
        assert_eq!((edges, work), (1, 10_000));
        assert!((10..=12).contains(&steps), "{steps} steps");
    }

    #[test]
    fn what_comes_while_a_user_is_erased_goes_too_and_checkpoints_do_no_harm() {
        let mut index = Index::default();
        add(&mut index, fans(0..500));
        let averted = |kind, n: u32| (kind, format!("foe{n}"), "star".to_owned());
        add(&mut index, (0..100).map(|n| averted(EdgeKind::Block, n)));
        add(&mut index, (0..100).map(|n| averted(EdgeKind::Mute, n)));
        add(&mut index, (0..90).map(|n| (EdgeKind::Follow, "star".to_owned(), format!("idol{n}"))));
        let (edges, work) = erase(&mut index, "star", |index, number| match number {
            3 => settle(index),
            5 | 11 => add(index, fans(1_000 + 10 * number..1_010 + 10 * number)),
            _ => {}
        });
        assert_eq!(edges, 500 + 200 + 90 + 20);
        assert!(work <= 2_000, "{work} entries were looked at");
        let stats = index.stats();
        assert_eq!((stats.follows, stats.blocks, stats.mutes), (0, 0, 0));
        assert_eq!(index.user(&id("star")), None);
    }

    #[test]
    fn two_erasures_in_the_same_commits_take_each_edge_out_once() {
        let mut index = Index::default();
        add(&mut index, fans(0..300));
        add(&mut index, (0..70).map(|n| (EdgeKind::Mute, format!("foe{n}"), "star".to_owned())));
        let (mut edges, mut erasures) = (0, [Erasure::Begun; 2]);
        let mut commits = 0;
        while erasures != [Erasure::Done; 2] {
            commit(&mut index, |group, index| {
                for erasure in &mut erasures {
                    let step = group.erase(index, &id("star"), *erasure);
                    edges += step.edges;
                    *erasure = step.erasure;
                }
            });
            commits += 1;
            assert!(commits < 100, "it has to end");
        }
        assert_eq!((edges, index.stats().users), (370, 370));
    }

    #[test]
    fn who_comes_back_while_erased_is_somebody_else() {
        let mut index = Index::default();
        add(&mut index, fans(0..40));
        let mut late = Erasure::Begun;
        commit(&mut index, |group, index| late = group.erase(index, &id("star"), late).erasure);
        erase(&mut index, "star", |_, _| ());
        add(&mut index, fans(0..1));
        commit(&mut index, |group, index| {
            let step = group.erase(index, &id("star"), late);
            assert_eq!((step.edges, step.erasure), (0, Erasure::Done));
        });
        assert_eq!(index.stats().follows, 1);
    }
}
