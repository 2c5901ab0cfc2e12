//! Telling users whom they may want to follow, once a week.

use anyhow::ensure;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidings_client::{Api, ApiError};
use tidings_core::{clock::Timestamp, ids::UserId};

use super::{List, patiently};

/// Recommendations that a notification has.
const TOP: usize = 3;
/// After that, the next one is due.
const TTL_SECONDS: u64 = 7 * 24 * 3_600;

/// Tells users whom they may want to follow.
pub(super) struct Notices {
    title: String,
    week: String,
}

impl Notices {
    /// Of the week of `now`: year and week of ISO 8601, in UTC.
    pub(super) fn new(title: String, now: Timestamp) -> Self {
        Self { title, week: week(now) }
    }

    /// Tells each user of their list, unless it is empty or they were told this week; says how many were.
    pub(super) async fn tell(&self, api: &Api, lists: &[List]) -> anyhow::Result<u64> {
        let lists = lists.iter().filter(|list| !list.recommendations.is_empty());
        let events: Vec<_> = lists.map(|list| self.event(list)).collect();
        if events.is_empty() {
            return Ok(0);
        }
        // What was stored the first time is a duplicate the second time, and told once.
        let answer = patiently(async || {
            let answer = api.post_events(&events).await?;
            match answer.results.iter().find(|it| it.status == "failed") {
                Some(failed) => Err(ApiError::Refused {
                    status: 503,
                    kind: "unavailable".to_owned(),
                    title: "Temporarily unavailable".to_owned(),
                    detail: failed.reason.clone().unwrap_or_default(),
                    retry_after: None,
                }),
                None => Ok(answer),
            }
        })
        .await?;
        let rejected = answer.results.iter().find(|it| it.status == "rejected");
        let reason = rejected.and_then(|it| it.reason.as_deref()).unwrap_or_default();
        ensure!(answer.rejected == 0, "the node rejects the notifications: {reason}");
        Ok(answer.results.iter().map(|it| it.notifications).sum())
    }

    fn event(&self, list: &List) -> Value {
        let top = &list.recommendations[..list.recommendations.len().min(TOP)];
        json!({
            "id": self.identity(&list.user),
            "source": "tidings.recommendations",
            "type": "people_to_follow",
            "audience": {"users": [list.user]},
            "title": self.title,
            "data": {"week": self.week, "recommendations": top},
            "priority": "low",
            "ttl_seconds": TTL_SECONDS,
            "group": "people_to_follow",
        })
    }

    /// A digest, because a user's id may be as long as an event's.
    fn identity(&self, user: &UserId) -> String {
        let mut text = format!("people-to-follow-{}-", self.week);
        for byte in Sha256::digest(user.as_str()) {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// For example `2026-W48`.
fn week(now: Timestamp) -> String {
    let instant = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    let date = instant.to_zoned(jiff::tz::TimeZone::UTC).date().iso_week_date();
    format!("{}-W{:02}", date.year(), date.week())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices(now: &str) -> Notices {
        Notices::new("People".to_owned(), now.parse().unwrap())
    }

    #[test]
    fn a_user_has_one_identity_a_week() {
        let ann = UserId::new("ann").unwrap();
        let monday = notices("2026-11-23T00:00:00Z");
        // It outlives versions: whoever was told this week is not told again.
        assert_eq!(
            monday.identity(&ann),
            "people-to-follow-2026-W48-\
             49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1"
        );
        let sunday = notices("2026-11-29T23:59:59Z");
        assert_eq!(monday.identity(&ann), sunday.identity(&ann));
        assert_ne!(monday.identity(&ann), notices("2026-11-30T00:00:00Z").identity(&ann));
        assert_ne!(monday.identity(&ann), monday.identity(&UserId::new("ben").unwrap()));
        let longest = UserId::new(&"x".repeat(128)).unwrap();
        assert!(tidings_core::ids::EventId::new(&monday.identity(&longest)).is_ok());
    }

    #[test]
    fn a_week_belongs_to_the_year_of_its_thursday() {
        for (now, expected) in [
            ("2026-12-31T12:00:00Z", "2026-W53"),
            ("2027-01-03T12:00:00Z", "2026-W53"),
            ("2027-01-04T00:00:00Z", "2027-W01"),
            ("2024-12-30T00:00:00Z", "2025-W01"),
        ] {
            assert_eq!(week(now.parse().unwrap()), expected, "{now}");
        }
    }
}
