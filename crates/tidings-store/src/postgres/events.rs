//! Events: stored once, however many people are told of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tidings_core::{
    clock::Timestamp,
    event::{Event, ObjectRef, Priority},
    ids::{EventId, SourceId, UserId},
};
use uuid::Uuid;

use super::{copy::CopyRows, error::Failure, rows::Columns, session::Session, text};

/// What [`read`] reads, of an event `e`.
pub(super) const COLUMNS: &str = "e.source, e.event_id, e.type, e.time_ms, e.actor_id, \
     e.object_type, e.object_id, e.object_url, e.title, e.body, e.data, e.priority, e.ttl_ms, \
     e.group_id";

/// A digest of the event's identity. Two identities with the same one would take 2^64 tries to make.
pub(super) fn key(source: &SourceId, id: &EventId) -> Uuid {
    let mut digest = Sha256::new();
    // No id has a zero byte: where one ends is clear.
    digest.update(source.as_str());
    digest.update([0]);
    digest.update(id.as_str());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.finalize()[..16]);
    Uuid::from_bytes(key)
}

/// Takes the identities that are free. Sorted by the caller: two that want the same wait for each
/// other, never in a circle.
pub(super) const CLAIM_KEYS: &str = "INSERT INTO event_key (key) SELECT unnest($1::uuid[]) \
     ON CONFLICT (key) DO NOTHING RETURNING key, event";

/// Takes free identities, and gives their numbers.
pub(super) async fn claim_keys(
    session: &Session,
    keys: &[Uuid],
) -> Result<HashMap<Uuid, i64>, Failure> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = session.query(CLAIM_KEYS, &[&keys]).await?;
    let mut numbers = HashMap::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        numbers.insert(columns.get()?, columns.get()?);
    }
    Ok(numbers)
}

/// An event that was stored before.
pub(super) struct Known {
    pub(super) number: i64,
    pub(super) event: Arc<Event>,
}

/// Reads events that were stored before, and locks them: nobody else gives them notifications, or
/// forgets them, until this transaction ends. Those that are gone are left out.
pub(super) async fn lock(
    session: &Session,
    keys: &[Uuid],
) -> Result<HashMap<Uuid, Known>, Failure> {
    let sql = format!(
        "SELECT k.key, k.event, {COLUMNS} FROM event_key k JOIN event e ON e.event = k.event \
         WHERE k.key = ANY($1) ORDER BY k.key FOR NO KEY UPDATE OF k"
    );
    let rows = session.query(&sql, &[&keys]).await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        let key = columns.get()?;
        let number = columns.get()?;
        known.insert(key, Known { number, event: Arc::new(read(&mut columns)?) });
    }
    Ok(known)
}

pub(super) const COPY: &str = "COPY event (event, time_ms, stored_ms, ttl_ms, source, event_id, \
     type, actor_id, object_type, object_id, object_url, title, body, data, priority, group_id) \
     FROM STDIN WITH BINARY";

/// Stores the content of new events, by their numbers.
pub(super) async fn insert(
    session: &Session,
    events: &[(i64, &Event)],
    now: Timestamp,
) -> Result<(), Failure> {
    if events.is_empty() {
        return Ok(());
    }
    let bytes = events.iter().map(|(_, event)| event.size_bytes()).sum();
    let mut rows = CopyRows::with_capacity(bytes);
    for (number, event) in events {
        rows.row(16);
        rows.int8(*number);
        rows.int8(event.time.as_millis());
        rows.int8(now.as_millis());
        rows.optional_int8(event.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        rows.text(event.source.as_str())?;
        rows.text(event.id.as_str())?;
        rows.text(&text::to_sql(&event.event_type))?;
        rows.optional_text(event.actor.as_ref().map(UserId::as_str))?;
        let object = event.object.as_ref();
        let any = |text: Option<&str>, rows: &mut CopyRows| match text {
            Some(it) => rows.text(&text::to_sql(it)),
            None => rows.optional_text(None),
        };
        any(object.map(|it| it.object_type.as_str()), &mut rows)?;
        any(object.map(|it| it.id.as_str()), &mut rows)?;
        any(object.and_then(|it| it.url.as_deref()), &mut rows)?;
        rows.text(&text::to_sql(&event.title))?;
        rows.text(&text::to_sql(&event.body))?;
        // JSON has no raw zero byte, but may have what stands for one.
        any(event.data.as_ref().map(|data| data.get()), &mut rows)?;
        rows.text(event.priority.as_str())?;
        any(event.group.as_deref(), &mut rows)?;
    }
    session.copy(COPY, rows.finish()).await
}

/// Reads the columns of [`COLUMNS`].
pub(super) fn read(columns: &mut Columns<'_>) -> Result<Event, Failure> {
    Ok(Event {
        source: columns.parse("source", SourceId::new)?,
        id: columns.parse("event id", EventId::new)?,
        event_type: columns.text()?,
        time: columns.time()?,
        actor: columns
            .get::<Option<&str>>()?
            .map(UserId::new)
            .transpose()
            .map_err(|error| Failure::unreadable("actor", error))?,
        object: object(columns)?,
        title: columns.text()?,
        body: columns.text()?,
        data: columns
            .optional_text()?
            .map(RawValue::from_string)
            .transpose()
            .map_err(|error| Failure::unreadable("data", error))?,
        priority: columns.parse("priority", priority)?,
        ttl: columns
            .get::<Option<i64>>()?
            .map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        group: columns.optional_text()?,
    })
}

fn object(columns: &mut Columns<'_>) -> Result<Option<ObjectRef>, Failure> {
    let object_type = columns.optional_text()?;
    let id = columns.optional_text()?;
    let url = columns.optional_text()?;
    Ok(object_type.zip(id).map(|(object_type, id)| ObjectRef { object_type, id, url }))
}

fn priority(name: &str) -> Result<Priority, String> {
    [Priority::Low, Priority::Normal, Priority::High]
        .into_iter()
        .find(|it| it.as_str() == name)
        .ok_or_else(|| format!("unknown priority {name}"))
}
