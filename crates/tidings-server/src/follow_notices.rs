//! Tells users who follows them.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidings_core::{
    clock::Timestamp,
    event::{Audience, Event, IncomingEvent, Priority},
    ids::{EventId, IdError, SourceId, UserId},
};
use tidings_ingest::GRAPH_SOURCE;

use crate::config::FollowEventsSection;

/// What stands for the follower's id in a title.
pub(crate) const FOLLOWER: &str = "{follower}";

/// Makes the events that tell users who follows them.
#[derive(Debug, Clone)]
pub struct FollowNotices {
    source: SourceId,
    event_type: String,
    title: String,
    group: Option<String>,
}

impl FollowNotices {
    /// As the configuration says; `None` if nobody is to be told.
    ///
    /// # Errors
    ///
    /// None in practice: the source is an id.
    pub fn new(section: &FollowEventsSection) -> Result<Option<Self>, IdError> {
        if !section.notify {
            return Ok(None);
        }
        Ok(Some(Self {
            source: SourceId::new(GRAPH_SOURCE)?,
            event_type: section.notification_type.clone(),
            title: section.title.clone(),
            group: Some(section.group.clone()).filter(|group| !group.is_empty()),
        }))
    }

    /// The event of `follower` following `followee`: always the same one, so that it is told once
    /// however often it is sent.
    ///
    /// # Errors
    ///
    /// None in practice: a digest is an id.
    pub fn event(
        &self,
        follower: &UserId,
        followee: &UserId,
        now: Timestamp,
    ) -> Result<IncomingEvent, IdError> {
        let event = Event {
            id: EventId::new(&identity(follower, followee))?,
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            time: now,
            actor: Some(follower.clone()),
            object: None,
            title: self.title.replace(FOLLOWER, follower.as_str()),
            body: String::new(),
            data: None,
            priority: Priority::Normal,
            ttl: None,
            group: self.group.clone(),
        };
        Ok(IncomingEvent {
            event: Arc::new(event),
            audience: Audience::Users(vec![followee.clone()]),
        })
    }
}

/// A digest, because two ids may be longer than an id can be; with their lengths, because the ends of
/// one may be the beginning of the other.
fn identity(follower: &UserId, followee: &UserId) -> String {
    let mut digest = Sha256::new();
    for id in [follower, followee] {
        digest.update((id.as_str().len() as u64).to_le_bytes());
        digest.update(id.as_str());
    }
    let mut text = String::from("follow-");
    for byte in digest.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_pair_has_one_identity_and_no_other_has_it() {
        let pairs = [["ann", "ben"], ["ben", "ann"], ["an", "nben"], ["annb", "en"]];
        let mut ids: Vec<_> = pairs.map(|[a, b]| identity(&user(a), &user(b))).into();
        // It outlives versions: whoever was told is not told again.
        assert_eq!(
            ids[0],
            "follow-34309ab32cad5e355be42e1152cd6aca01721160fdd722f31224c5dd63f008c7"
        );
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn the_longest_ids_make_an_event() {
        let section = FollowEventsSection {
            notify: true,
            notification_type: "follow".into(),
            title: "{follower} follows you".into(),
            group: String::new(),
            follow_type: String::new(),
            unfollow_type: String::new(),
        };
        let notices = FollowNotices::new(&section).unwrap().unwrap();
        let long = "🦀".repeat(32);
        let incoming =
            notices.event(&user(&long), &user("ben"), Timestamp::from_millis(5)).unwrap();
        assert_eq!(incoming.event.title, format!("{long} follows you"));
        assert_eq!(incoming.event.group, None);
        assert_eq!(incoming.audience, Audience::Users(vec![user("ben")]));
        let off = FollowEventsSection { notify: false, ..section };
        assert!(FollowNotices::new(&off).unwrap().is_none());
    }
}
