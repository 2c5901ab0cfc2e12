//! The headers of a record as a text that a person at a database's prompt can read the names in.

use base64::{Engine, prelude::BASE64_STANDARD};
use tidings_core::ports::BoxError;

/// Names and values, in their order.
pub(crate) type Headers = Vec<(String, Option<Vec<u8>>)>;

/// `[[name, base64 or null], ...]`.
pub(crate) fn to_text(headers: &Headers) -> String {
    let headers = headers.iter().map(|(name, value)| {
        serde_json::json!([name, value.as_ref().map(|value| BASE64_STANDARD.encode(value))])
    });
    serde_json::Value::from_iter(headers).to_string()
}

/// Reads what [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Result<Headers, BoxError> {
    let kept: Vec<(String, Option<String>)> = serde_json::from_str(text)?;
    let mut headers = Vec::with_capacity(kept.len());
    for (name, value) in kept {
        headers.push((name, value.map(|value| BASE64_STANDARD.decode(value)).transpose()?));
    }
    Ok(headers)
}
