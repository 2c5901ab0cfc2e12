//! The table from FCM's answers to verdicts.

use std::time::Duration;

use serde::Deserialize;
use tidings_core::delivery::{Concerned, Verdict};

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";

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
    #[serde(default)]
    violations: Vec<QuotaViolation>,
}

#[derive(Deserialize)]
struct FieldViolation {
    #[serde(default)]
    field: String,
}

#[derive(Deserialize)]
struct QuotaViolation {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    description: String,
}

impl QuotaViolation {
    /// Whether it is about one device. Google documents that an answer says which quota it was, not
    /// in which words; all of its documentation calls this one the "device message rate".
    fn is_of_a_device(&self) -> bool {
        [&self.subject, &self.description]
            .into_iter()
            .any(|text| text.to_ascii_lowercase().contains("device"))
    }
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
    /// Whether the quota that is used up is that of the device.
    pub(super) is_device_quota: bool,
}

impl Refusal {
    /// Reads a body; one that is not Google's has no code.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let Envelope { error } = serde_json::from_slice(body).unwrap_or_default();
        let of_kind = |kind| error.details.iter().filter(move |detail| detail.kind == kind);
        let code = of_kind(FCM_ERROR).map(|detail| &detail.error_code).find(|it| !it.is_empty());
        let mut violations = of_kind(BAD_REQUEST).flat_map(|detail| &detail.field_violations);
        let mut quotas = of_kind(QUOTA_FAILURE).flat_map(|detail| &detail.violations);
        Self {
            status,
            code: code.cloned(),
            is_token_invalid: violations.any(|it| it.field == "message.token"),
            is_device_quota: quotas.any(QuotaViolation::is_of_a_device),
            canonical: error.status,
        }
    }

    /// Google did not take the access token: FCM itself was not asked.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.status == 401 && self.code.is_none()
    }

    /// The token is good, but not for this project.
    pub(super) fn is_of_another_project(&self) -> bool {
        self.code.as_deref() == Some("SENDER_ID_MISMATCH")
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
    let quota = Some(retry_after.unwrap_or(QUOTA_WAIT));
    let outage = Some(retry_after.unwrap_or(OUTAGE_WAIT));
    match (refusal.code.as_deref(), refusal.status) {
        (Some("UNREGISTERED"), _) => Verdict::PruneToken { dead_since: None },
        // The same code stands for every mistake in a message: only this field is the device's.
        (Some("INVALID_ARGUMENT"), _) if refusal.is_token_invalid => {
            Verdict::PruneToken { dead_since: None }
        }
        // The token belongs to another project: others of this one are fine.
        (Some("INVALID_ARGUMENT" | "SENDER_ID_MISMATCH"), _) => Verdict::Reject,
        // What the project was given for APNs or for browsers; its Android devices are fine.
        (Some("THIRD_PARTY_AUTH_ERROR"), _) => Verdict::CallAPersonFor(Concerned::Devices),
        (Some("QUOTA_EXCEEDED"), _) if refusal.is_device_quota => Verdict::Retry { after: quota },
        // Where Google does not say which quota it was, the one that concerns more is assumed.
        (Some("QUOTA_EXCEEDED"), _) => Verdict::SlowDown { after: quota },
        (Some("UNAVAILABLE" | "INTERNAL"), _) => Verdict::Unavailable { after: outage },
        // Access token, project, or permission: the same for every push.
        (_, 401 | 403) => Verdict::CallAPerson,
        // The quota of the project: refused before FCM itself was asked.
        (_, 429) => Verdict::SlowDown { after: quota },
        (_, 500..) => Verdict::Unavailable { after: outage },
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
        let slower = Verdict::SlowDown { after: Some(Duration::from_secs(60)) };
        let down = Verdict::Unavailable { after: Some(Duration::from_secs(10)) };
        let table = [
            (400, "UNSPECIFIED_ERROR", Verdict::Reject),
            (400, "INVALID_ARGUMENT", Verdict::Reject),
            (404, "UNREGISTERED", Verdict::PruneToken { dead_since: None }),
            (403, "SENDER_ID_MISMATCH", Verdict::Reject),
            (429, "QUOTA_EXCEEDED", slower),
            (503, "UNAVAILABLE", down),
            (500, "INTERNAL", down),
            (401, "THIRD_PARTY_AUTH_ERROR", Verdict::CallAPersonFor(Concerned::Devices)),
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
        let slower = Verdict::SlowDown { after: Some(Duration::from_secs(60)) };
        let down = Verdict::Unavailable { after: Some(Duration::from_secs(10)) };
        let table = [
            (400, "INVALID_ARGUMENT", Verdict::Reject),
            (401, "UNAUTHENTICATED", Verdict::CallAPerson),
            (403, "PERMISSION_DENIED", Verdict::CallAPerson),
            (404, "NOT_FOUND", Verdict::Reject),
            (429, "RESOURCE_EXHAUSTED", slower),
            (500, "INTERNAL", down),
            (502, "", down),
            (503, "UNAVAILABLE", down),
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
        for refusal in [fcm(503, "UNAVAILABLE"), bare(500, "")] {
            assert_eq!(verdict(&refusal, after), Verdict::Unavailable { after });
        }
        for refusal in [fcm(429, "QUOTA_EXCEEDED"), bare(429, "")] {
            assert_eq!(verdict(&refusal, after), Verdict::SlowDown { after });
        }
    }

    #[test]
    fn the_quota_of_a_device_holds_back_that_device_only() {
        let refusal = |subject: &str, description: &str| {
            let violation = json!({"subject": subject, "description": description});
            let body = json!({"error": {"status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": FCM_ERROR, "errorCode": "QUOTA_EXCEEDED"},
                {"@type": QUOTA_FAILURE, "violations": [violation]},
            ]}});
            verdict(&Refusal::read(429, body.to_string().as_bytes()), None)
        };
        let after = Some(QUOTA_WAIT);
        let device = refusal("client:1", "Device message rate exceeded");
        assert_eq!(device, Verdict::Retry { after });
        assert_eq!(refusal("project:1", "Message rate exceeded"), Verdict::SlowDown { after });
    }
}
