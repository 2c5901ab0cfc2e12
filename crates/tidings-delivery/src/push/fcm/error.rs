//! The table from FCM's answers to verdicts.

use std::time::Duration;

use serde::Deserialize;
use tidings_core::delivery::Verdict;

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// "If there is no retry-after header … default to 60 seconds" (for 429).
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// "Retry … with a minimum interval of 10 seconds" (for 500 and 503).
const OUTAGE_WAIT: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
struct Envelope {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(rename = "@type", default)]
    kind: String,
    #[serde(rename = "errorCode", default)]
    error_code: String,
    #[serde(rename = "fieldViolations", default)]
    field_violations: Vec<FieldViolation>,
}

#[derive(Deserialize)]
struct FieldViolation {
    #[serde(default)]
    field: String,
}

/// A refusal, reduced to what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// FCM's own error code, if the answer is FCM's.
    pub(super) code: Option<String>,
    /// Google's canonical status, such as `NOT_FOUND`; may be empty.
    pub(super) canonical: String,
    /// Whether the device token is what is wrong with the request.
    pub(super) is_token_invalid: bool,
}

impl Refusal {
    /// Reads a body; one that is not Google's has no code.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let Envelope { error } = serde_json::from_slice(body).unwrap_or_default();
        let of_kind = |kind| error.details.iter().filter(move |detail| detail.kind == kind);
        let code = of_kind(FCM_ERROR).map(|detail| &detail.error_code).find(|it| !it.is_empty());
        let mut violations = of_kind(BAD_REQUEST).flat_map(|detail| &detail.field_violations);
        Self {
            status,
            code: code.cloned(),
            is_token_invalid: violations.any(|it| it.field == "message.token"),
            canonical: error.status,
        }
    }

    /// Google did not take the access token: FCM itself was not asked.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.status == 401 && self.code.is_none()
    }

    /// The word for it in the delivery log.
    pub(super) fn reason(&self) -> String {
        match &self.code {
            Some(code) => code.clone(),
            None if !self.canonical.is_empty() => self.canonical.clone(),
            None => self.status.to_string(),
        }
    }
}

/// What a refusal means; `retry_after` is the answer's `Retry-After`, if it has one.
///
/// Source: the REST reference of `ErrorCode`, and "Best practices when sending FCM messages at
/// scale". An answer without one of these codes is judged by its status, and never removes a token:
/// a bare 404 says nothing of the device.
pub(super) fn verdict(refusal: &Refusal, retry_after: Option<Duration>) -> Verdict {
    let wait = |least: Duration| Verdict::Retry { after: Some(retry_after.unwrap_or(least)) };
    match (refusal.code.as_deref(), refusal.status) {
        (Some("UNREGISTERED"), _) => Verdict::PruneToken { dead_since: None },
        // The same code stands for every mistake in a message: only this field is the device's.
        (Some("INVALID_ARGUMENT"), _) if refusal.is_token_invalid => {
            Verdict::PruneToken { dead_since: None }
        }
        // The token belongs to another project: others of this one are fine.
        (Some("INVALID_ARGUMENT" | "SENDER_ID_MISMATCH"), _) => Verdict::Reject,
        (Some("THIRD_PARTY_AUTH_ERROR"), _) => Verdict::CallAPerson,
        (Some("QUOTA_EXCEEDED"), _) => wait(QUOTA_WAIT),
        (Some("UNAVAILABLE" | "INTERNAL"), _) => wait(OUTAGE_WAIT),
        // Access token, project, or permission: the same for every push.
        (_, 401 | 403) => Verdict::CallAPerson,
        (_, 429) => wait(QUOTA_WAIT),
        (_, 500..) => wait(OUTAGE_WAIT),
        _ => Verdict::Reject,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fcm(status: u16, code: &str) -> Refusal {
        let body = json!({"error": {"code": status, "message": "m", "status": "S", "details": [
            {"@type": FCM_ERROR, "errorCode": code},
        ]}});
        Refusal::read(status, body.to_string().as_bytes())
    }

    fn bare(status: u16, canonical: &str) -> Refusal {
        let body = json!({"error": {"code": status, "message": "m", "status": canonical}});
        Refusal::read(status, body.to_string().as_bytes())
    }

    #[test]
    fn every_error_code_has_its_verdict() {
        let after = |secs| Verdict::Retry { after: Some(Duration::from_secs(secs)) };
        let table = [
            (400, "UNSPECIFIED_ERROR", Verdict::Reject),
            (400, "INVALID_ARGUMENT", Verdict::Reject),
            (404, "UNREGISTERED", Verdict::PruneToken { dead_since: None }),
            (403, "SENDER_ID_MISMATCH", Verdict::Reject),
            (429, "QUOTA_EXCEEDED", after(60)),
            (503, "UNAVAILABLE", after(10)),
            (500, "INTERNAL", after(10)),
            (401, "THIRD_PARTY_AUTH_ERROR", Verdict::CallAPerson),
        ];
        for (status, code, expected) in table {
            let refusal = fcm(status, code);
            assert_eq!(verdict(&refusal, None), expected, "{code}");
            assert_eq!(refusal.reason(), code);
            assert!(!refusal.is_unauthenticated(), "{code}");
        }
    }

    #[test]
    fn an_invalid_argument_removes_a_token_only_if_it_is_the_token() {
        let refusal = |field: &str| {
            let body = json!({"error": {"status": "INVALID_ARGUMENT", "details": [
                {"@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
                {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "d"}]},
            ]}});
            verdict(&Refusal::read(400, body.to_string().as_bytes()), None)
        };
        assert_eq!(refusal("message.token"), Verdict::PruneToken { dead_since: None });
        assert_eq!(refusal("message.data"), Verdict::Reject);
    }

    #[test]
    fn without_an_error_code_the_status_decides_and_no_token_is_removed() {
        let after = |secs| Verdict::Retry { after: Some(Duration::from_secs(secs)) };
        let table = [
            (400, "INVALID_ARGUMENT", Verdict::Reject),
            (401, "UNAUTHENTICATED", Verdict::CallAPerson),
            (403, "PERMISSION_DENIED", Verdict::CallAPerson),
            (404, "NOT_FOUND", Verdict::Reject),
            (429, "RESOURCE_EXHAUSTED", after(60)),
            (500, "INTERNAL", after(10)),
            (502, "", after(10)),
            (503, "UNAVAILABLE", after(10)),
        ];
        for (status, canonical, expected) in table {
            assert_eq!(verdict(&bare(status, canonical), None), expected, "{status} {canonical}");
        }
        assert!(bare(401, "UNAUTHENTICATED").is_unauthenticated());
        assert_eq!(Refusal::read(502, b"<html>").reason(), "502");
    }

    #[test]
    fn retry_after_counts_more_than_our_own_wait() {
        let after = Some(Duration::from_secs(7));
        for refusal in [fcm(429, "QUOTA_EXCEEDED"), fcm(503, "UNAVAILABLE"), bare(500, "")] {
            assert_eq!(verdict(&refusal, after), Verdict::Retry { after });
        }
    }
}
