//! Which job goes when, and with whom it fails.

use tidings_core::{
    batch::NotificationBatch,
    checkpoint::{Advance, Epoch, PartitionId},
    clock::Timestamp,
    ports::Claim,
};
use tidings_ingest::{
    IntakeError,
    pipeline::{JobResult, PipelineConfig},
};
use tokio::sync::oneshot::Receiver;

use super::{CONFIG, Running, start, to_users};

fn now() -> Timestamp {
    Timestamp::from_millis(0)
}

/// One event for one user of its own name.
async fn batch(running: &Running, id: &str) -> NotificationBatch {
    let audience = serde_json::json!({ "users": [id] });
    let planned = running.planner.plan(&super::event(id, &audience)).await.unwrap();
    let mut batch = NotificationBatch::new(CONFIG.batch);
    batch.try_add(planned, now()).unwrap();
    batch
}

fn partition(partition: i32) -> PartitionId {
    PartitionId { group: "g".into(), topic: "t".into(), partition }
}

fn advance(number: i32) -> Advance {
    Advance { partition: partition(number), epoch: Epoch(1), from: None, to: 9 }
}

#[tokio::test]
async fn a_job_whose_partition_was_taken_over_fails_alone() {
    let mut running = start(CONFIG);
    running.recorder.take_over(Claim::Partition(partition(1)));
    running.recorder.hold();
    let mut answers = Vec::new();
    for number in 0..3 {
        let mut batch = batch(&running, &format!("e{number}")).await;
        batch.advance(advance(number), now());
        answers.push(running.handle.submit_patiently(batch).await.unwrap());
    }
    running.recorder.wait_until_holding().await;
    running.recorder.release();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer.await.unwrap() {
            Ok(accepted) => assert_eq!((accepted[0].stored, number == 1), (1, false)),
            Err(error) => {
                assert_eq!(number, 1, "{error}");
                assert!(matches!(error, IntakeError::Fenced(_)), "{error:?}");
            }
        }
    }
    running.tasks.shutdown().await;
}

/// A job that moves `number` on.
async fn submit(running: &Running, id: &str, advance: Advance) -> Receiver<JobResult> {
    let mut batch = batch(running, id).await;
    batch.advance(advance, now());
    running.handle.submit_patiently(batch).await.unwrap()
}

#[tokio::test]
async fn no_partition_waits_while_a_lane_is_idle() {
    let mut running = start(PipelineConfig { lanes: 2, ..CONFIG });
    // The two of each pair have the same remainder.
    for numbers in [[0, 2], [1, 3]] {
        running.recorder.hold();
        let mut answers = Vec::new();
        for number in numbers {
            answers.push(submit(&running, &format!("e{number}"), advance(number)).await);
        }
        running.recorder.wait_until_appending(2).await;
        running.recorder.release();
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    }
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn what_moves_a_partition_on_follows_what_does_so_already() {
    let mut running = start(PipelineConfig { lanes: 2, ..CONFIG });
    running.recorder.hold();
    let first = submit(&running, "e0", advance(0)).await;
    running.recorder.wait_until_appending(1).await;
    let second = submit(&running, "e1", Advance { from: Some(9), to: 12, ..advance(0) }).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.recorder.appending(), 1, "the other lane is idle");
    running.recorder.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let order: Vec<_> = running.recorder.batches().concat();
    assert_eq!(order.iter().map(|user| user.as_str()).collect::<Vec<_>>(), ["e0", "e1"]);
    running.tasks.shutdown().await;
}

#[tokio::test]
async fn the_events_of_a_request_stay_in_their_order() {
    let mut running = start(PipelineConfig { lanes: 2, ..CONFIG });
    running.recorder.hold();
    // Each of these fills a transaction by itself.
    let users = |name: &str| (0..8).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
    let events = ["a", "b", "c"]
        .map(|name| super::event(name, &serde_json::json!({ "users": users(name) })));
    let intake = running.intake.clone();
    running.tasks.spawn(async move {
        assert!(intake.accept(&events).await.iter().all(Result::is_ok));
    });
    running.recorder.wait_for_queue(&running.intake, 3).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.recorder.appending(), 1, "the other lane is idle");
    running.recorder.release();
    running.stop.cancel();
    while let Some(done) = running.tasks.join_next().await {
        done.unwrap();
    }
    let firsts: Vec<_> = running.recorder.batches().iter().map(|it| it[0].to_string()).collect();
    assert_eq!(firsts, ["a0", "b0", "c0"]);
}

#[tokio::test]
async fn a_batch_of_nothing_but_a_position_is_stored() {
    let running = start(CONFIG);
    let mut batch = NotificationBatch::new(CONFIG.batch);
    batch.advance(advance(0), now());
    let answer = running.handle.submit_patiently(batch).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_page_gives_way_to_what_is_direct_but_not_for_ever() {
    let mut running = start(CONFIG);
    running.recorder.hold();
    let first = running.handle.submit_patiently(batch(&running, "first").await).await.unwrap();
    running.recorder.wait_until_holding().await;
    let page = running.handle.submit_page(batch(&running, "page").await).await.unwrap();
    // Each fills a transaction.
    for number in 0..9 {
        let (intake, id) = (running.intake.clone(), format!("direct{number}"));
        running.tasks.spawn(async move {
            intake.accept(&[to_users(&id, 10)]).await;
        });
    }
    running.recorder.wait_for_queue(&running.intake, 11).await;
    running.recorder.release();
    first.await.unwrap().unwrap();
    page.await.unwrap().unwrap();
    let batches = running.recorder.batches();
    let place = batches.iter().position(|users| users[0].as_str() == "page").unwrap();
    assert!((2..=8).contains(&place), "after {place} transactions");
    running.tasks.shutdown().await;
}
