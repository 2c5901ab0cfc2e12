//! Events as producers write them: JSON, with every limit checked.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use super::{
    read_whole::ReadWhole,
    types::{
        Audience, Event, IncomingEvent, MAX_BODY_BYTES, MAX_DATA_BYTES, MAX_NAMED_USERS,
        MAX_TITLE_BYTES, MAX_TTL_SECS, MAX_URL_BYTES, ObjectRef, Priority,
    },
};
use crate::{
    clock::Timestamp,
    ids::{EventId, IdError, SourceId, UserId},
};

/// Why a JSON text is not an event. Names the field by its path, for example `audience.users[3]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The text is not JSON, or a field has the wrong JSON type.
    #[error("{}: {problem}", field_or_event(.field))]
    Malformed {
        /// Path of the field; empty for the event itself.
        field: String,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// A required field is absent.
    #[error("{field}: is required")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// A text is longer than its limit.
    #[error("{field}: has {got} bytes, the limit is {limit}")]
    TooLong {
        /// Path of the field.
        field: &'static str,
        /// Bytes it has.
        got: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A text is not an id.
    #[error("{field}: {source}")]
    Id {
        /// Path of the field.
        field: String,
        /// Why not.
        source: IdError,
    },
    /// The audience names too many users, or none.
    #[error("audience.users: names {got} users, from 1 to {MAX_NAMED_USERS} are allowed")]
    AudienceSize {
        /// How many it names.
        got: usize,
    },
    /// The audience is neither or both of its two forms.
    #[error("audience: takes exactly one of users and followers_of")]
    AudienceForm,
    /// A text holds the character NUL, which a database cannot keep.
    #[error("{field}: holds the character U+0000")]
    Nul {
        /// Path of the field.
        field: &'static str,
    },
    /// The time to live is outside its range.
    #[error("ttl_seconds: is {got}, from 1 to {MAX_TTL_SECS} is allowed")]
    Ttl {
        /// The value.
        got: u64,
    },
}

fn field_or_event(field: &str) -> &str {
    if field.is_empty() { "event" } else { field }
}

impl EventError {
    /// Path of the field that is at fault; empty for the event as a whole.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Malformed { field, .. } | Self::Id { field, .. } => field,
            Self::Missing { field } | Self::TooLong { field, .. } | Self::Nul { field } => field,
            Self::AudienceSize { .. } => "audience.users",
            Self::AudienceForm => "audience",
            Self::Ttl { .. } => "ttl_seconds",
        }
    }
}

/// The JSON shape. Unknown fields are left out, not fatal.
#[derive(Deserialize)]
pub(super) struct WireEvent<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) source: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    pub(super) event_type: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) time: Option<Timestamp>,
    #[serde(borrow, default)]
    pub(super) actor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) audience: Option<JsonObject<WireAudience<'a>>>,
    #[serde(default)]
    pub(super) object: Option<JsonObject<ObjectRef>>,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) body: Option<String>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) priority: Option<Priority>,
    #[serde(default)]
    pub(super) ttl_seconds: Option<u64>,
    #[serde(default)]
    pub(super) group: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireAudience<'a> {
    #[serde(borrow, default)]
    users: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    followers_of: Option<Cow<'a, str>>,
}

/// A `T` that is written as a JSON object. Derived structs also take arrays, field by position:
/// nobody means that, and a list of users where an object belongs must not pass.
pub(super) struct JsonObject<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

impl IncomingEvent {
    /// Reads one event from JSON and checks every limit.
    ///
    /// `now` stands in for an absent `time`. Users named twice count once.
    ///
    /// # Errors
    ///
    /// [`EventError`], naming the first field that is at fault.
    pub fn from_json(json: &[u8], now: Timestamp) -> Result<Self, EventError> {
        read_object::<WireEvent<'_>>(json)?.check(now)
    }
}

impl WireEvent<'_> {
    /// Checks every limit.
    pub(super) fn check(self, now: Timestamp) -> Result<IncomingEvent, EventError> {
        let wire = self;
        let event = Event {
            id: required_id(wire.id.as_deref(), "id", EventId::new)?,
            source: required_id(wire.source.as_deref(), "source", SourceId::new)?,
            event_type: required_id(wire.event_type.as_deref(), "type", EventId::new)?
                .as_str()
                .to_owned(),
            time: wire.time.unwrap_or(now),
            actor: wire
                .actor
                .as_deref()
                .map(|id| checked_id(id, "actor", UserId::new))
                .transpose()?,
            object: wire.object.map(|JsonObject(object)| check_object(object)).transpose()?,
            title: limited("title", wire.title.unwrap_or_default(), MAX_TITLE_BYTES)?,
            body: limited("body", wire.body.unwrap_or_default(), MAX_BODY_BYTES)?,
            data: wire.data.map(check_data).transpose()?,
            priority: wire.priority.unwrap_or_default(),
            ttl: wire.ttl_seconds.map(check_ttl).transpose()?,
            group: wire
                .group
                .map(|group| checked_id(&group, "group", EventId::new).map(|_| group))
                .transpose()?,
        };
        let audience = check_audience(wire.audience.map(|JsonObject(audience)| audience))?;
        Ok(IncomingEvent { event: Arc::new(event), audience })
    }
}

/// Reads a JSON object; an error names the field.
pub(super) fn read_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, EventError> {
    match serde_json::from_slice(json) {
        Ok(JsonObject(object)) => Ok(object),
        Err(error) => Err(locate::<T>(json, &error)),
    }
}

/// Finds the field behind a serde error. Reads the text a second time: only bad input pays for it.
fn locate<'a, T: Deserialize<'a>>(json: &'a [u8], error: &serde_json::Error) -> EventError {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let field = match serde_path_to_error::deserialize::<_, JsonObject<T>>(&mut reader) {
        // An unfinished or unreadable text is the event's fault, not that of the field it ends in.
        Err(located) if located.inner().is_data() => located.path().to_string(),
        _ => String::new(),
    };
    let field = if field == "." { String::new() } else { field };
    EventError::Malformed { field, problem: shortened(error.to_string()) }
}

/// A parser repeats the text that it did not expect, whole: it is cut out of the middle.
fn shortened(problem: String) -> String {
    const HEAD_BYTES: usize = 200;
    const TAIL_BYTES: usize = 100;
    if problem.len() <= HEAD_BYTES + TAIL_BYTES {
        return problem;
    }
    let head = problem.floor_char_boundary(HEAD_BYTES);
    let tail = problem.ceil_char_boundary(problem.len() - TAIL_BYTES);
    format!("{}…{}", &problem[..head], &problem[tail..])
}

fn required_id<T>(
    text: Option<&str>,
    field: &'static str,
    check: fn(&str) -> Result<T, IdError>,
) -> Result<T, EventError> {
    checked_id(text.ok_or(EventError::Missing { field })?, field, check)
}

fn checked_id<T>(
    text: &str,
    field: &'static str,
    check: fn(&str) -> Result<T, IdError>,
) -> Result<T, EventError> {
    check(text).map_err(|source| EventError::Id { field: field.to_owned(), source })
}

fn limited(field: &'static str, text: String, limit: usize) -> Result<String, EventError> {
    if text.len() > limit {
        return Err(EventError::TooLong { field, got: text.len(), limit });
    }
    if text.contains('\0') {
        return Err(EventError::Nul { field });
    }
    Ok(text)
}

fn check_object(object: ObjectRef) -> Result<ObjectRef, EventError> {
    checked_id(&object.object_type, "object.type", EventId::new)?;
    checked_id(&object.id, "object.id", EventId::new)?;
    let url = object.url.map(|url| limited("object.url", url, MAX_URL_BYTES)).transpose()?;
    Ok(ObjectRef { url, ..object })
}

fn check_data(data: &RawValue) -> Result<Box<RawValue>, EventError> {
    let got = data.get().len();
    if got > MAX_DATA_BYTES {
        return Err(EventError::TooLong { field: "data", got, limit: MAX_DATA_BYTES });
    }
    // Read in full once: what is kept raw was only skipped over so far, which lets through lone
    // surrogates and any depth. Who reads it later must not be the first to find out.
    serde_json::from_str::<ReadWhole>(data.get()).map_err(|error| EventError::Malformed {
        field: "data".to_owned(),
        problem: error.to_string(),
    })?;
    Ok(data.to_owned())
}

fn check_ttl(secs: u64) -> Result<Duration, EventError> {
    if secs == 0 || secs > MAX_TTL_SECS {
        return Err(EventError::Ttl { got: secs });
    }
    Ok(Duration::from_secs(secs))
}

fn check_audience(wire: Option<WireAudience<'_>>) -> Result<Audience, EventError> {
    match wire.ok_or(EventError::Missing { field: "audience" })? {
        WireAudience { users: Some(users), followers_of: None } => {
            if users.is_empty() || users.len() > MAX_NAMED_USERS {
                return Err(EventError::AudienceSize { got: users.len() });
            }
            let mut seen = HashSet::with_capacity(users.len());
            let mut unique = Vec::with_capacity(users.len());
            for (index, user) in users.iter().enumerate() {
                let id = UserId::new(user).map_err(|source| EventError::Id {
                    field: format!("audience.users[{index}]"),
                    source,
                })?;
                if seen.insert(id.clone()) {
                    unique.push(id);
                }
            }
            Ok(Audience::Users(unique))
        }
        WireAudience { users: None, followers_of: Some(user) } => {
            Ok(Audience::FollowersOf(checked_id(&user, "audience.followers_of", UserId::new)?))
        }
        _ => Err(EventError::AudienceForm),
    }
}
