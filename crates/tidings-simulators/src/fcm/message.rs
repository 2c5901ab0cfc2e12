//! What FCM itself demands of a message whose JSON fits.

use serde_json::{Map, Value};

use super::device;
use super::refusal::Refusal;
use super::schema;
use super::validate::{self, duration_secs, find};

/// "4096 bytes for most messages … keys and values" (`ErrorCode`, message too big).
const MAX_PAYLOAD_BYTES: usize = 4_096;
const MAX_TOPIC_PAYLOAD_BYTES: usize = 2_048;

/// Four weeks.
const MAX_TTL_SECS: f64 = 2_419_200.0;

type Object = Map<String, Value>;

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A registration token or a Firebase installation id.
    Device(String),
    Topic(String),
    Condition(String),
}

/// A correct message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) target: Target,
    pub(super) validate_only: bool,
    pub(super) identity: Option<String>,
    pub(super) collapse_key: Option<String>,
}

/// Judges a request body; `identity_key` is the key of `data` that names the message.
pub(super) fn judge(body: &[u8], identity_key: &str) -> Result<Message, Refusal> {
    let request: Value = serde_json::from_slice(body).map_err(|_| {
        Refusal::invalid_json("", "Invalid JSON payload received. Unexpected token.")
    })?;
    let request = request.as_object().ok_or_else(|| {
        Refusal::invalid_json("", "Invalid JSON payload received. Expected an object.")
    })?;
    validate::object(request, schema::REQUEST, "")?;
    let nothing = Object::new();
    let message = child(request, "message").unwrap_or(&nothing);
    let target = target(message)?;
    check_data_keys(message)?;
    check_ttl(message)?;
    let limit = match target {
        Target::Device(_) => MAX_PAYLOAD_BYTES,
        Target::Topic(_) | Target::Condition(_) => MAX_TOPIC_PAYLOAD_BYTES,
    };
    if payload_bytes(message) > limit {
        return Err(Refusal::invalid_field("message", "Android message is too big"));
    }
    let android = child(message, "android");
    Ok(Message {
        target,
        validate_only: find(request, "validate_only").and_then(Value::as_bool).unwrap_or(false),
        identity: [child(message, "data"), android.and_then(|android| child(android, "data"))]
            .into_iter()
            .flatten()
            .find_map(|data| text(data, identity_key)),
        collapse_key: android.and_then(|android| text(android, "collapse_key")).or_else(|| {
            let headers = child(message, "apns").and_then(|apns| child(apns, "headers"));
            headers.and_then(|headers| text(headers, "apns-collapse-id"))
        }),
    })
}

fn target(message: &Object) -> Result<Target, Refusal> {
    let mut targets = ["token", "topic", "condition", "fid"]
        .into_iter()
        .filter_map(|name| text(message, name).map(|value| (name, value)));
    let Some((name, value)) = targets.next() else {
        return Err(Refusal::invalid_field("message", "Recipient of the message is not set."));
    };
    if let Some((second, _)) = targets.next() {
        let what = format!(
            "Invalid value at 'message' (oneof), oneof field 'target' is already set. \
             Cannot set '{second}'"
        );
        return Err(Refusal::invalid_json("message", what));
    }
    match name {
        "topic" if is_topic(&value) => Ok(Target::Topic(value)),
        "topic" => Err(Refusal::invalid_field("message.topic", "Invalid topic name")),
        "condition" if value.is_empty() => {
            Err(Refusal::invalid_field("message.condition", "Invalid condition expression"))
        }
        "condition" => Ok(Target::Condition(value)),
        _ if device::is_well_formed(&value) => Ok(Target::Device(value)),
        _ => Err(device::invalid_token()),
    }
}

/// `[a-zA-Z0-9-_.~%]+`, as the guide to topics gives it.
fn is_topic(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte))
}

/// Keys that FCM uses itself: `from`, and those that begin with `gcm` or `google`.
fn check_data_keys(message: &Object) -> Result<(), Refusal> {
    for (path, data) in [
        ("message.data", child(message, "data")),
        ("message.android.data", child(message, "android").and_then(|it| child(it, "data"))),
        ("message.webpush.data", child(message, "webpush").and_then(|it| child(it, "data"))),
    ] {
        let keys = data.into_iter().flat_map(Map::keys);
        for key in keys {
            if key == "from" || key.starts_with("gcm") || key.starts_with("google") {
                return Err(Refusal::invalid_field(
                    path,
                    format!("Invalid data payload key: {key}"),
                ));
            }
        }
    }
    Ok(())
}

fn check_ttl(message: &Object) -> Result<(), Refusal> {
    let ttl = child(message, "android").and_then(|android| text(android, "ttl"));
    match ttl.as_deref().and_then(duration_secs) {
        Some(secs) if !(0.0..=MAX_TTL_SECS).contains(&secs) => Err(Refusal::invalid_field(
            "message.android.ttl",
            "Invalid TTL: it must be between 0 and 2419200 seconds",
        )),
        _ => Ok(()),
    }
}

/// The largest payload that any platform would get: the common `data` and `notification`, or what
/// the platform's section puts in their place. How Google counts precisely is not documented;
/// keys and values as UTF-8, without JSON's punctuation, is what the limit's wording says.
fn payload_bytes(message: &Object) -> usize {
    let platform = |section: &Object| {
        let part = |name| child(section, name).or_else(|| child(message, name));
        part("data").map_or(0, content_bytes) + part("notification").map_or(0, content_bytes)
    };
    let sections = ["android", "webpush"].into_iter().filter_map(|name| child(message, name));
    let apns = child(message, "apns").and_then(|apns| child(apns, "payload"));
    sections
        .map(platform)
        .chain([platform(message), apns.map_or(0, content_bytes)])
        .max()
        .unwrap_or(0)
}

fn content_bytes(object: &Object) -> usize {
    object.iter().map(|(key, value)| key.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(value_bytes).sum(),
        Value::Object(object) => content_bytes(object),
        other => other.to_string().len(),
    }
}

fn child<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    find(object, name).and_then(Value::as_object)
}

fn text(object: &Object, name: &str) -> Option<String> {
    find(object, name).and_then(Value::as_str).map(str::to_owned)
}
