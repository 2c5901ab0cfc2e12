//! Records that cannot become notifications.

use rdkafka::Message;
use tidings_core::dead_letter::{DeadLetter, Origin, RecordOrigin, Stage};
use tidings_ingest::kafka::PartitionState;
use tidings_testkit::services::unique_name;

use super::{
    broker::{Draft, create_topic, header, produce, read},
    node::{Node, config, event_json, until_done},
    store::TestStore,
};
use crate::doubles::Fault;

fn record_of(letter: &DeadLetter) -> &RecordOrigin {
    let record = match &letter.letter.origin {
        Origin::Kafka(record) => Some(record),
        Origin::Http | Origin::FanOut => None,
    };
    record.unwrap()
}

fn poison() -> Vec<(Draft, &'static str)> {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let event = |field: &str| {
        format!(r#"{{"id":"p","source":"s","type":"t","audience":{{"users":["u"]}},{field}}}"#)
    };
    vec![
        (Draft::of("not json"), "expected"),
        (Draft::of(""), "EOF"),
        (Draft { value: None, ..Draft::default() }, "no value"),
        (Draft::of(vec![0xff, 0xfe]), "expected"),
        (Draft::of(b"{\"id\":\"\xff\"}".to_vec()), ""),
        (Draft::of(event(&format!("\"data\":{deep}"))), "recursion"),
        (Draft::of(event("\"id\":\"again\"")), "duplicate field"),
        (Draft::of(r#"{"id":"p","source":"s","type":"t"}"#), "audience: is required"),
        (Draft::of(event("\"title\":7")), "title"),
        (Draft::of(event(&format!("\"body\":\"{}\"", "x".repeat(5_000)))), "body: has 5000 bytes"),
        (Draft::of("x".repeat(900_000)), "expected"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_poison_is_kept_as_it_came_and_holds_nothing_up() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let (mut drafts, mut reasons) = (Vec::new(), Vec::new());
    for (index, (bad, reason)) in poison().into_iter().enumerate() {
        let headers = vec![("trace", format!("t{index}"))];
        let key = Some(format!("k{index}").into_bytes());
        drafts.extend([
            Draft::of(event_json(&format!("e{index}"), "ann")),
            Draft { key, headers, ..bad },
        ]);
        reasons.push(reason);
    }
    produce(&topic, &drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, drafts.len()).await;
    assert_eq!(store.events_of("ann").await.len(), reasons.len());
    let letters = store.dead_letters().await;
    assert_eq!(letters.len(), reasons.len());
    for (index, (letter, reason)) in letters.iter().zip(reasons).enumerate() {
        let (record, kept) = (record_of(letter), &letter.letter);
        let draft = &drafts[2 * index + 1];
        let value = draft.value.clone().unwrap_or_default();
        assert!(kept.reason.contains(reason), "{index}: {}", kept.reason);
        assert_eq!(kept.stage, Stage::Decode);
        assert_eq!((&*record.topic, record.partition), (&*topic, 0));
        assert_eq!(record.offset, i64::try_from(2 * index + 1).unwrap());
        assert_eq!(record.key, draft.key);
        let trace = format!("t{index}").into_bytes();
        assert_eq!(record.headers, [("trace".to_owned(), Some(trace))]);
        assert_eq!(kept.payload, value[..value.len().min(64 << 10)]);
        assert_eq!(kept.payload_bytes, value.len() as u64);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_found_among_the_rest_and_put_away_alone() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let drafts: Vec<_> = (0..500).map(|n| Draft::of(event_json(&format!("e{n}"), "ann"))).collect();
    produce(&topic, &drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    for bad in ["e0", "e123", "e124", "e499"] {
        store.refuse(bad);
    }
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 500).await;
    assert_eq!(store.events_of("ann").await.len(), 496);
    let letters = store.dead_letters().await;
    let found: Vec<_> = letters.iter().map(|it| record_of(it).offset).collect();
    assert_eq!(found, [0, 123, 124, 499]);
    assert!(letters.iter().all(|it| it.letter.stage == Stage::Store), "{letters:?}");
    assert!(letters[0].letter.reason.contains("told to refuse"), "{letters:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_cannot_be_read_costs_its_own_notifications_only() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    // One here, one there, and more in a row than a store may refuse of all.
    let is_bens = |n: usize| n.is_multiple_of(50) || (200..240).contains(&n);
    let whose = |n| if is_bens(n) { "ben" } else { "ann" };
    let drafts = (0..500).map(|n| Draft::of(event_json(&format!("e{n}"), whose(n))));
    produce(&topic, &drafts.collect::<Vec<_>>()).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    store.damage_inbox("ben");
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 500).await;
    let bens: Vec<_> = (0..500).filter(|n| is_bens(*n)).collect();
    assert_eq!(store.events_of("ann").await.len(), 500 - bens.len());
    let letters = store.dead_letters().await;
    let found = letters.iter().map(|it| usize::try_from(record_of(it).offset).unwrap());
    assert_eq!(found.collect::<Vec<_>>(), bens);
    let reason = &letters[0].letter.reason;
    assert!(reason.contains("a inbox that cannot be read"), "{reason}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_all_over_stops_the_partition_and_not_every_event_is_put_away() {
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let to = |user: usize, partition| Draft {
        partition,
        ..Draft::of(event_json(&format!("e{user}-{partition}"), &format!("u{user}-{partition}")))
    };
    let drafts = (0..200).flat_map(|user| [to(user, 0), to(user, 1)]);
    produce(&topic, &drafts.collect::<Vec<_>>()).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    for user in 0..200 {
        store.damage_inbox(&format!("u{user}-0"));
    }
    let node = Node::start(&store, &config);
    let why = node.stopped_because().await;
    assert!(why.contains("refused the events of 20 users") && why.contains("damaged"), "{why}");
    assert!(!node.health.snapshot().is_well());
    // The first 19 are put away, and all of the other partition is read.
    until_done(&store, &config.group, 19 + 200).await;
    assert_eq!(store.dead_letters().await.len(), 19);
    assert_eq!(store.events_of("u199-1").await, ["e199-1"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_store_refuses_even_as_a_dead_letter_stops_its_partition() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    store.refuse_letters();
    let good = Draft::of(event_json("e0", "ann"));
    produce(&topic, &[good, Draft::of("bad")]).await;
    let node = Node::start(&store, &config);
    let why = node.stopped_because().await;
    assert!(why.contains("offset 1") && why.contains("tidings offsets set"), "{why}");
    assert_eq!(store.events_of("ann").await, ["e0"]);
    assert!(!node.health.snapshot().is_well());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_nothing_but_garbage_is_stopped_and_the_others_go_on() {
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let garbage: Vec<_> = (0..5_000).map(|n| Draft::of(format!("garbage {n}"))).collect();
    let good = |n| Draft { partition: 1, ..Draft::of(event_json(&format!("e{n}"), "ann")) };
    produce(&topic, &garbage).await;
    produce(&topic, &(0..100).map(good).collect::<Vec<_>>()).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    for _ in 0..2 {
        let node = Node::start(&store, &config);
        let why = node.stopped_because().await;
        assert!(why.contains("records are no events"), "{why}");
        assert!(store.dead_letters().await.len() < 200);
        node.until("the other partition is read", |health| {
            let position = |it: &&tidings_ingest::kafka::PartitionHealth| it.partition == 1;
            health
                .partitions
                .iter()
                .find(position)
                .is_some_and(|it| it.position == Some(100) && it.state == PartitionState::Reading)
        })
        .await;
        node.stop().await;
    }
    assert_eq!(store.events_of("ann").await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_produced_to_their_topic_with_the_headers_of_kafka_connect() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    create_topic(&format!("{topic}.dlq"), 1).await;
    let bad = Draft {
        key: Some(b"k".to_vec()),
        headers: vec![("trace", "t1".to_owned())],
        ..Draft::of("not json")
    };
    produce(&topic, &[Draft::of(event_json("e0", "ann")), bad]).await;
    let mut config = config(&[&topic]);
    config.dead_letter_suffix = Some(".dlq".to_owned());
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 2).await;
    let produced = read(&format!("{topic}.dlq"), 1).await.remove(0);
    assert_eq!((produced.key(), produced.payload()), (Some(&b"k"[..]), Some(&b"not json"[..])));
    let reason = store.dead_letters().await[0].letter.reason.clone();
    for (name, value) in [
        ("trace", "t1"),
        ("__connect.errors.topic", &topic),
        ("__connect.errors.partition", "0"),
        ("__connect.errors.offset", "1"),
        ("__connect.errors.connector.name", &config.group),
        ("__connect.errors.task.id", "0"),
        ("__connect.errors.stage", "decode"),
        ("__connect.errors.exception.class.name", "tidings.DecodeError"),
        ("__connect.errors.exception.message", &reason),
    ] {
        assert_eq!(header(&produced, name).as_deref(), Some(value), "{name}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_for_dead_letters_holds_nothing_up() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    produce(&topic, &[Draft::of("bad"), Draft::of(event_json("e0", "ann"))]).await;
    let mut config = config(&[&topic]);
    config.dead_letter_suffix = Some(".missing".to_owned());
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 2).await;
    assert_eq!(store.dead_letters().await.len(), 1);
    assert_eq!(store.events_of("ann").await, ["e0"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_audience_can_never_be_worked_out_is_put_away() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    node.graph.fail(Fault::CorruptGraph);
    let to_followers =
        r#"{"id":"post","source":"s","type":"t","audience":{"followers_of":"star"}}"#;
    produce(&topic, &[Draft::of(to_followers), Draft::of(event_json("e1", "ann"))]).await;
    until_done(&store, &config.group, 2).await;
    let letters = store.dead_letters().await;
    assert_eq!((letters.len(), letters[0].letter.stage), (1, Stage::Plan));
    assert!(letters[0].letter.reason.contains("told to be corrupt"), "{letters:?}");
    assert_eq!(store.events_of("ann").await, ["e1"]);
    node.stop().await;
}
