//! Events in a CloudEvents 1.0 envelope.
//!
//! `id`, `source`, `type` and `time` are the envelope's; its `data` is an object with the other fields
//! of an event, which keep their names and limits. Attributes that we do not know are left out.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    decode::{EventError, JsonObject, WireAudience, WireEvent, read_object},
    types::{IncomingEvent, ObjectRef, Priority},
};
use crate::clock::Timestamp;

/// The attributes that mean something to us.
#[derive(Default)]
struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    time: Option<Timestamp>,
    datacontenttype: Option<Cow<'a, str>>,
}

/// An event in structured mode ("JSON Event Format for CloudEvents", 1.0.2).
#[derive(Deserialize)]
struct WireCloudEvent<'a> {
    #[serde(borrow, default)]
    specversion: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(borrow, default)]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<JsonObject<WireData<'a>>>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
}

/// The fields of an event that the envelope does not have.
#[derive(Deserialize)]
struct WireData<'a> {
    #[serde(borrow, default)]
    actor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    audience: Option<JsonObject<WireAudience<'a>>>,
    #[serde(default)]
    object: Option<JsonObject<ObjectRef>>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    ttl_seconds: Option<u64>,
    #[serde(default)]
    group: Option<String>,
}

impl IncomingEvent {
    /// Reads one event from a CloudEvents 1.0 envelope in structured mode and checks every limit.
    ///
    /// The data may also come as `data_base64`, if it is JSON all the same. `now` stands in for an
    /// absent `time`.
    ///
    /// # Errors
    ///
    /// [`EventError`], naming the first field that is at fault. What is in the data is named as in
    /// [`Self::from_json`], the envelope's `data` as `data`.
    pub fn from_cloud_event(json: &[u8], now: Timestamp) -> Result<Self, EventError> {
        let wire: WireCloudEvent<'_> = read_object(json).map_err(name_as_in_data)?;
        let attributes = Attributes {
            specversion: wire.specversion,
            id: wire.id,
            source: wire.source,
            event_type: wire.event_type,
            time: wire.time,
            datacontenttype: wire.datacontenttype,
        };
        match (wire.data, wire.data_base64) {
            (Some(JsonObject(data)), None) => attributes.with(data)?.check(now),
            (None, Some(text)) => {
                let json = BASE64_STANDARD
                    .decode(text.as_bytes())
                    .map_err(|error| malformed("data_base64", &error))?;
                attributes.check()?;
                attributes.with(read_object(&json)?)?.check(now)
            }
            (Some(_), Some(_)) => Err(malformed("data_base64", &"stands beside data")),
            (None, None) => {
                attributes.check()?;
                Err(EventError::Missing { field: "data" })
            }
        }
    }

    /// Reads one event whose CloudEvents 1.0 attributes came apart from its data (binary mode), and
    /// checks every limit.
    ///
    /// `attributes` are names without prefix, in any case, and their values: in Kafka the headers
    /// `ce_…`, and `content-type` as `datacontenttype`. The last of a name counts.
    ///
    /// # Errors
    ///
    /// [`EventError`], naming the first field that is at fault.
    pub fn from_cloud_event_binary<'a>(
        attributes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        data: &[u8],
        now: Timestamp,
    ) -> Result<Self, EventError> {
        let mut known = Attributes::default();
        for (name, value) in attributes {
            known.set(name, value)?;
        }
        known.check()?;
        known.with(read_object(data)?)?.check(now)
    }
}

impl<'a> Attributes<'a> {
    fn set(&mut self, name: &str, value: &'a [u8]) -> Result<(), EventError> {
        if name.eq_ignore_ascii_case("time") {
            self.time = Some(text("time", value)?.parse().map_err(|it| malformed("time", &it))?);
            return Ok(());
        }
        let (field, slot) = match name {
            _ if name.eq_ignore_ascii_case("specversion") => ("specversion", &mut self.specversion),
            _ if name.eq_ignore_ascii_case("id") => ("id", &mut self.id),
            _ if name.eq_ignore_ascii_case("source") => ("source", &mut self.source),
            _ if name.eq_ignore_ascii_case("type") => ("type", &mut self.event_type),
            _ if name.eq_ignore_ascii_case("datacontenttype") => {
                ("datacontenttype", &mut self.datacontenttype)
            }
            _ => return Ok(()),
        };
        *slot = Some(Cow::Borrowed(text(field, value)?));
        Ok(())
    }

    /// Checks what says how the rest is to be read.
    fn check(&self) -> Result<(), EventError> {
        match self.specversion.as_deref() {
            None => return Err(EventError::Missing { field: "specversion" }),
            Some("1.0") => {}
            Some(other) => {
                let problem = format_args!("is {other:?}, 1.0 is understood");
                return Err(malformed("specversion", &problem));
            }
        }
        match self.datacontenttype.as_deref() {
            Some(media_type) if !is_json(media_type) => {
                let problem = format_args!("is {media_type:?}, the data has to be JSON");
                Err(malformed("datacontenttype", &problem))
            }
            _ => Ok(()),
        }
    }

    fn with(self, data: WireData<'a>) -> Result<WireEvent<'a>, EventError> {
        self.check()?;
        Ok(WireEvent {
            id: self.id,
            source: self.source,
            event_type: self.event_type,
            time: self.time,
            actor: data.actor,
            audience: data.audience,
            object: data.object,
            title: data.title,
            body: data.body,
            data: data.data,
            priority: data.priority,
            ttl_seconds: data.ttl_seconds,
            group: data.group,
        })
    }
}

/// `*/json` and `*/*+json`, whatever the parameters ("JSON Event Format for CloudEvents", 3.1).
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.split_once('/').map(|(_, subtype)| subtype);
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn text<'a>(field: &str, value: &'a [u8]) -> Result<&'a str, EventError> {
    str::from_utf8(value).map_err(|error| malformed(field, &error))
}

fn malformed(field: &str, problem: &dyn std::fmt::Display) -> EventError {
    EventError::Malformed { field: field.to_owned(), problem: problem.to_string() }
}

/// A field of the data goes by its own path, in whichever mode the data came.
fn name_as_in_data(error: EventError) -> EventError {
    match error {
        EventError::Malformed { field, problem } => {
            let field = field.strip_prefix("data.").map(str::to_owned).unwrap_or(field);
            EventError::Malformed { field, problem }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{event::Audience, ids::UserId};

    const NOW: &str = "2026-11-23T09:00:00Z";

    fn envelope() -> Value {
        json!({
            "specversion": "1.0", "id": "e1", "source": "/posts", "type": "app.like",
            "time": "2026-11-23T08:00:00Z", "datacontenttype": "application/json",
            "subject": "left out", "traceparent": "00-1",
            "data": {"audience": {"users": ["u_7"]}, "title": "Hi", "data": {"any": 1},
                     "unknown": [1]},
        })
    }

    fn structured(event: &Value) -> Result<IncomingEvent, EventError> {
        IncomingEvent::from_cloud_event(event.to_string().as_bytes(), NOW.parse().unwrap())
    }

    fn binary(attributes: &[(&str, &str)], data: &str) -> Result<IncomingEvent, EventError> {
        let attributes = attributes.iter().map(|(name, value)| (*name, value.as_bytes()));
        let now = NOW.parse().unwrap();
        IncomingEvent::from_cloud_event_binary(attributes, data.as_bytes(), now)
    }

    fn assert_whole(incoming: &IncomingEvent) {
        let event = &incoming.event;
        assert_eq!((event.id.as_str(), event.source.as_str()), ("e1", "/posts"));
        assert_eq!((&*event.event_type, &*event.title), ("app.like", "Hi"));
        assert_eq!(event.time, "2026-11-23T08:00:00Z".parse().unwrap());
        assert_eq!(event.data.as_ref().unwrap().get(), r#"{"any":1}"#);
        assert_eq!(incoming.audience, Audience::Users(vec![UserId::new("u_7").unwrap()]));
    }

    #[test]
    fn the_envelope_gives_identity_and_time_and_its_data_the_rest_in_both_modes() {
        assert_whole(&structured(&envelope()).unwrap());
        let mut encoded = envelope();
        let data = encoded.as_object_mut().unwrap().remove("data").unwrap().to_string();
        encoded["data_base64"] = BASE64_STANDARD.encode(&data).into();
        assert_whole(&structured(&encoded).unwrap());
        let attributes = [
            ("specversion", "1.0"),
            ("ID", "e1"),
            ("source", "/posts"),
            ("type", "app.like"),
            ("time", "2026-11-23T08:00:00Z"),
            ("datacontenttype", "application/vnd.app+JSON; charset=utf-8"),
            ("subject", "left out"),
        ];
        assert_whole(&binary(&attributes, &data).unwrap());
    }

    #[test]
    fn each_fault_of_an_envelope_names_its_field() {
        let cases: &[(&str, Value, &str)] = &[
            ("specversion", Value::Null, "specversion"),
            ("specversion", "0.3".into(), "specversion"),
            ("id", Value::Null, "id"),
            ("source", "x".repeat(129).into(), "source"),
            ("type", "".into(), "type"),
            ("time", "yesterday".into(), "time"),
            ("datacontenttype", "text/plain".into(), "datacontenttype"),
            ("data", Value::Null, "data"),
            ("data", "text".into(), "data"),
            ("data", json!([["u_7"]]), "data"),
            ("data_base64", "e30=".into(), "data_base64"),
            ("data", json!({"audience": {"users": [7]}}), "audience.users[0]"),
            ("data", json!({"audience": {"users": [""]}}), "audience.users[0]"),
            ("data", json!({"title": "no audience"}), "audience"),
        ];
        for (field, value, at) in cases {
            let mut event = envelope();
            event[field] = value.clone();
            let error = structured(&event).expect_err(field);
            assert_eq!(&error.field(), at, "{error}");
        }
        let mut event = envelope();
        event["data"] = Value::Null;
        event["data_base64"] = "not base64!".into();
        assert_eq!(structured(&event).unwrap_err().field(), "data_base64");
        assert_eq!(
            IncomingEvent::from_cloud_event(b"[", NOW.parse().unwrap()).unwrap_err().field(),
            ""
        );
    }

    #[test]
    fn an_attribute_that_cannot_be_read_is_named() {
        assert_eq!(binary(&[("time", "now")], "{}").unwrap_err().field(), "time");
        assert_eq!(binary(&[("specversion", "1.0")], "{").unwrap_err().field(), "");
        assert_eq!(binary(&[("id", "1")], "{}").unwrap_err().field(), "specversion");
        let not_utf8 = [("source", &b"\xff"[..])];
        let error = IncomingEvent::from_cloud_event_binary(not_utf8, b"{}", NOW.parse().unwrap());
        assert_eq!(error.unwrap_err().field(), "source");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_an_error(
            json in proptest::collection::vec(any::<u8>(), 0..256),
            name in "[a-z]{0,16}", value in proptest::collection::vec(any::<u8>(), 0..16),
        ) {
            let now: Timestamp = NOW.parse().unwrap();
            let attributes = [("specversion", &b"1.0"[..]), (&*name, &*value)];
            let both = [
                IncomingEvent::from_cloud_event(&json, now),
                IncomingEvent::from_cloud_event_binary(attributes, &json, now),
            ];
            for error in both.into_iter().filter_map(Result::err) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
