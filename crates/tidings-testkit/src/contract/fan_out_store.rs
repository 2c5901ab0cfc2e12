//! The rules of `FanOutStore`, and of the fan-outs that begin and move on with a batch.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, PlannedEvent},
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin, Stage},
    fan_out::{FanOut, FanOutBacklog, FanOutId, FanOutStep, FanOutsLeft, NewFanOut},
    ids::{GraphId, UserId},
    inbox::InboxState,
    ports::{Claim, Cursor, StoreError},
};
use tokio::task::JoinSet;

use super::{
    Store,
    sample::{
        ALL, LEASE, assert_same, at, batch, event, event_ids, plan, read_all, seqs, titled, user,
    },
};

fn cursor(text: &str) -> Cursor {
    Cursor::new(text.to_owned()).expect("a cursor")
}

/// The graph that these rules ask, and one that others do.
const GRAPH: GraphId = GraphId(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
const OTHER: GraphId = GraphId(u128::MAX);

fn fanning(id: &str, recipients: &[&UserId], from: &str) -> PlannedEvent {
    let fan_out = NewFanOut { graph: GRAPH, followee: user("celebrity"), cursor: cursor(from) };
    let recipients = recipients.iter().copied();
    PlannedEvent { fan_out: Some(fan_out), ..plan(&event(id), recipients) }
}

pub(super) async fn begin(store: &dyn Store, id: &str, now: Timestamp) -> AppendedEvent {
    let appended = store.append(batch(vec![fanning(id, &[], "start")]).into(), now).await;
    appended.expect("append").remove(0)
}

pub(super) async fn claim(store: &dyn Store, now: Timestamp, limit: usize) -> Vec<FanOut> {
    store.claim_fan_outs(GRAPH, now, LEASE, limit).await.expect("claim_fan_outs")
}

fn ids(fan_outs: &[FanOut]) -> Vec<&str> {
    fan_outs.iter().map(|it| it.event.id.as_str()).collect()
}

async fn backlog(store: &dyn Store) -> FanOutBacklog {
    store.fan_out_backlog(GRAPH).await.expect("fan_out_backlog")
}

/// A backlog of this graph alone.
fn here(unfinished: u64, oldest: Timestamp) -> FanOutBacklog {
    let here = FanOutsLeft { unfinished, oldest: Some(oldest) };
    FanOutBacklog { here, ..FanOutBacklog::default() }
}

fn step(fan_out: &FanOut, steps: u64, next: Option<&str>, leased_until: Timestamp) -> FanOutStep {
    FanOutStep { id: fan_out.id, steps, next: next.map(cursor), leased_until }
}

/// Ends a fan-out that has made no step.
pub(super) async fn end(store: &dyn Store, fan_out: &FanOut) {
    let mut last = batch(vec![]);
    last.step_fan_out(step(fan_out, 0, None, at(0)), at(0));
    append(store, last).await;
}

/// A batch that tells `follower` of the fan-out's event, and makes `step`.
fn stepping(fan_out: &FanOut, follower: &str, step: FanOutStep) -> NotificationBatch {
    let mut batch = batch(vec![plan(&fan_out.event, [&user(follower)])]);
    batch.step_fan_out(step, at(0));
    batch
}

async fn append(store: &dyn Store, batch: NotificationBatch) -> Vec<AppendedEvent> {
    store.append(batch.into(), at(0)).await.expect("append")
}

async fn assert_fenced(store: &dyn Store, batch: NotificationBatch, id: FanOutId) {
    match store.append(batch.into(), at(0)).await {
        Err(StoreError::Fenced { claims }) => assert_eq!(claims, [Claim::FanOut(id)]),
        other => panic!("not fenced: {other:?}"),
    }
}

/// A fan-out begins with its event, once, however often and with whatever the event comes again.
pub async fn an_event_begins_one_fan_out(store: &dyn Store) {
    let ann = user("ann");
    let planned = vec![fanning("e1", &[&ann], "first"), plan(&event("plain"), [&ann])];
    let appended = append(store, batch(planned)).await;
    assert!(appended[0].fans_out);
    assert!(!appended[1].fans_out);
    assert_eq!(appended[0].stored.len(), 1);
    // Again, in one batch twice, elsewhere, or without: it stays as it is, and every answer says so.
    let again = vec![
        fanning("e1", &[&ann], "second"),
        fanning("e1", &[], "third"),
        plan(&event("e1"), [&ann]),
        plan(&event("plain"), [&ann]),
    ];
    let appended = append(store, batch(again)).await;
    let fans_out: Vec<_> = appended.iter().map(|it| it.fans_out).collect();
    assert_eq!(fans_out, [true, true, true, false]);
    let claimed = claim(store, at(1), ALL).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].cursor, cursor("first"));
    // An event that came without one before may begin one later.
    let appended = append(store, batch(vec![fanning("plain", &[], "later")])).await;
    assert!(appended[0].fans_out);
    assert_eq!(ids(&claim(store, at(1), ALL).await), ["plain"]);
}

/// A claim gives all that a worker needs, and the event as it is stored.
pub async fn a_claim_gives_what_a_worker_needs(store: &dyn Store) {
    append(store, batch(vec![plan(&titled("e1", "first"), [])])).await;
    begin(store, "e1", at(7)).await;
    let claimed = claim(store, at(8), ALL).await;
    assert_eq!(claimed.len(), 1);
    let it = &claimed[0];
    assert_eq!((&it.followee, &it.cursor, it.steps), (&user("celebrity"), &cursor("start"), 0));
    assert_eq!(it.began_at, at(7));
    assert_same(&it.event, &titled("e1", "first"));
}

/// A fan-out that is leased is nobody else's until the lease ends, and then it goes on.
pub async fn a_lease_that_is_not_kept_ends(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    assert!(claim(store, at(1), 0).await.is_empty());
    let first = claim(store, at(1), ALL).await;
    let end = at(1).after(LEASE);
    assert!(claim(store, end.before(Duration::from_millis(1)), ALL).await.is_empty());
    let again = claim(store, end, ALL).await;
    assert_eq!(ids(&again), ["e1"]);
    assert_eq!(again[0].id, first[0].id);
}

/// A fan-out is for those who ask the graph whose followers are meant: nobody else finds them.
pub async fn a_fan_out_of_another_graph_is_not_claimed(store: &dyn Store) {
    begin(store, "ours", at(10)).await;
    let mut theirs = fanning("theirs", &[], "start");
    theirs.fan_out.as_mut().expect("a fan-out").graph = OTHER;
    store.append(batch(vec![theirs]).into(), at(20)).await.expect("append");
    let (ours, others) = (here(1, at(10)), here(1, at(20)));
    let both = FanOutBacklog { here: ours.here, elsewhere: others.here };
    assert_eq!(backlog(store).await, both);
    assert_eq!(ids(&claim(store, at(99), ALL).await), ["ours"]);
    // Nor when nobody holds it, however long.
    assert!(claim(store, at(0).after(LEASE), ALL).await.is_empty());
    let claimed = store.claim_fan_outs(OTHER, at(99), LEASE, ALL).await.expect("claim_fan_outs");
    assert_eq!(ids(&claimed), ["theirs"]);
    let from_there = store.fan_out_backlog(OTHER).await.expect("fan_out_backlog");
    assert_eq!(from_there, FanOutBacklog { here: others.here, elsewhere: ours.here });
    end(store, &claimed[0]).await;
    assert_eq!(backlog(store).await, ours);
}

/// The fan-outs that began first are claimed first, no more than asked for.
pub async fn the_oldest_fan_outs_are_claimed_first(store: &dyn Store) {
    for (id, began) in [("e1", 30), ("e2", 10), ("e3", 20)] {
        begin(store, id, at(began)).await;
    }
    assert_eq!(ids(&claim(store, at(99), 2).await), ["e2", "e3"]);
    assert_eq!(ids(&claim(store, at(99), 2).await), ["e1"]);
    assert!(claim(store, at(99), 2).await.is_empty());
}

/// A fan-out that is given back waits behind those that waited before, and also behind one that has
/// just begun: they take turns.
pub async fn fan_outs_that_are_given_back_take_turns(store: &dyn Store) {
    for (id, began) in [("e1", 1), ("e2", 2)] {
        begin(store, id, at(began)).await;
    }
    let first = claim(store, at(5), 1).await.remove(0);
    let back = step(&first, 0, Some("c1"), at(5));
    append(store, stepping(&first, "f1", back)).await;
    begin(store, "e3", at(5)).await;
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.extend(claim(store, at(5), 1).await);
    }
    assert_eq!(ids(&turns), ["e2", "e3", "e1"]);
    assert_eq!((turns[2].id, turns[2].steps), (first.id, 1));
    assert!(claim(store, at(5), ALL).await.is_empty());
}

/// A step stores its rows and moves the fan-out on in one: another worker goes on behind it, once
/// the lease that the step asked for has ended.
pub async fn a_step_moves_a_fan_out_on_with_its_rows(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    let claimed = claim(store, at(1), ALL).await.remove(0);
    let until = at(5_000_000);
    let appended =
        append(store, stepping(&claimed, "f1", step(&claimed, 0, Some("c1"), until))).await;
    assert_eq!((appended[0].stored.len(), appended[0].fans_out), (1, true));
    append(store, stepping(&claimed, "f2", step(&claimed, 1, Some("c2"), until))).await;
    for follower in ["f1", "f2"] {
        assert_eq!(event_ids(&read_all(store, &user(follower)).await), ["e1"]);
    }
    assert!(claim(store, until.before(Duration::from_millis(1)), ALL).await.is_empty());
    let next = claim(store, until, ALL).await.remove(0);
    assert_eq!((next.id, next.steps, next.cursor), (claimed.id, 2, cursor("c2")));
    assert_eq!(next.began_at, at(0));
}

/// Preparing a page changes nothing that anyone sees, and the page is stored as any other.
pub async fn a_page_that_is_prepared_is_not_stored(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    let claimed = claim(store, at(1), ALL).await.remove(0);
    let (old, new) = (user("old"), user("new"));
    append(store, batch(vec![plan(&event("before"), [&old])])).await;
    for _ in 0..2 {
        let page = plan(&claimed.event, [&new, &old]);
        store.prepare_page(&page).await.expect("prepare_page");
    }
    assert_eq!(store.inbox(&new).await.expect("inbox"), InboxState::default());
    assert!(read_all(store, &new).await.is_empty());
    append(store, stepping(&claimed, "new", step(&claimed, 0, Some("c1"), at(100)))).await;
    assert_eq!(seqs(&read_all(store, &new).await), [1]);
    assert_eq!(event_ids(&read_all(store, &old).await), ["before"]);
}

/// A step that was committed without its worker's knowing holds when it comes again, be it the last,
/// and stores nothing new.
pub async fn a_step_that_was_committed_holds(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    let claimed = claim(store, at(1), ALL).await.remove(0);
    for (steps, next) in [(0, Some("c1")), (1, Some("c2")), (2, None)] {
        let follower = format!("f{steps}");
        let again = || stepping(&claimed, &follower, step(&claimed, steps, next, at(100)));
        assert_eq!(append(store, again()).await[0].stored.len(), 1);
        let repeated = append(store, again()).await;
        assert_eq!((repeated[0].stored.len(), repeated[0].duplicates), (0, 1));
    }
    assert_eq!(backlog(store).await, FanOutBacklog::default());
}

/// A batch that keeps a letter instead of telling a follower, and makes `step`.
fn stepping_over(reason: &str, step: FanOutStep) -> NotificationBatch {
    let mut batch = batch(vec![]);
    let letter = NewDeadLetter {
        origin: Origin::FanOut,
        stage: Stage::Store,
        reason: reason.to_owned(),
        payload: b"{}".to_vec(),
        payload_bytes: 2,
        at: at(0),
    };
    batch.add_dead_letter(letter, at(0));
    batch.step_fan_out(step, at(0));
    batch
}

/// The reasons of the letters that are kept, oldest first.
async fn reasons(store: &dyn Store) -> Vec<String> {
    let kept = store.list_dead_letters(None, ALL).await.expect("list_dead_letters");
    kept.into_iter().rev().map(|it| it.letter.reason).collect()
}

/// The letter of a step that was committed without its worker's knowing is kept once; one that may be
/// of a step that is made now is kept in any case.
pub async fn a_letter_of_a_step_that_was_committed_is_kept_once(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    begin(store, "e2", at(1)).await;
    let mut claimed = claim(store, at(2), ALL).await;
    let (second, first) = (claimed.remove(1), claimed.remove(0));
    for (steps, next) in [(0, Some("c1")), (1, Some("c2")), (2, None)] {
        for _ in 0..3 {
            let step = step(&first, steps, next, at(100));
            append(store, stepping_over(&format!("r{steps}"), step)).await;
        }
    }
    assert_eq!(reasons(store).await, ["r0", "r1", "r2"]);
    assert_eq!(store.count_dead_letters().await.expect("count"), 3);
    let mut mixed = stepping_over("mixed", step(&first, 2, None, at(100)));
    mixed.step_fan_out(step(&second, 0, None, at(100)), at(0));
    append(store, mixed).await;
    assert_eq!(reasons(store).await, ["r0", "r1", "r2", "mixed"]);
}

/// A worker that others have overtaken is fenced, and nothing of its batch is there.
pub async fn a_step_by_a_late_worker_is_fenced(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    begin(store, "e2", at(1)).await;
    let mut claimed = claim(store, at(2), ALL).await;
    let (second, first) = (claimed.remove(1), claimed.remove(0));
    for (steps, next) in [(0, "c1"), (1, "c2")] {
        append(store, stepping(&first, "f", step(&first, steps, Some(next), at(100)))).await;
    }
    let late = [
        step(&first, 0, Some("c1"), at(100)),
        step(&first, 1, Some("elsewhere"), at(100)),
        step(&first, 1, None, at(100)),
        step(&first, 3, Some("c4"), at(100)),
    ];
    for late in late {
        let mut batch = stepping(&first, "late", late);
        // What holds is not made either.
        batch.step_fan_out(step(&second, 0, Some("c9"), at(100)), at(0));
        assert_fenced(store, batch, first.id).await;
    }
    assert!(read_all(store, &user("late")).await.is_empty());
    let unknown = FanOutId(second.id.0 + 1_000);
    let nobody = FanOutStep { id: unknown, ..step(&second, 0, None, at(100)) };
    assert_fenced(store, stepping(&second, "late", nobody), unknown).await;
    let left = claim(store, at(9_999_999), ALL).await;
    let left: Vec<_> = left.iter().map(|it| (it.id, it.steps)).collect();
    assert_eq!(left, [(first.id, 2), (second.id, 0)]);
}

/// What has ended is never claimed again, and its event never begins another.
pub async fn a_fan_out_that_ended_stays_ended(store: &dyn Store) {
    begin(store, "e1", at(0)).await;
    let claimed = claim(store, at(1), ALL).await.remove(0);
    append(store, stepping(&claimed, "f1", step(&claimed, 0, None, at(100)))).await;
    assert!(begin(store, "e1", at(2)).await.fans_out, "it had one");
    assert!(claim(store, at(9_999_999), ALL).await.is_empty());
    assert_eq!(backlog(store).await, FanOutBacklog::default());
    let beyond = stepping(&claimed, "f2", step(&claimed, 1, Some("c"), at(100)));
    assert_fenced(store, beyond, claimed.id).await;
}

/// The backlog counts what has not ended, leased or not, and says since when.
pub async fn the_backlog_counts_what_is_unfinished(store: &dyn Store) {
    assert_eq!(backlog(store).await, FanOutBacklog::default());
    for (id, began) in [("e1", 30), ("e2", 10), ("e3", 20)] {
        begin(store, id, at(began)).await;
    }
    assert_eq!(backlog(store).await, here(3, at(10)));
    let claimed = claim(store, at(99), 1).await.remove(0);
    assert_eq!(backlog(store).await.here.unfinished, 3);
    append(store, stepping(&claimed, "f", step(&claimed, 0, None, at(100)))).await;
    assert_eq!(backlog(store).await, here(2, at(20)));
}

const FAN_OUTS: usize = 40;

/// Of many workers that claim at once, each gets fan-outs of its own, and together they get all.
pub async fn claims_of_several_workers_are_disjoint(stores: &[Arc<dyn Store>]) {
    let planned = (0..FAN_OUTS).map(|n| fanning(&format!("e{n}"), &[], "start"));
    append(&*stores[0], batch(planned.collect())).await;
    let mut workers = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(&stores[number % stores.len()]);
        workers.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let more = claim(&*store, at(1), 3).await;
                if more.is_empty() {
                    return claimed;
                }
                claimed.extend(more.into_iter().map(|it| it.id));
            }
        });
    }
    let claimed = workers.join_all().await.concat();
    let distinct: BTreeSet<_> = claimed.iter().collect();
    assert_eq!(distinct.len(), claimed.len(), "one fan-out for two workers");
    // A worker may come away with nothing while others are in the middle of it, not for good.
    let left = claim(&*stores[0], at(1), ALL).await.len();
    assert_eq!(claimed.len() + left, FAN_OUTS);
}
