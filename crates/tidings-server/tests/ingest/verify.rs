//! Reads everything back, as users see it, and compares it with what was produced.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::{harness::Node, ledger::Ledger, until::DEADLINE};

/// The body of a page, or nothing if the node does not answer or does not like to.
pub(crate) async fn try_get(node: &Node, path: &str) -> Option<Value> {
    let answer = node.request(Method::GET, path).send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    answer.json().await.ok()
}

/// Per partition of the group's topics the first record that is not stored yet.
pub(crate) async fn positions(node: &Node) -> Option<BTreeMap<(String, i32), i64>> {
    let offsets = try_get(node, "/v1/offsets").await?;
    let offsets = offsets.as_array()?.iter().filter_map(|it| {
        let partition = i32::try_from(it["partition"].as_i64()?).ok()?;
        Some(((it["topic"].as_str()?.to_owned(), partition), it["next_offset"].as_i64()?))
    });
    Some(offsets.collect())
}

/// How many records the group has done with; none if the node does not say.
pub(crate) async fn records_done(node: &Node) -> i64 {
    positions(node).await.unwrap_or_default().values().sum()
}

/// Waits until every record is stored or dead, for as long as it goes on.
pub(crate) async fn until_drained(node: &Node, ledger: &Ledger) {
    let mut done = BTreeMap::new();
    let mut deadline = Instant::now() + DEADLINE;
    while done != ledger.ends {
        assert!(Instant::now() < deadline, "{done:?} of {:?} stored, and no more", ledger.ends);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let positions = positions(node).await.unwrap_or_default();
        let of_topic = positions.into_iter().filter(|((topic, _), _)| *topic == ledger.topic);
        let now: BTreeMap<_, _> = of_topic.map(|((_, it), position)| (it, position)).collect();
        if now != done {
            deadline = Instant::now() + DEADLINE;
            done = now;
        }
    }
}

/// Checks every inbox and every dead letter: nothing lost, nothing twice, no holes, and the events of
/// a partition in their order.
pub(crate) async fn assert_exact(node: &Node, ledger: &Ledger) {
    for (user, expected) in &ledger.told {
        let inbox = inbox(node, user).await;
        let stored: BTreeSet<_> = inbox.iter().map(String::as_str).collect();
        let wanted: BTreeSet<_> = expected.keys().map(String::as_str).collect();
        assert_eq!(stored.len(), inbox.len(), "{user} was told twice");
        let lost: Vec<_> = wanted.difference(&stored).collect();
        assert!(lost.is_empty(), "{user} lost {} of {}: {lost:?}", lost.len(), wanted.len());
        let extra: Vec<_> = stored.difference(&wanted).collect();
        assert!(extra.is_empty(), "{user} was told of {extra:?}");
        let mut last: BTreeMap<i32, (i64, &str)> = BTreeMap::new();
        for event in &inbox {
            let (partition, offset) = expected[event];
            let before = last.insert(partition, (offset, event));
            let in_order = before.is_none_or(|(earlier, _)| earlier < offset);
            assert!(in_order, "{user} was told of {event} after {before:?} of one partition");
        }
    }
    let letters = dead_letters(node, &ledger.topic).await;
    let unique: BTreeSet<_> = letters.iter().copied().collect();
    assert_eq!(unique.len(), letters.len(), "a record is two dead letters");
    assert_eq!(unique, ledger.letters, "the dead letters");
}

/// Reads a whole inbox, checks its numbers, and returns the ids of its events, oldest first.
pub(crate) async fn inbox(node: &Node, user: &str) -> Vec<String> {
    let (mut events, mut seqs) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/users/{user}/notifications?limit=1000{cursor}");
        let page = node.get(&path).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            events.push(item["event_id"].as_str().unwrap().to_owned());
            seqs.push(item["seq"].as_u64().unwrap());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["last_seq"], events.len(), "the inbox of {user}");
                assert_eq!(page["unread"], events.len(), "the inbox of {user}");
                break;
            }
        }
    }
    seqs.reverse();
    events.reverse();
    let expected: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, expected, "the inbox of {user} has holes");
    events
}

/// Where the records stood that are dead letters of the topic.
pub(crate) async fn dead_letters(node: &Node, topic: &str) -> Vec<(i32, i64)> {
    let letters = list_dead_letters(node).await;
    let of_topic = letters.iter().filter(|it| it["topic"] == topic);
    let place = |it: &Value| {
        let partition = i32::try_from(it["partition"].as_i64().unwrap()).unwrap();
        (partition, it["offset"].as_i64().unwrap())
    };
    of_topic.map(place).collect()
}

/// All dead letters, newest first.
pub(crate) async fn list_dead_letters(node: &Node) -> Vec<Value> {
    let mut letters = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/dead-letters?limit=1000{cursor}");
        let page = node.get(&path).await.expect(200);
        letters.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["total"], letters.len());
                return letters;
            }
        }
    }
}

/// What readiness says of a part of the node; none if the node does not answer or has no such part.
pub(crate) async fn part(node: &Node, name: &str) -> Option<Value> {
    // Whatever the status: a part that is down is what is asked for.
    let answer = node.request(Method::GET, "/readyz").send().await.ok()?;
    let ready: Value = answer.json().await.ok()?;
    ready["parts"].as_array()?.iter().find(|part| part["name"] == name).cloned()
}
