//! What all providers do with answers, and with none.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;
use tidings_core::{
    clock::Timestamp,
    delivery::{PushAnswer, Verdict},
    error_chain::ErrorChain,
};

use super::{fit::FitError, http2::Http2Error};

/// A longer wait that a service asks for is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A service's word for a refusal is cut to this many bytes before it goes to the log.
const MAX_REASON_BYTES: usize = 128;

/// The push was not answered: it may be repeated under the same identity.
pub(super) fn unanswered(error: &Http2Error) -> PushAnswer {
    tracing::debug!(
        reason = error.reason(),
        unprocessed = error.is_unprocessed(),
        error = %ErrorChain(error),
        "a push has no answer"
    );
    let verdict = if error.is_for_want_of_a_stream() {
        // The service is there, and has no room for as much at a time.
        Verdict::SlowDown { after: None }
    } else if error.is_accident() {
        // All that was under way on one connection comes at once: it must not look like an outage.
        Verdict::Interrupted
    } else {
        Verdict::Unavailable { after: None }
    };
    without_id(verdict, error.reason())
}

/// An answer under which the service has no identity for the push.
pub(super) fn without_id(verdict: Verdict, reason: &str) -> PushAnswer {
    let end = reason.floor_char_boundary(MAX_REASON_BYTES);
    PushAnswer { verdict, reason: Some(reason[..end].to_owned()), provider_id: None }
}

/// Says in the delivery log that what was delivered was cut, down to the part `upto`.
pub(super) fn with_cut(answer: PushAnswer, upto: Option<&'static str>) -> PushAnswer {
    match (upto, &answer) {
        (Some(upto), PushAnswer { verdict: Verdict::Delivered, reason: None, .. }) => {
            PushAnswer { reason: Some(format!("truncated_{upto}")), ..answer }
        }
        _ => answer,
    }
}

/// A push that has no message.
pub(super) fn unfit(error: &FitError) -> PushAnswer {
    let reason = match error {
        FitError::TooLarge { .. } => "payload_too_large",
        FitError::Json(_) => "payload_unwritable",
    };
    without_id(Verdict::Reject, reason)
}

/// The wait that `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let date = DateTimeParser::new().parse_timestamp(text).ok()?;
            Timestamp::from_millis(date.as_millisecond()).since(now)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_day() {
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Mon, 23 Nov 2026 09:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Mon, 23 Nov 2026 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
