//! The `apns-*` headers of a push.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::ApnsReason;
use super::push_type::PushType;

pub(super) const APNS_ID: HeaderName = HeaderName::from_static("apns-id");

/// The headers that count, each at most once.
const SINGLE: [HeaderName; 7] = [
    http::header::AUTHORIZATION,
    APNS_ID,
    HeaderName::from_static("apns-collapse-id"),
    HeaderName::from_static("apns-expiration"),
    HeaderName::from_static("apns-priority"),
    HeaderName::from_static("apns-push-type"),
    HeaderName::from_static("apns-topic"),
];

const MAX_COLLAPSE_ID_BYTES: usize = 64;

/// Bundle ids are limited to 155 characters in App Store Connect; with a suffix this is ample.
const MAX_TOPIC_BYTES: usize = 255;

/// The headers of a correct push.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PushHeaders {
    pub(super) push_type: PushType,
    pub(super) topic: String,
    pub(super) collapse_id: Option<String>,
    /// How long it may be kept for a device that is offline, seconds since 1970.
    pub(super) expires_at_secs: Option<i64>,
}

/// The topics that a sender may push to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Topics<'a> {
    /// These bundle ids, with the suffix of any push type.
    OfBundles(&'a [String]),
    /// Exactly these, which a certificate names; the first is the bundle id.
    OfCertificate(&'a [String]),
}

/// The identity that the answer echoes: what the client sent if it is a UUID.
pub(super) fn message_id(headers: &HeaderMap) -> Result<Option<Uuid>, ApnsReason> {
    let Some(value) = headers.get(APNS_ID) else { return Ok(None) };
    // Only the hyphenated form; the parser would take braces and plain hex too.
    let text = text(value).filter(|text| text.len() == 36).ok_or(ApnsReason::BadMessageId)?;
    Uuid::try_parse(text).map(Some).map_err(|_| ApnsReason::BadMessageId)
}

/// Checks every header but `authorization` and `apns-id`, which have their own rules.
///
/// `topics` may be pushed to.
pub(super) fn check(headers: &HeaderMap, topics: Topics<'_>) -> Result<PushHeaders, ApnsReason> {
    if SINGLE.iter().any(|name| headers.get_all(name).iter().nth(1).is_some()) {
        return Err(ApnsReason::DuplicateHeaders);
    }
    let mut expires_at_secs = None;
    if let Some(expiration) = headers.get("apns-expiration") {
        // Seconds since 1970; past and far-off times are fine, and 0 means "do not store".
        let expires_at = text(expiration)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .ok_or(ApnsReason::BadExpirationDate)?;
        expires_at_secs = Some(i64::try_from(expires_at).unwrap_or(i64::MAX));
    }
    let collapse_id = match headers.get("apns-collapse-id") {
        None => None,
        Some(id) if id.len() > MAX_COLLAPSE_ID_BYTES => return Err(ApnsReason::BadCollapseId),
        Some(id) => {
            let id = std::str::from_utf8(id.as_bytes()).map_err(|_| ApnsReason::BadCollapseId)?;
            Some(id.to_owned())
        }
    };
    // Apple recommends the push type and demands it for watchOS only: absent is an alert.
    let push_type = match headers.get("apns-push-type") {
        None => PushType::Alert,
        Some(name) => text(name).and_then(PushType::find).ok_or(ApnsReason::InvalidPushType)?,
    };
    check_priority(headers.get("apns-priority"), push_type)?;
    let topic = check_topic(headers.get("apns-topic"), push_type, topics)?.to_owned();
    Ok(PushHeaders { push_type, topic, collapse_id, expires_at_secs })
}

/// Without the header the priority is 10, and 10 is an error for a background push: so leaving it out
/// is one there, too. That the reason is `BadPriority` is inferred.
fn check_priority(value: Option<&HeaderValue>, push_type: PushType) -> Result<(), ApnsReason> {
    let priority = match value {
        None => "10",
        Some(value) => text(value).ok_or(ApnsReason::BadPriority)?,
    };
    match (priority, push_type) {
        ("10", PushType::Background) => Err(ApnsReason::BadPriority),
        ("10" | "5" | "1", _) => Ok(()),
        _ => Err(ApnsReason::BadPriority),
    }
}

/// A topic that cannot be one is `BadTopic`; one that is not ours, or whose suffix does not go with
/// the push type, is `TopicDisallowed` (as senders of Live Activities report it; inferred).
fn check_topic<'a>(
    value: Option<&'a HeaderValue>,
    push_type: PushType,
    topics: Topics<'a>,
) -> Result<&'a str, ApnsReason> {
    let value = match (value, topics) {
        (Some(value), _) => value,
        // A certificate with one topic needs no header.
        (None, Topics::OfCertificate([only])) if push_type.topic_suffix().is_empty() => {
            return Ok(only);
        }
        (None, _) => return Err(ApnsReason::MissingTopic),
    };
    let is_topic = |topic: &&str| {
        (1..=MAX_TOPIC_BYTES).contains(&topic.len())
            && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    let topic = text(value).filter(is_topic).ok_or(ApnsReason::BadTopic)?;
    let bundle = topic.strip_suffix(push_type.topic_suffix());
    let allowed = bundle.is_some_and(|bundle| match topics {
        Topics::OfBundles(bundles) => bundles.iter().any(|known| known == bundle),
        Topics::OfCertificate(topics) => topics.iter().any(|known| known == topic),
    });
    if allowed { Ok(topic) } else { Err(ApnsReason::TopicDisallowed) }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
