//! Events: stored once, however many people are told of them.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use rusqlite::{Connection, Statement};
use serde_json::value::RawValue;
use tidings_core::{
    clock::Timestamp,
    event::{Event, ObjectRef, Priority},
    ids::{EventId, SourceId, UserId},
};

use super::{error::Failure, rows::Columns};

/// What [`read`] reads, of an event `e`.
pub(super) const COLUMNS: &str = "e.source, e.event_id, e.type, e.time_ms, e.actor_id, \
     e.object_type, e.object_id, e.object_url, e.title, e.body, e.data, e.priority, e.ttl_ms, \
     e.group_id";

pub(super) const INSERT: &str = "INSERT INTO event (source, event_id, type, time_ms, actor_id, object_type, \
     object_id, object_url, title, body, data, priority, ttl_ms, group_id, stored_ms) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
     ON CONFLICT (source, event_id) DO NOTHING";

static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT e.event, {COLUMNS} FROM event e WHERE e.source = ?1 AND e.event_id = ?2")
});

/// An event as it is stored.
pub(super) struct Put {
    pub(super) number: i64,
    pub(super) event: Arc<Event>,
    pub(super) is_new: bool,
}

/// Stores the event with the statement [`INSERT`], or finds the one that came first under its
/// identity.
pub(super) fn put(
    conn: &Connection,
    insert: &mut Statement<'_>,
    event: &Arc<Event>,
    now: Timestamp,
) -> Result<Put, Failure> {
    let object = event.object.as_ref();
    let ttl_ms = event.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let new = insert.execute((
        event.source.as_str(),
        event.id.as_str(),
        &event.event_type,
        event.time.as_millis(),
        event.actor.as_ref().map(UserId::as_str),
        object.map(|it| &it.object_type),
        object.map(|it| &it.id),
        object.and_then(|it| it.url.as_ref()),
        &event.title,
        &event.body,
        event.data.as_ref().map(|data| data.get()),
        event.priority.as_str(),
        ttl_ms,
        event.group.as_ref(),
        now.as_millis(),
    ))?;
    if new == 1 {
        let number = conn.last_insert_rowid();
        return Ok(Put { number, event: Arc::clone(event), is_new: true });
    }
    let (number, stored) = load(conn, &event.source, &event.id)?;
    Ok(Put { number, event: Arc::new(stored), is_new: false })
}

fn load(conn: &Connection, source: &SourceId, id: &EventId) -> Result<(i64, Event), Failure> {
    let mut statement = conn.prepare_cached(&LOAD)?;
    let mut rows = statement.query((source.as_str(), id.as_str()))?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let mut columns = Columns::of(row);
    Ok((columns.get()?, read(&mut columns)?))
}

/// Reads the columns of [`COLUMNS`].
pub(super) fn read(columns: &mut Columns<'_, '_>) -> Result<Event, Failure> {
    Ok(Event {
        source: columns.text("source", SourceId::new)?,
        id: columns.text("event id", EventId::new)?,
        event_type: columns.get()?,
        time: columns.time()?,
        actor: columns
            .get::<Option<String>>()?
            .map(UserId::try_from)
            .transpose()
            .map_err(|error| Failure::unreadable("actor", error))?,
        object: object(columns)?,
        title: columns.get()?,
        body: columns.get()?,
        data: columns
            .get::<Option<String>>()?
            .map(RawValue::from_string)
            .transpose()
            .map_err(|error| Failure::unreadable("data", error))?,
        priority: columns.text("priority", priority)?,
        ttl: columns
            .get::<Option<i64>>()?
            .map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        group: columns.get()?,
    })
}

fn object(columns: &mut Columns<'_, '_>) -> Result<Option<ObjectRef>, Failure> {
    let object_type: Option<String> = columns.get()?;
    let id: Option<String> = columns.get()?;
    let url = columns.get()?;
    Ok(object_type.zip(id).map(|(object_type, id)| ObjectRef { object_type, id, url }))
}

fn priority(name: &str) -> Result<Priority, String> {
    [Priority::Low, Priority::Normal, Priority::High]
        .into_iter()
        .find(|it| it.as_str() == name)
        .ok_or_else(|| format!("unknown priority {name}"))
}
