//! What holds while several nodes work on one store at once.
//!
//! A rule gets one handle per node. An adapter for one process gives the same store many times.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, Recipient},
    checkpoint::{Advance, Checkpoint, PartitionId},
    ids::{Seq, UserId},
    inbox::{Mark, Selection},
    ports::StoreError,
};
use tokio::task::JoinSet;

use super::{
    Store,
    sample::{
        at, batch, device, event, event_ids, has, partition, plan, read_all, seqs, titled, user,
    },
};

const TASKS: usize = 8;
const ROUNDS: usize = 10;
const USERS: usize = 12;

fn users() -> Vec<UserId> {
    (0..USERS).map(|n| user(&format!("u{n}"))).collect()
}

/// The users in an order of each task's and round's own, so that two tasks meet them crosswise.
fn shuffled(task: usize, round: usize) -> Vec<UserId> {
    let mut users = users();
    users.rotate_left((task * 5 + round * 7) % USERS);
    if (task + round).is_multiple_of(2) {
        users.reverse();
    }
    users
}

async fn append(store: &dyn Store, batch: NotificationBatch) -> Vec<AppendedEvent> {
    store.append(batch.into(), at(0)).await.expect("append")
}

/// Nodes that append to the same inboxes at once number each of them without holes or repeats, tell
/// each person once, and each finds its own events in its own order.
pub async fn nodes_append_to_the_same_inboxes(stores: &[Arc<dyn Store>]) {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&stores[task % stores.len()]);
        tasks.spawn(async move {
            let mut answered = Vec::new();
            for round in 0..ROUNDS {
                let all = shuffled(task, round);
                let own = plan(&event(&format!("t{task}-r{round}")), &all[..USERS / 2]);
                let shared = plan(&titled(&format!("shared-r{round}"), &format!("{task}")), &all);
                // Single events for single people are the usual case.
                let single = plan(&event(&format!("s{task}-r{round}")), &all[..1]);
                let planned =
                    if task % 2 == 0 { [own, shared, single] } else { [shared, single, own] };
                answered.extend(append(&*store, batch(planned.into())).await);
            }
            answered
        });
    }
    let answered = tasks.join_all().await.concat();
    let mut told: BTreeMap<UserId, Vec<(u64, String)>> = BTreeMap::new();
    for it in &answered {
        for stored in &it.stored {
            let of_user = told.entry(stored.user.clone()).or_default();
            of_user.push((stored.id.seq.0, it.event.id.to_string()));
        }
    }
    for user in users() {
        let listed = read_all(&*stores[0], &user).await;
        assert_eq!(seqs(&listed), (1..=listed.len() as u64).collect::<Vec<_>>());
        let ids = event_ids(&listed);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "somebody was told twice");
        for round in 0..ROUNDS {
            assert!(ids.contains(&format!("shared-r{round}").as_str()), "somebody was not told");
        }
        // Every answer is what is read, and every row was answered for once.
        let mut answers = told.remove(&user).unwrap_or_default();
        answers.sort_unstable();
        let read: Vec<_> = listed.iter().map(|it| (it.seq().0, it.event.id.to_string())).collect();
        assert_eq!(answers, read);
        let mut last: HashMap<&str, usize> = HashMap::new();
        for id in ids {
            let (series, round) = id.rsplit_once("-r").expect("an id made above");
            let round = round.parse().expect("a number");
            let before = last.insert(series, round);
            assert!(before.is_none_or(|before| before < round), "{id} is out of order");
        }
        let state = stores[0].inbox(&user).await.expect("inbox");
        assert_eq!((state.last_seq.0, state.unread), (listed.len() as u64, listed.len() as u64));
    }
    // Whoever stored a shared event first, all were answered with its content.
    let mut titles: HashMap<String, String> = HashMap::new();
    for it in answered {
        let title = titles.entry(it.event.id.to_string()).or_insert_with(|| it.event.title.clone());
        assert_eq!(*title, it.event.title, "two contents of one event");
    }
}

/// The same batch from all nodes at once is stored once.
pub async fn nodes_race_with_the_same_batch(stores: &[Arc<dyn Store>]) {
    for round in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let store = Arc::clone(&stores[task % stores.len()]);
            tasks.spawn(async move {
                let planned = (0..5).map(|n| {
                    let id = format!("r{round}-e{n}");
                    plan(&event(&id), &shuffled(task, n))
                });
                let appended = append(&*store, batch(planned.collect())).await;
                appended.iter().map(|it| it.stored.len()).sum::<usize>()
            });
        }
        let stored: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(stored, 5 * USERS);
    }
    for user in users() {
        let listed = read_all(&*stores[0], &user).await;
        assert_eq!(seqs(&listed), (1..=5 * ROUNDS as u64).collect::<Vec<_>>());
    }
}

async fn push_to(store: &dyn Store, user: &UserId, id: &str) {
    let mut planned = plan(&event(id), []);
    planned.recipients.push(Recipient { user: user.clone(), push_at: Some(at(5)) });
    append(store, batch(vec![planned])).await;
}

async fn mark_to(store: &dyn Store, user: &UserId, mark: Mark, round: usize) {
    let seq = Seq(round as u64);
    let upto = Selection::UpTo(Seq(3 * seq.0));
    store.mark(user, mark, upto, at(9)).await.expect("mark");
    store.acknowledge(has(user, seq.0)).await.expect("acknowledge");
}

/// Marks, devices and appends at once leave counters that are what a look at the rows would count,
/// and a push for each row.
pub async fn nodes_mark_and_append_at_once(stores: &[Arc<dyn Store>]) {
    let ann = user("ann");
    stores[0].put_device(device(&ann, "phone", "token", at(0))).await.expect("put_device");
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&stores[task % stores.len()]);
        let ann = ann.clone();
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                match task % 4 {
                    0 | 2 => push_to(&*store, &ann, &format!("t{task}-r{round}")).await,
                    1 => mark_to(&*store, &ann, Mark::Archived, round).await,
                    _ => mark_to(&*store, &ann, Mark::Read, round).await,
                }
            }
        });
    }
    tasks.join_all().await;
    let listed = read_all(&*stores[0], &ann).await;
    assert_eq!(seqs(&listed), (1..=(TASKS / 2 * ROUNDS) as u64).collect::<Vec<_>>());
    let unread = listed.iter().filter(|it| it.state.read_at.or(it.state.archived_at).is_none());
    let unread = unread.count() as u64;
    assert_eq!(stores[0].inbox(&ann).await.expect("inbox").unread, unread);
    let lease = std::time::Duration::from_secs(60);
    let due = stores[0].claim_due(at(5), lease, usize::MAX).await.expect("claim_due");
    assert_eq!(due.len(), listed.len());
}

/// Claims of one partition by several nodes get epochs of their own, and only the last may commit.
pub async fn nodes_claim_one_partition(stores: &[Arc<dyn Store>]) {
    let id = partition(0);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, id) = (Arc::clone(&stores[task % stores.len()]), id.clone());
        tasks.spawn(async move {
            let claimed = store.claim_partition(&id).await.expect("claim_partition");
            (store, claimed)
        });
    }
    let claimed = tasks.join_all().await;
    let epochs: BTreeSet<_> = claimed.iter().map(|(_, it)| it.epoch.0).collect();
    assert_eq!(epochs, (1..=TASKS as u64).collect());
    let mut tasks = JoinSet::new();
    for (store, Checkpoint { epoch, next_offset }) in claimed {
        let partition = id.clone();
        tasks.spawn(async move {
            let planned = vec![plan(&event(&format!("epoch-{}", epoch.0)), [&user("ann")])];
            let mut batch = batch(planned);
            batch.advance(Advance { partition, epoch, from: next_offset, to: 10 }, at(0));
            match store.append(batch.into(), at(0)).await {
                Ok(_) => Some(epoch.0),
                Err(StoreError::Fenced { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let held: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(held, [TASKS as u64]);
    let told = read_all(&*stores[0], &user("ann")).await;
    assert_eq!(event_ids(&told), [format!("epoch-{TASKS}")]);
}

const RECORDS: i64 = 60;
const TAKEOVERS: usize = 4;

/// Takes the partition over and stores what comes next of it, two records at a time, until it is
/// fenced, at the end, or has made as many `steps`.
async fn consume(store: &dyn Store, id: &PartitionId, steps: usize) {
    let ann = user("ann");
    let claimed = store.claim_partition(id).await.expect("claim_partition");
    let mut from = claimed.next_offset;
    for _ in 0..steps {
        let next = from.unwrap_or(0);
        if next >= RECORDS {
            return;
        }
        let to = (next + 2).min(RECORDS);
        let planned = (next..to).map(|offset| plan(&event(&format!("o{offset}")), [&ann]));
        let mut batch = batch(planned.collect());
        let partition = id.clone();
        batch.advance(Advance { partition, epoch: claimed.epoch, from, to }, at(0));
        match store.append(batch.into(), at(0)).await {
            Ok(appended) => {
                let stored: usize = appended.iter().map(|it| it.stored.len()).sum();
                let rows = usize::try_from(to - next).expect("a small number");
                assert_eq!(stored, rows, "a record that was stored before");
            }
            Err(StoreError::Fenced { .. }) => return,
            Err(error) => panic!("{error}"),
        }
        from = Some(to);
        // So that the others come in between.
        tokio::task::yield_now().await;
    }
}

/// A claim that comes between two commits of another node stops exactly what comes after it: every
/// record is stored once, by whichever node, and none is skipped.
pub async fn a_partition_moves_between_nodes_under_load(stores: &[Arc<dyn Store>]) {
    let id = partition(0);
    let mut tasks = JoinSet::new();
    for task in 0..3 {
        let (store, id) = (Arc::clone(&stores[task % stores.len()]), id.clone());
        tasks.spawn(async move {
            for _ in 0..TAKEOVERS {
                consume(&*store, &id, 5).await;
            }
        });
    }
    tasks.join_all().await;
    consume(&*stores[0], &id, usize::MAX).await;
    let told = read_all(&*stores[0], &user("ann")).await;
    let expected: Vec<_> = (0..RECORDS).map(|offset| format!("o{offset}")).collect();
    assert_eq!(event_ids(&told), expected);
}
