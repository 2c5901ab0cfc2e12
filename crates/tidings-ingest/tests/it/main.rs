//! The intake against a store and a graph that can be told to wait and to fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod doubles;
mod fan_outs;
mod follow_events;
mod kafka;
mod lanes;

use std::{sync::Arc, time::Duration};

use doubles::{Fault, Recorder};
use tidings_core::{
    batch::BatchLimits,
    clock::{Clock, SystemClock},
    event::IncomingEvent,
    ports::{NotificationStore, SocialGraphStore},
    route::RoutingPolicy,
};
use tidings_ingest::{
    Accepted, Intake, IntakeError, Planner, PlannerConfig,
    pipeline::{Pipeline, PipelineConfig, PipelineHandle},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const CONFIG: PipelineConfig = PipelineConfig {
    batch: BatchLimits { max_rows: 10, max_bytes: 1 << 20, max_age: Duration::ZERO },
    queue_jobs: 100,
    queue_bytes: 1 << 20,
    queue_wait: Duration::from_millis(50),
    lanes: 1,
};

/// How long the intake waits for the store, where that is not to be seen.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

struct Running {
    intake: Intake,
    handle: PipelineHandle,
    planner: Planner,
    recorder: Arc<Recorder>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// A planner that asks the graph of `recorder`.
fn planner(recorder: &Arc<Recorder>) -> Planner {
    let graph: Arc<dyn SocialGraphStore> = recorder.clone();
    let planning = PlannerConfig { routing: RoutingPolicy::default(), page: 7 };
    Planner::new(planning, graph, recorder.clone(), Arc::new(SystemClock))
}

fn start(config: PipelineConfig) -> Running {
    start_waiting(config, ANSWER_WAIT)
}

fn start_waiting(config: PipelineConfig, answer_wait: Duration) -> Running {
    let recorder = Arc::new(Recorder::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: Arc<dyn NotificationStore> = recorder.clone();
    let wakes = Arc::clone(&recorder);
    let after_commit = Arc::new(move || wakes.count_wake());
    let (pipeline, handle) =
        Pipeline::new(config, store, recorder.clone(), after_commit, Arc::clone(&clock));
    let planner = planner(&recorder);
    let intake = Intake::new(planner.clone(), handle.clone(), clock, answer_wait);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(pipeline.run(stop.clone()));
    Running { intake, handle, planner, recorder, tasks, stop }
}

fn event(id: &str, audience: &serde_json::Value) -> IncomingEvent {
    let json = serde_json::json!({"id": id, "source": "s", "type": "t", "audience": audience});
    IncomingEvent::from_json(json.to_string().as_bytes(), SystemClock.now()).unwrap()
}

fn to_users(id: &str, users: usize) -> IncomingEvent {
    let users: Vec<_> = (0..users).map(|n| format!("u{n}")).collect();
    event(id, &serde_json::json!({ "users": users }))
}

fn stored(result: &Result<Accepted, IntakeError>) -> usize {
    result.as_ref().unwrap().stored
}

#[tokio::test]
async fn callers_who_come_while_a_transaction_runs_share_the_next_one() {
    let mut running = start(CONFIG);
    running.recorder.hold();
    for n in 0..6 {
        let intake = running.intake.clone();
        running.tasks.spawn(async move {
            let outcome = intake.accept(&[to_users(&format!("e{n}"), 1)]).await;
            assert_eq!(stored(&outcome[0]), 1);
        });
    }
    running.recorder.wait_for_queue(&running.intake, 6).await;
    running.recorder.release();
    running.stop.cancel();
    while let Some(done) = running.tasks.join_next().await {
        done.unwrap();
    }
    let batches = running.recorder.batches();
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 6);
    assert!(batches.len() <= 2, "{batches:?}");
    assert_eq!(running.recorder.broadcasts(), 6);
    assert_eq!(running.recorder.wakes(), batches.len());
}

#[tokio::test]
async fn an_audience_larger_than_a_batch_is_stored_in_parts_and_answered_as_one() {
    let running = start(CONFIG);
    let events = [to_users("big", 25), to_users("small", 2)];
    let outcomes = running.intake.accept(&events).await;
    assert_eq!(outcomes.iter().map(stored).collect::<Vec<_>>(), [25, 2]);
    assert!(running.recorder.batches().iter().all(|batch| batch.len() <= 10));
}

#[tokio::test]
async fn an_event_that_the_store_refuses_fails_alone() {
    let running = start(CONFIG);
    running.recorder.refuse("bad");
    let events = ["a", "bad", "b"].map(|id| to_users(id, 2));
    let outcomes = running.intake.accept(&events).await;
    assert!(matches!(outcomes[1], Err(IntakeError::Store(_))), "{outcomes:?}");
    assert_eq!([stored(&outcomes[0]), stored(&outcomes[2])], [2, 2]);
}

#[tokio::test]
async fn a_request_that_the_store_refuses_does_not_fail_those_it_shared_a_transaction_with() {
    let mut running = start(CONFIG);
    running.recorder.refuse("bad");
    running.recorder.hold();
    let mut callers = JoinSet::new();
    for id in ["first", "bad", "good"] {
        let intake = running.intake.clone();
        callers.spawn(async move { (id, intake.accept(&[to_users(id, 1)]).await.remove(0)) });
    }
    running.recorder.wait_for_queue(&running.intake, 3).await;
    running.recorder.release();
    while let Some(answered) = callers.join_next().await {
        let (id, outcome) = answered.unwrap();
        assert_eq!(outcome.is_ok(), id != "bad", "{id}: {outcome:?}");
    }
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn users_who_have_turned_the_actor_away_are_not_told() {
    let running = start(CONFIG);
    running.recorder.hide("u1");
    let audience = serde_json::json!({"users": ["u0", "u1", "u2"]});
    let mut json = serde_json::json!({"id": "e", "source": "s", "type": "t", "audience": audience});
    json["actor"] = "star".into();
    let event = IncomingEvent::from_json(json.to_string().as_bytes(), SystemClock.now()).unwrap();
    assert_eq!(stored(&running.intake.accept(&[event]).await[0]), 2);
    let told: Vec<_> = running.recorder.batches().concat();
    assert_eq!(told.iter().map(|user| user.as_str()).collect::<Vec<_>>(), ["u0", "u2"]);
}

#[tokio::test]
async fn an_event_that_nobody_is_told_of_is_accepted() {
    let running = start(CONFIG);
    let outcome =
        running.intake.accept(&[event("post", &serde_json::json!({"followers_of": "star"}))]).await;
    assert_eq!(stored(&outcome[0]), 0);
}

#[tokio::test]
async fn when_the_store_is_gone_everyone_in_the_batch_is_told_and_the_next_batch_is_tried() {
    let running = start(CONFIG);
    running.recorder.fail(Fault::Store);
    let events = [to_users("a", 1), to_users("b", 1)];
    for outcome in running.intake.accept(&events).await {
        assert!(matches!(outcome, Err(IntakeError::Store(_))), "{outcome:?}");
    }
    assert_eq!(running.recorder.broadcasts(), 0);
    running.recorder.fail(Fault::None);
    assert_eq!(stored(&running.intake.accept(&events).await[1]), 1);
}

#[tokio::test]
async fn sessions_look_for_what_was_committed_without_an_answer_once_it_is_sent_again() {
    let running = start(CONFIG);
    assert_eq!(stored(&running.intake.accept(&[to_users("told", 1)]).await[0]), 1);
    // More users than a batch takes: an event that is stored in parts is in doubt in all of them.
    let event = to_users("cut", 15);
    running.recorder.fail(Fault::Answer);
    let outcome = running.intake.accept(std::slice::from_ref(&event)).await;
    assert!(matches!(outcome[0], Err(IntakeError::Store(_))), "{outcome:?}");
    assert_eq!(running.recorder.prompted(), [""; 0]);
    let outcome = running.intake.accept(&[to_users("told", 2), event]).await;
    assert_eq!(outcome[1].as_ref().unwrap().duplicates, 15);
    // Those of the event that all was well with are left alone.
    let expected: Vec<_> = (0..15).map(|n| format!("u{n}")).collect();
    assert_eq!(running.recorder.prompted(), expected);
}

#[tokio::test(start_paused = true)]
async fn all_sessions_look_when_a_store_that_failed_is_back_although_nobody_sends_anything() {
    let running = start(CONFIG);
    running.recorder.fail(Fault::Answer);
    assert!(running.intake.accept(&[to_users("cut", 1)]).await[0].is_err());
    let seconds = async |count| tokio::time::sleep(Duration::from_secs(count)).await;
    running.recorder.fail(Fault::Store);
    seconds(60).await;
    assert_eq!(running.recorder.prompted_all(), 0, "the store is still away");
    running.recorder.fail(Fault::None);
    seconds(60).await;
    // Once more for what was still being committed.
    assert_eq!(running.recorder.prompted_all(), 2);
    assert_eq!(stored(&running.intake.accept(&[to_users("next", 1)]).await[0]), 1);
    seconds(60).await;
    assert_eq!(running.recorder.prompted_all(), 2);
}

#[tokio::test]
async fn when_the_graph_is_gone_only_events_for_followers_fail() {
    let running = start(CONFIG);
    running.recorder.fail(Fault::Graph);
    let events =
        [event("post", &serde_json::json!({"followers_of": "star"})), to_users("direct", 1)];
    let outcomes = running.intake.accept(&events).await;
    assert!(matches!(outcomes[0], Err(IntakeError::Graph(_))), "{outcomes:?}");
    assert_eq!(stored(&outcomes[1]), 1);
}

#[tokio::test]
async fn a_full_queue_turns_callers_away_within_the_wait_and_takes_them_again_later() {
    let mut running = start(PipelineConfig { queue_bytes: 1024, ..CONFIG });
    running.recorder.hold();
    // More than the queue holds, in jobs of their own.
    for n in 0..8 {
        let intake = running.intake.clone();
        running.tasks.spawn(async move {
            intake.accept(&[to_users(&format!("e{n}"), 1)]).await;
        });
    }
    running.recorder.wait_until_holding().await;
    let many: Vec<_> = (0..20).map(|n| to_users(&format!("late{n}"), 10)).collect();
    let outcomes = running.intake.accept(&many).await;
    let busy = |outcome: &Result<_, _>| matches!(outcome, Err(IntakeError::Busy { .. }));
    assert!(outcomes.iter().any(busy), "{outcomes:?}");
    running.recorder.release();
    assert_eq!(stored(&running.intake.accept(&[to_users("after", 1)]).await[0]), 1);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_waited_for_and_has_everything_once_when_it_does() {
    let running = start_waiting(CONFIG, Duration::from_millis(50));
    running.recorder.hold();
    // The second of them is more than a batch takes.
    let events = [to_users("a", 1), to_users("b", 15), to_users("c", 1)];
    for outcome in running.intake.accept(&events).await {
        assert!(matches!(outcome, Err(IntakeError::Late { .. })), "{outcome:?}");
    }
    running.recorder.release();
    let (planner, handle) = (running.planner.clone(), running.handle.clone());
    let patient = Intake::new(planner, handle, Arc::new(SystemClock), ANSWER_WAIT);
    for (outcome, users) in patient.accept(&events).await.iter().zip([1, 15, 1]) {
        assert_eq!(outcome.as_ref().unwrap().duplicates, users, "stored meanwhile");
    }
}

#[tokio::test]
async fn once_the_store_is_gone_the_rest_of_the_events_is_not_tried() {
    let running = start(CONFIG);
    running.recorder.fail(Fault::Store);
    // Ten batches full, of which the first are under way when the first answer is there.
    let events: Vec<_> = (0..10).map(|n| to_users(&format!("e{n}"), 10)).collect();
    let refused = running.intake.accept(&events).await;
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    running.recorder.fail(Fault::None);
    for outcome in running.intake.accept(&events).await {
        assert_eq!(stored(&outcome), 10);
    }
}

#[tokio::test]
async fn what_is_queued_when_the_node_stops_is_stored_and_what_comes_later_is_refused() {
    let mut running = start(CONFIG);
    running.recorder.hold();
    let intake = running.intake.clone();
    let mut callers = JoinSet::new();
    callers.spawn(async move { intake.accept(&[to_users("first", 1)]).await });
    running.recorder.wait_until_holding().await;
    let intake = running.intake.clone();
    callers.spawn(async move { intake.accept(&[to_users("queued", 1)]).await });
    running.recorder.wait_for_queue(&running.intake, 2).await;
    running.stop.cancel();
    running.recorder.release();
    while let Some(outcome) = callers.join_next().await {
        assert_eq!(stored(&outcome.unwrap()[0]), 1);
    }
    while let Some(done) = running.tasks.join_next().await {
        done.unwrap();
    }
    let outcome = running.intake.accept(&[to_users("late", 1)]).await;
    assert!(matches!(outcome[0], Err(IntakeError::Stopping)), "{outcome:?}");
}
