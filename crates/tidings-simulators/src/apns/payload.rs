//! The payload of a push.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ApnsReason;
use super::push_type::PushType;
use crate::transport::Body;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    aps: Option<&'a RawValue>,
}

/// Checks the length and that the payload is a JSON object with an object `aps` (`mdm` has none).
///
/// Apple lists no reason for broken JSON; `PayloadEmpty` for it and for a missing `aps` is inferred.
/// Wallet's `{}` is refused by this rule.
pub(super) fn check(body: &Body, push_type: PushType) -> Result<&[u8], ApnsReason> {
    let Body::Complete(payload) = body else { return Err(ApnsReason::PayloadTooLarge) };
    if payload.len() > push_type.max_payload_bytes() {
        return Err(ApnsReason::PayloadTooLarge);
    }
    // The deserializer would take an array for a struct.
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApnsReason::PayloadEmpty);
    }
    let parsed: Payload<'_> =
        serde_json::from_slice(payload).map_err(|_| ApnsReason::PayloadEmpty)?;
    let has_aps = parsed.aps.is_some_and(|aps| aps.get().starts_with('{'));
    if has_aps || push_type == PushType::Mdm { Ok(payload) } else { Err(ApnsReason::PayloadEmpty) }
}
