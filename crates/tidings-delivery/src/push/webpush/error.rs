//! The table from the answers of browsers' push services to verdicts.

use std::time::Duration;

use tidings_core::delivery::Verdict;

/// What a status means; `retry_after` is the answer's `Retry-After`, if it has one, and
/// `is_key_proven` says that the service has taken the same credential before.
///
/// Source: RFC 8030, sections 5, 7.3 and 8; RFC 8292, section 4. There is no body to rely on: each
/// service has another. A 404 or 410 is about this very subscription, because its URL is the token.
pub(super) fn verdict(status: u16, retry_after: Option<Duration>, is_key_proven: bool) -> Verdict {
    match status {
        // 201 as it should be, 202 with a receipt to come, 200 and 204 from services that take it
        // lightly.
        200..=299 => Verdict::Delivered,
        404 | 410 => Verdict::PruneToken { dead_since: None },
        // The subscription was made with another key than ours, if ours is good for others.
        401 | 403 if is_key_proven => Verdict::Reject,
        401 | 403 => Verdict::CallAPerson,
        408 => Verdict::Retry { after: retry_after },
        429 => Verdict::SlowDown { after: retry_after },
        500.. => Verdict::Unavailable { after: retry_after },
        // A redirect is not followed: it may lead into our own network.
        _ => Verdict::Reject,
    }
}

/// Our word for a status, for the delivery log: services have none in common.
pub(super) fn reason(status: u16, is_key_proven: bool) -> String {
    let word = match status {
        300..=399 => "redirected",
        400 => "bad_request",
        401 | 403 if is_key_proven => "subscribed_with_another_key",
        401 | 403 => "vapid_refused",
        404 | 410 => "subscription_gone",
        413 => "payload_too_large",
        429 => "too_many_requests",
        500.. => "service_failed",
        _ => "refused",
    };
    format!("{word} ({status})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_verdict() {
        let table = [
            (200, Verdict::Delivered),
            (201, Verdict::Delivered),
            (202, Verdict::Delivered),
            (204, Verdict::Delivered),
            (301, Verdict::Reject),
            (307, Verdict::Reject),
            (400, Verdict::Reject),
            (401, Verdict::CallAPerson),
            (403, Verdict::CallAPerson),
            (404, Verdict::PruneToken { dead_since: None }),
            (408, Verdict::Retry { after: None }),
            (410, Verdict::PruneToken { dead_since: None }),
            (413, Verdict::Reject),
            (418, Verdict::Reject),
            (429, Verdict::SlowDown { after: None }),
            (500, Verdict::Unavailable { after: None }),
            (502, Verdict::Unavailable { after: None }),
            (503, Verdict::Unavailable { after: None }),
        ];
        for (status, expected) in table {
            assert_eq!(verdict(status, None, false), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_passed_on() {
        let after = Some(Duration::from_secs(7));
        assert_eq!(verdict(429, after, false), Verdict::SlowDown { after });
        assert_eq!(verdict(503, after, false), Verdict::Unavailable { after });
    }

    #[test]
    fn a_key_that_is_good_for_others_is_not_to_blame() {
        for status in [401, 403] {
            assert_eq!(verdict(status, None, true), Verdict::Reject, "{status}");
        }
    }
}
