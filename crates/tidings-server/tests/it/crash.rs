//! What survives `kill -9` in the middle of the demo's stream.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tidings_server::demo::{DemoGraph, Story};
use tokio::task::JoinSet;

use crate::harness::{Node, Site};

/// Backends that send at the same time.
const SENDERS: usize = 8;
/// How often the node is killed.
const KILLS: u64 = 3;

/// What the backends know: which events were answered, and which they have to send again.
#[derive(Default)]
struct Ledger {
    /// Recipients of every event that was answered with 2xx.
    answered: Vec<(String, Vec<String>)>,
    /// Events that were sent and not answered.
    unanswered: Vec<(Value, Vec<String>)>,
}

/// Sends the story until the node is gone, the events that were not answered first.
async fn send_until_gone(node: &Node, story: &Arc<Mutex<Story>>, ledger: &Arc<Mutex<Ledger>>) {
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (story, ledger) = (Arc::clone(story), Arc::clone(ledger));
        let url = format!("{}/v1/events", node.url());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        senders.spawn(async move {
            loop {
                let again = ledger.lock().unwrap().unanswered.pop();
                let (json, recipients) = again.unwrap_or_else(|| {
                    let mut story = story.lock().unwrap();
                    let event = story.next_event();
                    let users = event.recipients.iter().map(|it| story.user(*it).to_string());
                    (event.json.clone(), users.collect())
                });
                let answer = http.post(&url).body(json.to_string()).send().await;
                let mut ledger = ledger.lock().unwrap();
                match answer {
                    Ok(answer) => {
                        assert_eq!(answer.status(), 200);
                        let id = json["id"].as_str().unwrap().to_owned();
                        ledger.answered.push((id, recipients));
                    }
                    Err(_) => {
                        ledger.unanswered.push((json, recipients));
                        return;
                    }
                }
            }
        });
    }
    while let Some(done) = senders.join_next().await {
        done.unwrap();
    }
}

/// Reads a whole inbox, checks that it has no holes, and returns the ids of its events.
async fn whole_inbox(node: &Node, user: &str) -> Vec<String> {
    let (mut ids, mut seqs) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/users/{user}/notifications?limit=1000{cursor}");
        let page = node.get(&path).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            ids.push(item["event_id"].as_str().unwrap().to_owned());
            seqs.push(item["seq"].as_u64().unwrap());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seqs.reverse();
    let expected: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, expected, "the inbox of {user} has holes");
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_was_answered_is_there_once_after_kill_9() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let graph = Arc::new(DemoGraph::load("small").unwrap());
    let story = Arc::new(Mutex::new(Story::new(Arc::clone(&graph), seed, "crash")));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let site = Site::new("");

    for kill in 0..KILLS {
        let node = site.start();
        if kill == 0 {
            let lines = graph.import_lines(&graph.follows);
            node.post("/v1/graph/import", lines).await.expect(200);
        }
        let id = node.id();
        let wait = Duration::from_millis(random.random_range(200..2_000));
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(wait);
            // SIGKILL: no handler runs, nothing is flushed.
            let status = std::process::Command::new("kill").args(["-9", &id.to_string()]).status();
            assert!(status.unwrap().success());
        });
        send_until_gone(&node, &story, &ledger).await;
        killer.await.unwrap();
        node.kill();
    }

    let node = site.start();
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    assert!(ledger.answered.len() > 50, "only {} events were answered", ledger.answered.len());
    let mut expected: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (event, recipients) in &ledger.answered {
        for user in recipients {
            expected.entry(user).or_default().insert(event);
        }
    }
    // What was sent and never answered may be there, once, or not.
    let unanswered: HashSet<_> =
        ledger.unanswered.iter().map(|(json, _)| json["id"].as_str().unwrap()).collect();
    for (user, expected) in &expected {
        let inbox = whole_inbox(&node, user).await;
        let unique: HashSet<_> = inbox.iter().map(String::as_str).collect();
        assert_eq!(unique.len(), inbox.len(), "{user} was told twice");
        let lost: Vec<_> = expected.difference(&unique).collect();
        assert!(lost.is_empty(), "{user} lost {lost:?}");
        let extra: Vec<_> =
            unique.difference(expected).filter(|id| !unanswered.contains(**id)).collect();
        assert!(extra.is_empty(), "{user} was told of {extra:?}");
    }
    node.stop();
}
