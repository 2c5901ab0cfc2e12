//! What holds for every input of the event decoders. The fuzz target and a test of tidings-core share it.
//!
//! An input is read three ways: as Tidings JSON, as a `CloudEvent` in structured mode, and as one in
//! binary mode, whose attributes are the lines `name:value` before the first empty line.

use std::collections::HashSet;

use serde_json::{Map, Value, value::RawValue};
use tidings_core::{
    clock::Timestamp,
    event::{
        Audience, EventError, IncomingEvent, MAX_BODY_BYTES, MAX_DATA_BYTES, MAX_NAMED_USERS,
        MAX_TITLE_BYTES, MAX_TTL_SECS, MAX_URL_BYTES,
    },
    ids::MAX_ID_BYTES,
};

/// When every input arrives.
const NOW: i64 = 1_795_770_000_000;

/// Reads `input` every way.
///
/// # Panics
///
/// If the decoders do, or let through what they should not, or if an event does not survive being
/// written and read again.
pub(crate) fn check(input: &[u8]) {
    let now = Timestamp::from_millis(NOW);
    let plain = IncomingEvent::from_json(input, now);
    if let Some(event) = examine(&plain) {
        survives_json(event);
        is_the_same_in_an_envelope(event, input);
    }
    if let Some(event) = examine(&IncomingEvent::from_cloud_event(input, now)) {
        survives_json(event);
    }
    let (attributes, data) = split(input);
    if let Some(event) = examine(&IncomingEvent::from_cloud_event_binary(attributes, data, now)) {
        survives_json(event);
    }
}

/// Checks every limit of what was read, and that an error says something.
fn examine(decoded: &Result<IncomingEvent, EventError>) -> Option<&IncomingEvent> {
    let incoming = match decoded {
        Ok(incoming) => incoming,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let event = &incoming.event;
    for id in [event.id.as_str(), event.source.as_str(), &event.event_type] {
        assert_is_id(id);
    }
    let optional = [event.actor.as_ref().map(|it| it.as_str()), event.group.as_deref()];
    optional.into_iter().flatten().for_each(assert_is_id);
    assert!(event.title.len() <= MAX_TITLE_BYTES && event.body.len() <= MAX_BODY_BYTES);
    assert!(!event.title.contains('\0') && !event.body.contains('\0'));
    if let Some(object) = &event.object {
        assert_is_id(&object.object_type);
        assert_is_id(&object.id);
        assert!(object.url.as_ref().is_none_or(|url| url.len() <= MAX_URL_BYTES));
    }
    if let Some(data) = &event.data {
        assert!(data.get().len() <= MAX_DATA_BYTES);
        // Numbers beyond a float are kept as text by the event; a value cannot hold them.
        let read = serde_json::from_str::<Value>(data.get());
        assert!(
            read.is_ok() || read.is_err_and(|it| it.to_string().contains("number out of range"))
        );
    }
    assert!(event.ttl.is_none_or(|ttl| (1..=MAX_TTL_SECS).contains(&ttl.as_secs())));
    match &incoming.audience {
        Audience::Users(users) => {
            assert!((1..=MAX_NAMED_USERS).contains(&users.len()));
            assert_eq!(users.iter().collect::<HashSet<_>>().len(), users.len(), "named twice");
            users.iter().for_each(|user| assert_is_id(user.as_str()));
        }
        Audience::FollowersOf(user) => assert_is_id(user.as_str()),
    }
    Some(incoming)
}

fn assert_is_id(id: &str) {
    assert!((1..=MAX_ID_BYTES).contains(&id.len()), "{id:?}");
    assert!(!id.chars().any(char::is_control), "{id:?}");
}

fn survives_json(incoming: &IncomingEvent) {
    let json = to_json(incoming);
    let again = IncomingEvent::from_json(json.as_bytes(), Timestamp::from_millis(NOW + 1));
    match again {
        Ok(again) => assert_same(&again, incoming),
        Err(error) => panic!("{error}: {json}"),
    }
}

/// The bytes of an event are also the data of a `CloudEvent` with the same identity.
fn is_the_same_in_an_envelope(incoming: &IncomingEvent, input: &[u8]) {
    let event = &incoming.event;
    let time = event.time.to_string();
    let attributes = [
        ("specversion", "1.0"),
        ("id", event.id.as_str()),
        ("source", event.source.as_str()),
        ("type", &*event.event_type),
        ("time", &*time),
    ];
    let attributes = attributes.map(|(name, value)| (name, value.as_bytes()));
    let now = Timestamp::from_millis(NOW + 1);
    match IncomingEvent::from_cloud_event_binary(attributes, input, now) {
        Ok(again) => assert_same(&again, incoming),
        Err(error) => panic!("{error}, in an envelope"),
    }
}

fn assert_same(one: &IncomingEvent, other: &IncomingEvent) {
    assert_eq!(one.audience, other.audience);
    // An event with its raw data has no equality of its own; what it prints is all that it has.
    assert_eq!(format!("{:?}", one.event), format!("{:?}", other.event));
}

/// Writes an event as a producer would.
fn to_json(incoming: &IncomingEvent) -> String {
    let event = &incoming.event;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    put("id", Some(event.id.as_str().into()));
    put("source", Some(event.source.as_str().into()));
    put("type", Some(event.event_type.as_str().into()));
    put("time", Some(event.time.to_string().into()));
    put("actor", event.actor.as_ref().map(|it| it.as_str().into()));
    put("object", event.object.as_ref().and_then(|it| serde_json::to_value(it).ok()));
    put("title", Some(event.title.as_str().into()));
    put("body", Some(event.body.as_str().into()));
    put("priority", Some(event.priority.as_str().into()));
    put("ttl_seconds", event.ttl.map(|ttl| ttl.as_secs().into()));
    put("group", event.group.as_deref().map(Into::into));
    put("audience", Some(audience_to_json(&incoming.audience)));
    let json = Value::Object(fields).to_string();
    match (event.data.as_deref().map(RawValue::get), json.strip_suffix('}')) {
        // Kept byte for byte, which a value would not.
        (Some(data), Some(open)) => format!("{open},\"data\":{data}}}"),
        _ => json,
    }
}

fn audience_to_json(audience: &Audience) -> Value {
    match audience {
        Audience::Users(users) => {
            let users: Vec<_> = users.iter().map(|user| user.as_str()).collect();
            serde_json::json!({"users": users})
        }
        Audience::FollowersOf(user) => serde_json::json!({"followers_of": user.as_str()}),
    }
}

/// The attributes and the data of an input that is taken for binary mode.
fn split(input: &[u8]) -> (Vec<(&str, &[u8])>, &[u8]) {
    let mut attributes = Vec::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let Ok(name) = std::str::from_utf8(&line[..colon]) {
            attributes.push((name, &line[colon + 1..]));
        }
    }
    (attributes, rest)
}
