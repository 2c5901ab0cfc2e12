//! The rules of `AnswerStore`.

use tidings_core::ports::{AnswerStore, KeptAnswer, MAX_IDEMPOTENCY_KEY_BYTES, RequestKey};

use super::sample::at;

fn key(sender: &str, key: &str) -> RequestKey {
    RequestKey { sender: sender.to_owned(), key: key.to_owned() }
}

fn answer(number: u8) -> KeptAnswer {
    KeptAnswer {
        request_digest: [number; 32],
        status: 200 + u16::from(number),
        body: vec![number, 0, 0xff],
        at: at(number.into()),
    }
}

async fn put(store: &dyn AnswerStore, key: &RequestKey, answer: &KeptAnswer) {
    store.put_answer(key, answer.clone()).await.expect("put_answer");
}

async fn find(store: &dyn AnswerStore, key: &RequestKey) -> Option<KeptAnswer> {
    store.find_answer(key).await.expect("find_answer")
}

/// An answer is found under its key, whole, and under no other.
pub async fn an_answer_is_found_by_its_key(store: &dyn AnswerStore) {
    let long = "k".repeat(MAX_IDEMPOTENCY_KEY_BYTES);
    let keys = [
        key("a", "1"),
        key("b", "1"),
        key("a", "2"),
        key("A", "1"),
        key("a", "é 🦀"),
        key("", &long),
    ];
    for (key, number) in keys.iter().zip(1..) {
        assert_eq!(find(store, key).await, None);
        put(store, key, &answer(number)).await;
    }
    for (key, number) in keys.iter().zip(1..) {
        assert_eq!(find(store, key).await, Some(answer(number)));
    }
    let empty = KeptAnswer { body: Vec::new(), status: u16::MAX, ..answer(0) };
    put(store, &key("a", "empty"), &empty).await;
    assert_eq!(find(store, &key("a", "empty")).await, Some(empty));
}

/// What was answered first is answered always.
pub async fn the_first_answer_stands(store: &dyn AnswerStore) {
    let key = key("a", "1");
    put(store, &key, &answer(1)).await;
    put(store, &key, &answer(2)).await;
    assert_eq!(find(store, &key).await, Some(answer(1)));
}
