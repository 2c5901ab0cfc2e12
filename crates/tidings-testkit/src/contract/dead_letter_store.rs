//! The rules of `DeadLetterStore`. The store under test keeps [`DEAD_LETTERS_MAX`] letters.

use tidings_core::{
    dead_letter::{DeadLetter, DeadLetterId, NewDeadLetter, Origin, RecordOrigin, Stage},
    ports::DeadLetterStore,
};

use super::sample::{ALL, at};

/// How many letters the store under test has to be told to keep.
pub const DEAD_LETTERS_MAX: u64 = 5;

fn letter(number: u8) -> NewDeadLetter {
    NewDeadLetter {
        origin: if number.is_multiple_of(2) { Origin::FanOut } else { Origin::Http },
        stage: Stage::Decode,
        reason: format!("reason {number} é"),
        payload: vec![number, 0, 0xff],
        payload_bytes: 3,
        at: at(number.into()),
    }
}

async fn append(store: &dyn DeadLetterStore, numbers: impl Iterator<Item = u8>) -> u64 {
    let appended = store.append_dead_letters(numbers.map(letter).collect()).await;
    appended.expect("append_dead_letters")
}

async fn list(
    store: &dyn DeadLetterStore,
    before: Option<DeadLetterId>,
    limit: usize,
) -> Vec<DeadLetter> {
    let listed = store.list_dead_letters(before, limit).await;
    listed.expect("list_dead_letters")
}

fn numbers(letters: &[DeadLetter]) -> Vec<u8> {
    letters.iter().map(|it| it.letter.payload[0]).collect()
}

/// Letters come back whole, newest first, page by page.
pub async fn dead_letters_are_listed_newest_first(store: &dyn DeadLetterStore) {
    assert_eq!(append(store, 1..4).await, 0);
    assert_eq!(append(store, std::iter::empty()).await, 0);
    let all = list(store, None, ALL).await;
    assert_eq!(numbers(&all), [3, 2, 1]);
    assert_eq!(all[1].letter, letter(2));
    assert_eq!(numbers(&list(store, None, 2).await), [3, 2]);
    assert_eq!(numbers(&list(store, Some(all[1].id), 2).await), [1]);
    assert!(list(store, Some(all[2].id), 2).await.is_empty());
    assert!(list(store, None, 0).await.is_empty());
    let beyond = list(store, Some(DeadLetterId(u64::MAX)), ALL).await;
    assert_eq!(numbers(&beyond), [3, 2, 1]);
}

/// Beyond the limit the oldest are dropped, and counted.
pub async fn dead_letters_are_capped(store: &dyn DeadLetterStore) {
    assert_eq!(append(store, 1..5).await, 0);
    assert_eq!(append(store, 5..8).await, 2);
    assert_eq!(numbers(&list(store, None, ALL).await), [7, 6, 5, 4, 3]);
    // More than the limit at once.
    assert_eq!(append(store, 8..20).await, 12);
    assert_eq!(numbers(&list(store, None, ALL).await), [19, 18, 17, 16, 15]);
}

/// A letter that is removed makes room, and its number is not given again.
pub async fn removing_a_dead_letter_is_idempotent(store: &dyn DeadLetterStore) {
    append(store, 1..6).await;
    let newest = list(store, None, 1).await[0].id;
    let remove = async |id| store.remove_dead_letter(id).await.expect("remove_dead_letter");
    assert!(remove(newest).await);
    assert!(!remove(newest).await);
    assert!(!remove(DeadLetterId(u64::MAX)).await);
    assert_eq!(append(store, 6..7).await, 0);
    let all = list(store, None, ALL).await;
    assert_eq!(numbers(&all), [6, 4, 3, 2, 1]);
    assert!(all[0].id > newest);
    assert_eq!(append(store, 7..8).await, 1);
}

/// A letter is found by its number, with all that is known of its record, bytes and all.
pub async fn a_record_is_kept_whole(store: &dyn DeadLetterStore) {
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let record = RecordOrigin {
        topic: "orders-é".to_owned(),
        partition: i32::MAX,
        offset: i64::MAX,
        key: Some(vec![0, 0xff, b'k']),
        headers: vec![
            header("trace", Some(b"1")),
            header("trace", Some(&[0, 0xfe])),
            header("", None),
            header("empty", Some(b"")),
        ],
    };
    let full = NewDeadLetter {
        origin: Origin::Kafka(record),
        stage: Stage::Store,
        reason: String::new(),
        payload: vec![1],
        payload_bytes: u64::from(u32::MAX),
        at: at(7),
    };
    let bare = RecordOrigin {
        topic: "t".to_owned(),
        partition: 0,
        offset: 0,
        key: None,
        headers: Vec::new(),
    };
    let bare = NewDeadLetter {
        origin: Origin::Kafka(bare),
        stage: Stage::Plan,
        payload: Vec::new(),
        payload_bytes: 0,
        ..full.clone()
    };
    let letters = vec![full.clone(), bare.clone(), letter(1)];
    store.append_dead_letters(letters.clone()).await.expect("append_dead_letters");
    let all = list(store, None, ALL).await;
    for (kept, sent) in all.iter().rev().zip(&letters) {
        assert_eq!(kept.letter, *sent);
        let found = store.find_dead_letter(kept.id).await.expect("find_dead_letter");
        assert_eq!(found.as_ref(), Some(kept));
    }
    let nothing = store.find_dead_letter(DeadLetterId(u64::MAX)).await.expect("find_dead_letter");
    assert_eq!(nothing, None);
}

/// The count is that of the letters that are kept.
pub async fn dead_letters_are_counted(store: &dyn DeadLetterStore) {
    let count = async || store.count_dead_letters().await.expect("count_dead_letters");
    assert_eq!(count().await, 0);
    append(store, 1..4).await;
    assert_eq!(count().await, 3);
    let newest = list(store, None, 1).await[0].id;
    store.remove_dead_letter(newest).await.expect("remove_dead_letter");
    store.remove_dead_letter(newest).await.expect("remove_dead_letter");
    assert_eq!(count().await, 2);
    append(store, 4..20).await;
    assert_eq!(count().await, DEAD_LETTERS_MAX);
}
