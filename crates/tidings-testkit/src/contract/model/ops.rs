//! What is done to the store, in small numbers, so that operations meet.

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings_core::inbox::Mark;

pub(super) const USERS: usize = 3;
const DEVICES: usize = 2;
const TOKENS: usize = 3;
const MAKES: usize = 4;
const EVENTS: usize = 12;

/// An event, its recipients, and when the push of each falls due from now.
pub(super) type PlannedOp = (usize, Vec<(usize, Option<u64>)>);

/// An operation. Users, devices, their makes, tokens and events are numbers; times are milliseconds.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Append(Vec<PlannedOp>),
    Mark(usize, Mark, Marked),
    /// A user, and the stretch that a session has.
    Acknowledge(usize, u64, u64),
    PutDevice {
        user: usize,
        device: usize,
        token: usize,
        make: usize,
    },
    RemoveDevice {
        user: usize,
        device: usize,
    },
    /// Claims what is due, and settles each with the next of these.
    Push(Vec<Settled>),
    Pass(u64),
}

#[derive(Debug, Clone)]
pub(super) enum Marked {
    UpTo(u64),
    /// By user and `seq`.
    Ids(Vec<(usize, u64)>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Settled {
    /// The worker dies.
    Not,
    Done,
    /// Every device of the push is tried again after this long.
    Retry(u64),
    /// The first device is pruned.
    Prune,
    /// The first device is pruned as it was before it was registered anew.
    PruneStale,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let recipient = (0..USERS, option::of(0u64..50));
    let planned = (0..EVENTS, vec(recipient, 0..5));
    let marks = select(vec![Mark::Seen, Mark::Read, Mark::Archived]);
    let marked = prop_oneof![
        (0u64..12).prop_map(Marked::UpTo),
        vec((0..USERS, 0u64..10), 0..6).prop_map(Marked::Ids),
    ];
    let settled = prop_oneof![
        Just(Settled::Not),
        Just(Settled::Done),
        (0u64..80).prop_map(Settled::Retry),
        Just(Settled::Prune),
        Just(Settled::PruneStale),
    ];
    prop_oneof![
        4 => vec(planned, 0..5).prop_map(Op::Append),
        3 => (0..USERS, marks, marked).prop_map(|(user, mark, marked)| Op::Mark(user, mark, marked)),
        2 => (0..USERS, 0u64..8, 0u64..12)
            .prop_map(|(user, after, upto)| Op::Acknowledge(user, after, upto)),
        2 => (0..USERS, 0..DEVICES, 0..TOKENS, 0..MAKES)
            .prop_map(|(user, device, token, make)| Op::PutDevice { user, device, token, make }),
        1 => (0..USERS, 0..DEVICES).prop_map(|(user, device)| Op::RemoveDevice { user, device }),
        2 => vec(settled, 1..6).prop_map(Op::Push),
        1 => (1u64..100).prop_map(Op::Pass),
    ]
}
