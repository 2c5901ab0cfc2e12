//! The rules of `CheckpointStore`, and of the advances and dead letters of a batch.

use tidings_core::{
    batch::{AppendedEvent, NotificationBatch},
    checkpoint::{Advance, Checkpoint, Epoch, PartitionId},
    dead_letter::{NewDeadLetter, Origin, RecordOrigin, Stage},
    ports::{Claim, StoreError},
};

use super::{
    Store,
    dead_letter_store::DEAD_LETTERS_MAX,
    sample::{ALL, at, batch, event, event_ids, partition, plan, read_all, seqs, user},
};

async fn claim(store: &dyn Store, id: &PartitionId) -> Checkpoint {
    store.claim_partition(id).await.expect("claim_partition")
}

async fn position(store: &dyn Store, id: &PartitionId) -> Option<Checkpoint> {
    let listed = store.list_checkpoints(&id.group).await.expect("list_checkpoints");
    listed.into_iter().find(|(it, _)| it == id).map(|(_, checkpoint)| checkpoint)
}

fn at_offset(epoch: u64, next_offset: Option<i64>) -> Checkpoint {
    Checkpoint { epoch: Epoch(epoch), next_offset }
}

fn advance(id: &PartitionId, epoch: u64, from: Option<i64>, to: i64) -> Advance {
    Advance { partition: id.clone(), epoch: Epoch(epoch), from, to }
}

fn letter(id: &PartitionId, offset: i64) -> NewDeadLetter {
    let record = RecordOrigin {
        topic: id.topic.to_string(),
        partition: id.partition,
        offset,
        key: None,
        headers: Vec::new(),
    };
    NewDeadLetter {
        origin: Origin::Kafka(record),
        stage: Stage::Decode,
        reason: "reason".to_owned(),
        payload: vec![1],
        payload_bytes: 1,
        at: at(0),
    }
}

/// A batch that tells Ann of one event per id, and moves `advances`.
fn moving(ids: &[&str], advances: &[Advance]) -> NotificationBatch {
    let ann = user("ann");
    let mut batch = batch(ids.iter().map(|id| plan(&event(id), [&ann])).collect());
    for it in advances {
        batch.advance(it.clone(), at(0));
    }
    batch
}

async fn append(store: &dyn Store, batch: NotificationBatch) -> Vec<AppendedEvent> {
    store.append(batch.into(), at(0)).await.expect("append")
}

/// Appends what has to be fenced, and returns what is named.
async fn fenced(store: &dyn Store, batch: NotificationBatch) -> Vec<Claim> {
    match store.append(batch.into(), at(0)).await {
        Err(StoreError::Fenced { claims }) => claims,
        other => panic!("not fenced: {other:?}"),
    }
}

async fn letters(store: &dyn Store) -> usize {
    store.list_dead_letters(None, ALL).await.expect("list_dead_letters").len()
}

/// The first claim has epoch 1 and no position; each later one raises the epoch, and moves nothing.
pub async fn a_claim_raises_the_epoch_and_says_where_to_go_on(store: &dyn Store) {
    let (first, other) = (partition(0), partition(1));
    assert_eq!(claim(store, &first).await, at_offset(1, None));
    assert_eq!(claim(store, &first).await, at_offset(2, None));
    append(store, moving(&[], &[advance(&first, 2, None, 42)])).await;
    assert_eq!(claim(store, &first).await, at_offset(3, Some(42)));
    assert_eq!(claim(store, &other).await, at_offset(1, None));
    let elsewhere = PartitionId { group: "another".into(), ..first.clone() };
    assert_eq!(claim(store, &elsewhere).await, at_offset(1, None));
}

/// A position moves with the rows and letters of its batch, from where it is, also without any.
pub async fn an_advance_moves_the_position_with_its_batch(store: &dyn Store) {
    let (ann, id) = (user("ann"), partition(0));
    claim(store, &id).await;
    append(store, moving(&["e1"], &[advance(&id, 1, None, 7)])).await;
    assert_eq!(position(store, &id).await, Some(at_offset(1, Some(7))));
    let mut second = moving(&["e2"], &[advance(&id, 1, Some(7), 9)]);
    second.add_dead_letter(letter(&id, 8), at(0));
    append(store, second).await;
    append(store, moving(&[], &[advance(&id, 1, Some(9), i64::MAX)])).await;
    assert_eq!(position(store, &id).await, Some(at_offset(1, Some(i64::MAX))));
    assert_eq!(event_ids(&read_all(store, &ann).await), ["e1", "e2"]);
    let kept = store.list_dead_letters(None, ALL).await.expect("list_dead_letters");
    let kept: Vec<_> = kept.into_iter().map(|it| it.letter).collect();
    assert_eq!(kept, [letter(&id, 8)]);
}

/// A batch that was committed without its sender's knowing holds when it comes again, and stores
/// nothing new: no row, no letter.
pub async fn a_batch_that_was_committed_holds_and_stores_nothing_new(store: &dyn Store) {
    let (ann, id) = (user("ann"), partition(0));
    claim(store, &id).await;
    for from in [None, Some(5)] {
        let to = from.unwrap_or(0) + 5;
        let again = || {
            let mut batch = moving(&[&format!("e{to}")], &[advance(&id, 1, from, to)]);
            batch.add_dead_letter(letter(&id, to - 1), at(0));
            batch
        };
        let first = append(store, again()).await;
        assert_eq!((first[0].stored.len(), first[0].duplicates), (1, 0));
        for _ in 0..2 {
            let repeated = append(store, again()).await;
            assert_eq!((repeated[0].stored.len(), repeated[0].duplicates), (0, 1));
        }
        assert_eq!(position(store, &id).await, Some(at_offset(1, Some(to))));
    }
    assert_eq!(seqs(&read_all(store, &ann).await), [1, 2]);
    assert_eq!(letters(store).await, 2);
    // One that was committed goes with one that was not: each letter is kept once.
    let other = partition(1);
    claim(store, &other).await;
    let advances = [advance(&id, 1, Some(5), 10), advance(&other, 1, None, 1)];
    let mut mixed = moving(&["e10", "other"], &advances);
    mixed.add_dead_letter(letter(&id, 9), at(0));
    mixed.add_dead_letter(letter(&other, 0), at(0));
    append(store, mixed).await;
    assert_eq!(letters(store).await, 3);
    assert_eq!(position(store, &other).await, Some(at_offset(1, Some(1))));
}

/// Who has lost a partition, or reads from elsewhere, is fenced, and nothing of the batch is there.
pub async fn a_stale_advance_is_fenced(store: &dyn Store) {
    let (ann, id) = (user("ann"), partition(0));
    claim(store, &id).await;
    claim(store, &id).await;
    append(store, moving(&[], &[advance(&id, 2, None, 10)])).await;
    let unclaimed = partition(9);
    let stale = [
        advance(&id, 1, Some(10), 11),
        advance(&id, 3, Some(10), 11),
        advance(&id, 1, None, 10),
        advance(&id, 2, None, 11),
        advance(&id, 2, Some(9), 11),
        advance(&id, 2, Some(11), 12),
        advance(&unclaimed, 0, None, 1),
        advance(&unclaimed, 1, None, 1),
    ];
    for it in stale {
        let mut batch = moving(&["e1"], std::slice::from_ref(&it));
        batch.add_dead_letter(letter(&it.partition, 0), at(0));
        assert_eq!(fenced(store, batch).await, [Claim::Partition(it.partition.clone())], "{it:?}");
    }
    assert!(read_all(store, &ann).await.is_empty());
    assert_eq!(letters(store).await, 0);
    assert_eq!(store.inbox(&ann).await.expect("inbox").last_seq.0, 0);
    assert_eq!(position(store, &id).await, Some(at_offset(2, Some(10))));
    assert_eq!(position(store, &unclaimed).await, None);
    // Nothing of it is remembered either: who has the partition stores the event anew.
    let appended = append(store, moving(&["e1"], &[advance(&id, 2, Some(10), 11)])).await;
    assert_eq!((appended[0].stored.len(), appended[0].duplicates), (1, 0));
    assert_eq!(seqs(&read_all(store, &ann).await), [1]);
}

/// If one of several advances does not hold, none is made, and exactly that one is named.
pub async fn one_fenced_partition_stops_the_whole_batch(store: &dyn Store) {
    let ids: Vec<_> = (0..4).map(partition).collect();
    for id in &ids {
        claim(store, id).await;
    }
    claim(store, &ids[1]).await;
    claim(store, &ids[3]).await;
    let two = [advance(&ids[0], 1, None, 5), advance(&ids[1], 1, None, 5)];
    let named = fenced(store, moving(&["e1"], &two)).await;
    assert_eq!(named, [Claim::Partition(ids[1].clone())]);
    let all: Vec<_> = ids.iter().map(|id| advance(id, 1, None, 5)).collect();
    let mut named = fenced(store, moving(&["e1"], &all)).await;
    named.sort_by_key(|it| matches!(it, Claim::Partition(id) if *id == ids[3]));
    assert_eq!(named, [Claim::Partition(ids[1].clone()), Claim::Partition(ids[3].clone())]);
    assert!(read_all(store, &user("ann")).await.is_empty());
    for (id, epoch) in ids.iter().zip([1, 2, 1, 2]) {
        assert_eq!(position(store, id).await, Some(at_offset(epoch, None)));
    }
}

/// Several advances of one partition have to hold one after the other.
pub async fn advances_of_a_partition_hold_in_order(store: &dyn Store) {
    let id = partition(0);
    claim(store, &id).await;
    // A gap between them, so that the batch does not make one of them.
    let apart = [advance(&id, 1, None, 5), advance(&id, 1, Some(9), 10)];
    assert_eq!(fenced(store, moving(&["e1"], &apart)).await, [Claim::Partition(id.clone())]);
    assert_eq!(position(store, &id).await, Some(at_offset(1, None)));
    let joined = [advance(&id, 1, None, 5), advance(&id, 1, Some(5), 10)];
    append(store, moving(&["e1"], &joined)).await;
    assert_eq!(position(store, &id).await, Some(at_offset(1, Some(10))));
}

/// Moving a position by hand fences whoever is at work, and is where the next one goes on.
pub async fn setting_a_checkpoint_fences(store: &dyn Store) {
    let (id, fresh) = (partition(0), partition(1));
    claim(store, &id).await;
    append(store, moving(&[], &[advance(&id, 1, None, 100)])).await;
    let set = async |id, offset| store.set_checkpoint(id, offset).await.expect("set_checkpoint");
    assert_eq!(set(&id, Some(50)).await, at_offset(2, Some(50)));
    for stale in [advance(&id, 1, Some(100), 101), advance(&id, 1, Some(50), 51)] {
        assert_eq!(fenced(store, moving(&["e1"], &[stale])).await.len(), 1);
    }
    assert_eq!(claim(store, &id).await, at_offset(3, Some(50)));
    append(store, moving(&["e1"], &[advance(&id, 3, Some(50), 51)])).await;
    assert_eq!(set(&id, None).await, at_offset(4, None));
    assert_eq!(claim(store, &id).await, at_offset(5, None));
    append(store, moving(&["e2"], &[advance(&id, 5, None, 1)])).await;
    // Also one that nobody has read yet.
    let made = set(&fresh, Some(7)).await;
    assert_eq!(made.next_offset, Some(7));
    assert_eq!(position(store, &fresh).await, Some(made));
    assert_eq!(claim(store, &fresh).await, at_offset(made.epoch.0 + 1, Some(7)));
}

/// Checkpoints are listed by topic, byte by byte, and by partition, of one group only.
pub async fn checkpoints_are_listed_by_topic_and_partition(store: &dyn Store) {
    let id = |group: &str, topic: &str, partition| PartitionId {
        group: group.into(),
        topic: topic.into(),
        partition,
    };
    for it in [id("g", "b", 10), id("g", "b", 9), id("g", "B", 1), id("g", "a", 2), id("G", "a", 0)]
    {
        claim(store, &it).await;
    }
    let listed = store.list_checkpoints("g").await.expect("list_checkpoints");
    let expected = [id("g", "B", 1), id("g", "a", 2), id("g", "b", 9), id("g", "b", 10)];
    assert_eq!(listed, expected.map(|it| (it, at_offset(1, None))));
    assert!(store.list_checkpoints("nobody").await.expect("list_checkpoints").is_empty());
}

/// The letters of a batch count against the limit like any other.
pub async fn dead_letters_of_a_batch_are_capped(store: &dyn Store) {
    let id = partition(0);
    claim(store, &id).await;
    let count = i64::try_from(DEAD_LETTERS_MAX).expect("a small number") + 2;
    let mut batch = moving(&["e1"], &[advance(&id, 1, None, count)]);
    for offset in 0..count {
        batch.add_dead_letter(letter(&id, offset), at(0));
    }
    append(store, batch).await;
    let kept = store.list_dead_letters(None, ALL).await.expect("list_dead_letters");
    let kept: Vec<_> = kept.into_iter().map(|it| it.letter).collect();
    let expected: Vec<_> = (2..count).rev().map(|offset| letter(&id, offset)).collect();
    assert_eq!(kept, expected);
    assert_eq!(store.count_dead_letters().await.expect("count"), DEAD_LETTERS_MAX);
}
