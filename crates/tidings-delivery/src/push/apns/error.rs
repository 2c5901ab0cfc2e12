//! The table from APNs' answers to verdicts.

use std::time::Duration;

use serde::Deserialize;
use tidings_core::{
    clock::Timestamp,
    delivery::{Concerned, Verdict},
};

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RefusalBody {
    #[serde(default)]
    pub(super) reason: String,
    /// With 410: when APNs last confirmed that the token was dead, in milliseconds since 1970.
    #[serde(default)]
    pub(super) timestamp: Option<i64>,
}

impl RefusalBody {
    /// Reads a body; one that is not APNs' gives no reason.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// What a refusal means.
///
/// `retry_after` is the answer's `Retry-After`, if it has one; `outage_wait` is how long to wait
/// after Apple's own failures: "retry the request … after 15 minutes".
///
/// Source: "Handling notification responses from APNs", tables of status codes and of reasons.
/// What it does not list is judged by its status, and never removes a token.
pub(super) fn verdict(
    status: u16,
    body: &RefusalBody,
    retry_after: Option<Duration>,
    outage_wait: Duration,
) -> Verdict {
    match (status, body.reason.as_str()) {
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => {
            Verdict::PruneToken { dead_since: None }
        }
        (410, "Unregistered" | "ExpiredToken") => {
            Verdict::PruneToken { dead_since: body.timestamp.map(Timestamp::from_millis) }
        }
        // The connection was idle for too long: not this push's fault.
        (400, "IdleTimeout") => Verdict::Retry { after: None },
        // "The key ID in the provider token isn't related to the key ID of the token used in the first
        // push of this connection. To use this token, open a new connection." It comes here when a new
        // connection was no better: then the key is not for this app.
        (403, "UnrelatedKeyIdInToken") => Verdict::CallAPersonFor(Concerned::App),
        // Keys, teams, certificates: the same for every push. An expired token comes here only when
        // a new one was no better, or would be too early: then a clock is wrong.
        (403, _) => Verdict::CallAPerson,
        // Too much for this device, or for the connection's tokens: others are fine. Of the latter
        // only those come here that another connection refused as well. A server that shuts down
        // has others beside it.
        (429, "TooManyRequests" | "TooManyProviderTokenUpdates") | (503, "Shutdown") => {
            Verdict::Retry { after: retry_after }
        }
        (429, _) => Verdict::SlowDown { after: retry_after },
        (500 | 503, _) => Verdict::Unavailable { after: Some(retry_after.unwrap_or(outage_wait)) },
        (500.., _) => Verdict::Unavailable { after: retry_after },
        _ => Verdict::Reject,
    }
}

/// Whether the reason is about the connection: no more requests should go there. A connection that
/// has had too many provider tokens keeps the one it has, and is left for another, as is one that began
/// with another key.
pub(super) fn ends_connection(reason: &str) -> bool {
    matches!(
        reason,
        "IdleTimeout" | "Shutdown" | "TooManyProviderTokenUpdates" | "UnrelatedKeyIdInToken"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE_WAIT: Duration = Duration::from_secs(900);
    const DIED: i64 = 1_795_424_400_123;

    fn of(status: u16, body: &str) -> Verdict {
        verdict(status, &RefusalBody::read(body.as_bytes()), None, OUTAGE_WAIT)
    }

    fn refused(status: u16, reason: &str) -> Verdict {
        of(status, &format!(r#"{{"reason":"{reason}"}}"#))
    }

    #[test]
    fn every_line_of_apples_table_has_its_verdict() {
        let prune = Verdict::PruneToken { dead_since: None };
        let retry = Verdict::Retry { after: None };
        let later = Verdict::Unavailable { after: Some(OUTAGE_WAIT) };
        let (reject, person) = (Verdict::Reject, Verdict::CallAPerson);
        let table = [
            (400, "BadCollapseId", reject),
            (400, "BadDeviceToken", prune),
            (400, "BadExpirationDate", reject),
            (400, "BadMessageId", reject),
            (400, "BadPriority", reject),
            (400, "BadTopic", reject),
            (400, "DeviceTokenNotForTopic", prune),
            (400, "DuplicateHeaders", reject),
            (400, "IdleTimeout", retry),
            (400, "InvalidPushType", reject),
            (400, "MissingDeviceToken", reject),
            (400, "MissingTopic", reject),
            (400, "PayloadEmpty", reject),
            (400, "TopicDisallowed", reject),
            (403, "BadCertificate", person),
            (403, "BadCertificateEnvironment", person),
            (403, "BadEnvironmentKeyIdInToken", person),
            (403, "ExpiredProviderToken", person),
            (403, "Forbidden", person),
            (403, "InvalidProviderToken", person),
            (403, "MissingProviderToken", person),
            (403, "UnrelatedKeyIdInToken", Verdict::CallAPersonFor(Concerned::App)),
            (404, "BadPath", reject),
            (405, "MethodNotAllowed", reject),
            (410, "ExpiredToken", prune),
            (410, "Unregistered", prune),
            (413, "PayloadTooLarge", reject),
            (429, "TooManyProviderTokenUpdates", retry),
            (429, "TooManyRequests", retry),
            (500, "InternalServerError", later),
            (503, "ServiceUnavailable", later),
            (503, "Shutdown", retry),
        ];
        for (status, reason, expected) in table {
            assert_eq!(refused(status, reason), expected, "{status} {reason}");
        }
    }

    #[test]
    fn a_410_carries_the_time_of_death() {
        let body = format!(r#"{{"reason":"Unregistered","timestamp":{DIED}}}"#);
        let dead_since = Some(Timestamp::from_millis(DIED));
        assert_eq!(of(410, &body), Verdict::PruneToken { dead_since });
    }

    #[test]
    fn what_apple_does_not_list_never_removes_a_token() {
        for status in [400, 404, 410, 418] {
            assert_eq!(of(status, "<html>not apns</html>"), Verdict::Reject, "{status}");
            assert_eq!(refused(status, "SomethingNew"), Verdict::Reject, "{status}");
        }
        assert_eq!(of(404, r#"{"reason":"BadDeviceToken"}"#), Verdict::Reject);
        assert_eq!(of(502, ""), Verdict::Unavailable { after: None });
        assert_eq!(of(429, ""), Verdict::SlowDown { after: None });
        assert_eq!(of(403, ""), Verdict::CallAPerson);
    }

    #[test]
    fn retry_after_counts_more_than_our_own_wait() {
        let after = Some(Duration::from_secs(7));
        for (status, reason, expected) in [
            (429, "TooManyRequests", Verdict::Retry { after }),
            (429, "", Verdict::SlowDown { after }),
            (500, "InternalServerError", Verdict::Unavailable { after }),
            (503, "", Verdict::Unavailable { after }),
        ] {
            let body = RefusalBody { reason: reason.to_owned(), timestamp: None };
            let verdict = verdict(status, &body, after, OUTAGE_WAIT);
            assert_eq!(verdict, expected, "{status} {reason}");
        }
    }
}
