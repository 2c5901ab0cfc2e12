//! Events that make and end follows, planned many at a time.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::json;
use tidings_core::{
    clock::{Clock, SystemClock},
    event::IncomingEvent,
};
use tidings_ingest::{FollowEvents, IntakeError, Planner};

use super::{
    doubles::{Fault, Recorder},
    planner,
};

fn following(recorder: &Arc<Recorder>) -> Planner {
    planner(recorder).with_follow_events(follow_events())
}

fn follow_events() -> FollowEvents {
    FollowEvents { follow_type: Some("follow".into()), unfollow_type: Some("unfollow".into()) }
}

fn event(kind: &str, follower: &str, followee: &str) -> IncomingEvent {
    let json = json!({
        "id": "1", "source": "s", "type": kind, "actor": follower, "time": "1970-01-01T00:00:07Z",
        "audience": {"users": [followee]},
    });
    IncomingEvent::from_json(json.to_string().as_bytes(), SystemClock.now()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_changes_of_a_follower_take_effect_in_the_order_of_their_events() {
    let recorder = Arc::new(Recorder::default());
    let planner = following(&recorder);
    let mut events = Vec::new();
    for n in 0..15 {
        for follower in ["ann", "ben"] {
            let kind = if n % 2 == 0 { "follow" } else { "unfollow" };
            events.push(event(kind, follower, &format!("star{}", n / 2)));
        }
    }
    let planned = join_all(events.iter().map(|event| planner.plan(event))).await;
    for (event, planned) in events.iter().zip(planned) {
        let told = planned.unwrap().recipients.len();
        assert_eq!(told, usize::from(event.event.event_type == "follow"));
    }
    let changes = recorder.edge_changes();
    for follower in ["ann", "ben"] {
        let of_one: Vec<_> = changes.iter().filter(|it| it.starts_with(follower)).collect();
        let expected = (0..15).map(|n| {
            let star = n / 2;
            match n % 2 {
                0 => format!("{follower} follows star{star} at 7000"),
                _ => format!("{follower} leaves star{star}"),
            }
        });
        assert!(of_one.iter().copied().eq(&expected.collect::<Vec<_>>()), "{of_one:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_follow_is_not_made_is_not_planned_and_its_follower_is_heard_of() {
    let recorder = Arc::new(Recorder::default());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listened = Arc::clone(&heard);
    let planner = planner(&recorder).with_follow_events_heard(
        follow_events(),
        Arc::new(move |follower| listened.lock().unwrap().push(follower.to_string())),
    );
    for kind in ["follow", "unfollow"] {
        for (fault, passes) in [(Fault::Graph, true), (Fault::CorruptGraph, false)] {
            recorder.fail(fault);
            let error = planner.plan(&event(kind, "ann", "ben")).await.unwrap_err();
            assert!(matches!(error, IntakeError::Graph(_)), "{error:?}");
            assert_eq!(error.is_transient(), passes, "{kind} {fault:?}");
            // The graph may have done it all the same.
            assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), ["ann"]);
        }
    }
    assert_eq!(recorder.edge_changes(), [""; 0]);
    recorder.fail(Fault::None);
    planner.plan(&event("follow", "ann", "ben")).await.unwrap();
    assert_eq!(recorder.edge_changes(), ["ann follows ben at 7000"]);
    assert_eq!(*heard.lock().unwrap(), ["ann"]);
    planner.plan(&event("like", "ann", "ben")).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["ann"]);
}
