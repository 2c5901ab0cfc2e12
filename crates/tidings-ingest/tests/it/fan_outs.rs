//! Fan-outs: everyone is told once, whatever happens to workers.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tidings_core::{
    clock::{Clock, SystemClock},
    dead_letter::{Origin, Stage},
    event::{Audience, IncomingEvent},
    ids::{GraphId, UserId},
    ports::FanOutStore,
    retry::RetryPolicy,
};
use tidings_ingest::{FanOutConfig, FanOutWorker, Planner, pipeline::PipelineConfig};
use tokio_util::sync::CancellationToken;

use super::{
    CONFIG, Running,
    doubles::{Fault, Recorder},
    event, planner, start, stored,
};

const FAN_OUTS: FanOutConfig = FanOutConfig {
    concurrent: 2,
    lease: Duration::from_secs(30),
    poll: Duration::from_millis(5),
    retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 1, cap_ms: 5 },
};

fn worker(running: &Running) -> FanOutWorker {
    worker_with(FAN_OUTS, running, running.planner.clone())
}

fn worker_with(config: FanOutConfig, running: &Running, planner: Planner) -> FanOutWorker {
    let (store, handle) = (Arc::clone(&running.recorder), running.handle.clone());
    FanOutWorker::new(config, store, planner, handle, Arc::new(SystemClock))
}

async fn wait_until_over(running: &Running) {
    let over = async {
        while running.recorder.unfinished() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.unwrap();
}

/// How often each follower was told of each event, if not once.
fn told_otherwise_than_once(running: &Running, followers: usize, events: usize) -> usize {
    let mut told: HashMap<UserId, usize> = HashMap::new();
    for user in running.recorder.batches().concat() {
        *told.entry(user).or_default() += 1;
    }
    assert_eq!(told.len(), followers);
    told.values().filter(|times| **times != events).count()
}

#[tokio::test]
async fn the_first_page_is_told_at_once_and_a_worker_tells_the_rest() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(23);
    let outcome = running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    assert_eq!(stored(&outcome[0]), 7);
    assert!(outcome[0].as_ref().unwrap().fans_out);
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    wait_until_over(&running).await;
    assert_eq!(told_otherwise_than_once(&running, 23, 1), 0);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn an_audience_that_fits_a_page_begins_no_fan_out() {
    let running = start(CONFIG);
    running.recorder.set_followers(7);
    let outcome = running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    assert_eq!(stored(&outcome[0]), 7);
    assert!(!outcome[0].as_ref().unwrap().fans_out);
    assert_eq!(running.recorder.unfinished(), 0);
}

#[tokio::test]
async fn workers_that_die_anywhere_leave_nobody_out_and_tell_nobody_twice() {
    for turns in 0..40 {
        let mut running = start(CONFIG);
        running.recorder.set_followers(40);
        for id in ["one", "two"] {
            running.intake.accept(&[event(id, &json!({"followers_of": "star"}))]).await;
        }
        let mut doomed = tokio::task::JoinSet::new();
        doomed.spawn(worker(&running).run(CancellationToken::new()));
        // It dies after so many turns of the runtime, wherever that is.
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        doomed.shutdown().await;
        running.recorder.end_leases();
        running.tasks.spawn(worker(&running).run(CancellationToken::new()));
        wait_until_over(&running).await;
        assert_eq!(told_otherwise_than_once(&running, 40, 2), 0, "after {turns} turns");
        running.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn nodes_with_a_graph_each_tell_the_followers_of_their_own() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(40);
    // The other node has the same store, and a graph in which nobody follows.
    let other = Arc::new(Recorder::of_graph(GraphId(2)));
    running
        .tasks
        .spawn(worker_with(FAN_OUTS, &running, planner(&other)).run(CancellationToken::new()));
    running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    // It looks for work, more than once.
    let claims = running.recorder.claims();
    while running.recorder.claims() < claims + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(running.recorder.unfinished(), 1);
    let backlog = running.recorder.fan_out_backlog(GraphId(2)).await.unwrap();
    assert_eq!((backlog.here.unfinished, backlog.elsewhere.unfinished), (0, 1));
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    wait_until_over(&running).await;
    assert_eq!(told_otherwise_than_once(&running, 40, 1), 0);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_fan_out_whose_cursor_the_graph_refuses_begins_again_and_ends() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(40);
    running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    assert_eq!(running.recorder.unfinished(), 1);
    running.recorder.spell_cursors_anew();
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    wait_until_over(&running).await;
    // The store leaves out whoever has the notification already: here, those of the first page.
    assert_eq!(told_otherwise_than_once(&running, 40, 1), 7);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_small_fan_out_behind_huge_ones_ends_before_they_do() {
    for (concurrent, huge) in [(1, 1), (1, 2), (2, 5)] {
        let mut running = start(CONFIG);
        running.recorder.set_followers(2_000);
        for number in 0..huge {
            let id = format!("huge{number}");
            running.intake.accept(&[event(&id, &json!({"followers_of": "star"}))]).await;
        }
        let config = FanOutConfig { concurrent, poll: Duration::from_secs(3600), ..FAN_OUTS };
        let worker = worker_with(config, &running, running.planner.clone());
        running.tasks.spawn(worker.run(CancellationToken::new()));
        // Everything is taken by huge ones when it begins.
        while running.recorder.claims() == 0 {
            tokio::task::yield_now().await;
        }
        running.recorder.set_followers_of("starlet", 10);
        running.intake.accept(&[event("small", &json!({"followers_of": "starlet"}))]).await;
        wait_until_over(&running).await;
        let ended = running.recorder.ended();
        assert_eq!(ended.len(), huge + 1, "{ended:?}");
        assert_eq!(ended[0], "small", "{ended:?}");
        running.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn a_page_is_planned_while_the_one_before_is_stored_and_stored_after_it() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(30);
    running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    running.recorder.hold();
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    running.recorder.wait_until_holding().await;
    // The first, the one that is held, and the one after it, but not all.
    while running.recorder.pages_read() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((running.recorder.pages_read(), running.recorder.batches().len()), (3, 1));
    running.recorder.release();
    wait_until_over(&running).await;
    let told: Vec<_> = running.recorder.batches().concat();
    let expected: Vec<_> = (0..30).map(|n| UserId::new(&format!("f{n}")).unwrap()).collect();
    assert_eq!(told, expected);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn pages_are_wider_where_they_leave_a_lane_to_what_is_direct() {
    for (lanes, widest) in [(1, 7), (2, 28)] {
        let mut running = start(PipelineConfig { lanes, ..CONFIG });
        running.recorder.set_followers(100);
        running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
        running.tasks.spawn(worker(&running).run(CancellationToken::new()));
        wait_until_over(&running).await;
        assert_eq!(told_otherwise_than_once(&running, 100, 1), 0);
        let pages = running.recorder.batches();
        assert_eq!(pages.iter().map(Vec::len).max(), Some(widest));
        running.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn two_workers_on_the_same_fan_outs_tell_everyone_once() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(200);
    for id in ["one", "two", "three"] {
        running.intake.accept(&[event(id, &json!({"followers_of": "star"}))]).await;
    }
    for _ in 0..2 {
        running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    }
    while running.recorder.unfinished() > 0 {
        // Nobody can rely on a lease.
        running.recorder.end_leases();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(told_otherwise_than_once(&running, 200, 3), 0);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_follower_whose_notification_is_refused_becomes_a_dead_letter_and_the_others_are_told() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(60);
    running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    // Two on a page, and the last of all.
    let refused = ["f20", "f19", "f59"];
    running.recorder.refuse_users(&refused);
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    wait_until_over(&running).await;
    assert_eq!(told_otherwise_than_once(&running, 57, 1), 0);
    let letters = running.recorder.letters();
    let mut replayed = HashSet::new();
    for letter in &letters {
        assert_eq!((&letter.origin, letter.stage), (&Origin::FanOut, Stage::Store));
        assert!(letter.reason.contains("refused by the double store"), "{}", letter.reason);
        let again = IncomingEvent::from_json(&letter.payload, SystemClock.now()).unwrap();
        assert_eq!(again.event.id.as_str(), "post");
        let Audience::Users(users) = again.audience else { panic!("{:?}", again.audience) };
        replayed.extend(users);
    }
    assert_eq!(letters.len(), refused.len());
    assert_eq!(replayed, refused.iter().map(|user| UserId::new(user).unwrap()).collect());
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_follower_is_passed_over_when_the_dead_letter_is_refused_too() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(20);
    running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
    running.recorder.refuse_users(&["f12"]);
    running.recorder.refuse_letters();
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    wait_until_over(&running).await;
    assert_eq!(told_otherwise_than_once(&running, 19, 1), 0);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_fan_out_of_which_all_is_refused_is_put_aside_before_it_fills_the_dead_letters() {
    let mut running = start(CONFIG);
    running.recorder.set_followers(200);
    for id in ["bad", "good"] {
        running.intake.accept(&[event(id, &json!({"followers_of": "star"}))]).await;
    }
    running.recorder.refuse("bad");
    running.tasks.spawn(worker(&running).run(CancellationToken::new()));
    let put_aside = async {
        while running.recorder.unfinished() > 1 || running.recorder.letters().len() < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), put_aside).await.unwrap();
    let claims = running.recorder.claims();
    while running.recorder.claims() < claims + 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((running.recorder.letters().len(), running.recorder.unfinished()), (20, 1));
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn a_fan_out_waits_for_a_store_or_a_graph_that_is_gone() {
    for fault in [Fault::Store, Fault::Graph] {
        let mut running = start(CONFIG);
        running.recorder.set_followers(30);
        running.intake.accept(&[event("post", &json!({"followers_of": "star"}))]).await;
        running.recorder.fail(fault);
        running.tasks.spawn(worker(&running).run(CancellationToken::new()));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(running.recorder.unfinished(), 1);
        running.recorder.fail(Fault::None);
        wait_until_over(&running).await;
        assert_eq!(told_otherwise_than_once(&running, 30, 1), 0);
        running.tasks.shutdown().await;
    }
}
