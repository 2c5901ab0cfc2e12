//! Events that make and end follows.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tidings_core::{
    event::{Audience, IncomingEvent},
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};
use tokio::sync::Mutex;

/// The source of the events that the graph itself gives rise to: they tell of a follow, and make none.
pub const GRAPH_SOURCE: &str = "tidings.graph";

/// Changes of edges that may be under way at once, for as many different followers.
const LANES: usize = 64;

/// Which events make and end follows, by their types. None does unless it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowEvents {
    /// The actor follows the one user of the audience.
    pub follow_type: Option<String>,
    /// The actor does not follow the one user of the audience any more.
    pub unfollow_type: Option<String>,
}

/// Hears of a follower whose follows an event has changed, or may have where the graph failed, once that is
/// durable. It is called on the way of the event, so it returns at once.
pub type FollowListener = Arc<dyn Fn(&UserId) + Send + Sync>;

/// What an event did to the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EdgeChange {
    Follow,
    Unfollow,
}

/// Does to the graph what events say.
pub(crate) struct EdgeChanger {
    events: FollowEvents,
    listener: Option<FollowListener>,
    hasher: RandomState,
    /// Records are planned many at a time, and a follower who changes their mind has to end up with the
    /// later mind: a lock is given to those who wait for it in the order in which they came. It is held
    /// while the graph makes the change durable, which is what the next one has to wait for.
    lanes: Vec<Mutex<()>>,
}

impl EdgeChanger {
    pub(crate) fn new(events: FollowEvents) -> Self {
        let lanes = (0..LANES).map(|_| Mutex::new(())).collect();
        Self { events, listener: None, hasher: RandomState::new(), lanes }
    }

    pub(crate) fn heard_by(self, listener: FollowListener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Makes or ends the follow that the event tells of, and says which; durable when it returns.
    ///
    /// May be repeated: an edge that is so already stays as it is. A follow of oneself, and one that a
    /// block refuses, is not made; the event is one like any other then.
    pub(crate) async fn change(
        &self,
        graph: &dyn SocialGraphStore,
        incoming: &IncomingEvent,
    ) -> Result<Option<EdgeChange>, GraphError> {
        let Some((change, follower, followee)) = self.events.change_of(incoming) else {
            return Ok(None);
        };
        let lane = self.hasher.hash_one(follower) % LANES as u64;
        let lane = usize::try_from(lane).unwrap_or_default();
        let _in_order = self.lanes[lane].lock().await;
        let changed = match change {
            EdgeChange::Follow => {
                match graph.add_follow(follower, followee, incoming.event.time).await {
                    Err(GraphError::SelfFollow | GraphError::Blocked) => Ok(false),
                    changed => changed,
                }
            }
            EdgeChange::Unfollow => graph.remove_follow(follower, followee).await,
        };
        if let Some(listener) = &self.listener {
            listener(follower);
        }
        changed.map(|_| Some(change))
    }
}

impl FollowEvents {
    fn change_of<'a>(
        &self,
        incoming: &'a IncomingEvent,
    ) -> Option<(EdgeChange, &'a UserId, &'a UserId)> {
        let event = &incoming.event;
        let change = if self.follow_type.as_ref() == Some(&event.event_type) {
            EdgeChange::Follow
        } else if self.unfollow_type.as_ref() == Some(&event.event_type) {
            EdgeChange::Unfollow
        } else {
            return None;
        };
        let follower = event.actor.as_ref()?;
        let Audience::Users(users) = &incoming.audience else { return None };
        let [followee] = users.as_slice() else { return None };
        // The edge was made before this event: it may have been ended since.
        (event.source.as_str() != GRAPH_SOURCE).then_some((change, follower, followee))
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::Timestamp;

    use super::*;

    fn change_of(json: &str) -> Option<(EdgeChange, String, String)> {
        let events = FollowEvents {
            follow_type: Some("follow".into()),
            unfollow_type: Some("unfollow".into()),
        };
        let incoming =
            IncomingEvent::from_json(json.as_bytes(), Timestamp::from_millis(1)).unwrap();
        let change = events.change_of(&incoming);
        change.map(|(change, follower, followee)| {
            (change, follower.to_string(), followee.to_string())
        })
    }

    #[test]
    fn an_event_changes_the_follow_of_its_actor_and_its_one_user() {
        for (kind, expected) in [("follow", EdgeChange::Follow), ("unfollow", EdgeChange::Unfollow)]
        {
            let json = format!(
                r#"{{"id":"1","source":"s","type":"{kind}","actor":"a","audience":{{"users":["b"]}}}}"#
            );
            assert_eq!(change_of(&json), Some((expected, "a".into(), "b".into())));
            assert_eq!(
                change_of(&json.replace(r#""source":"s""#, r#""source":"tidings.graph""#)),
                None
            );
        }
        for other in [
            r#"{"id":"1","source":"s","type":"like","actor":"a","audience":{"users":["b"]}}"#,
            r#"{"id":"1","source":"s","type":"follow","audience":{"users":["b"]}}"#,
            r#"{"id":"1","source":"s","type":"follow","actor":"a","audience":{"users":["b","c"]}}"#,
            r#"{"id":"1","source":"s","type":"follow","actor":"a","audience":{"followers_of":"b"}}"#,
        ] {
            assert_eq!(change_of(other), None, "{other}");
        }
    }
}
