//! The headers of a message (RFC 8030, section 5).

use http::{HeaderMap, HeaderValue, header};

use super::refusal::Refusal;

const MAX_TOPIC_CHARS: usize = 32;

/// The headers of a correct message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MessageHeaders {
    /// Saturates at what fits 32 bits: longer ones are shortened by every service.
    pub(super) ttl_secs: u32,
    pub(super) topic: Option<String>,
    /// Whether the sender wants 202 and a receipt (section 5.1).
    pub(super) asks_for_receipt: bool,
}

pub(super) fn check(headers: &HeaderMap, body_bytes: usize) -> Result<MessageHeaders, Refusal> {
    let ttl = headers.get("ttl").ok_or(Refusal::MissingTtl)?;
    let digits = text(ttl).filter(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or(Refusal::BadTtl)?;
    let urgent = headers.get("urgency").map(text);
    if urgent.is_some_and(|it| !matches!(it, Some("very-low" | "low" | "normal" | "high"))) {
        return Err(Refusal::BadUrgency);
    }
    let topic = match headers.get("topic") {
        None => None,
        Some(value) => Some(text(value).filter(|it| is_topic(it)).ok_or(Refusal::BadTopic)?),
    };
    // A message without content needs no keys.
    let encoding = headers.get(header::CONTENT_ENCODING).map(text);
    if body_bytes > 0 && encoding.flatten() != Some("aes128gcm") {
        return Err(Refusal::ContentEncoding);
    }
    let prefers = headers.get_all("prefer").iter().filter_map(text);
    Ok(MessageHeaders {
        ttl_secs: digits.parse().unwrap_or(u32::MAX),
        topic: topic.map(str::to_owned),
        asks_for_receipt: prefers
            .flat_map(|it| it.split(','))
            .any(|it| it.trim() == "respond-async"),
    })
}

fn is_topic(text: &str) -> bool {
    (1..=MAX_TOPIC_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
