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

use super::{error::Failure, rows::Columns, session::Session, text};

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

pub(super) const INSERT: &str = "INSERT INTO event (event, time_ms, ttl_ms, source, event_id, type, \
     actor_id, object_type, object_id, object_url, title, body, data, priority, group_id, stored_ms) \
     SELECT *, $16 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], \
     $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], \
     $13::text[], $14::text[], $15::text[])";

/// Stores the content of new events, by their numbers.
pub(super) async fn insert(
    session: &Session,
    events: &[(i64, &Event)],
    now: Timestamp,
) -> Result<(), Failure> {
    if events.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($event:ident => $value:expr) => {
            events.iter().map(|(_, $event)| $value).collect::<Vec<_>>()
        };
    }
    let numbers: Vec<_> = events.iter().map(|(number, _)| *number).collect();
    let times = column!(it => it.time.as_millis());
    let ttls = column!(it => it.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
    let sources = column!(it => it.source.as_str());
    let ids = column!(it => it.id.as_str());
    let types = column!(it => text::to_sql(&it.event_type));
    let actors = column!(it => it.actor.as_ref().map(UserId::as_str));
    let object_types = column!(it => it.object.as_ref().map(|it| text::to_sql(&it.object_type)));
    let object_ids = column!(it => it.object.as_ref().map(|it| text::to_sql(&it.id)));
    let urls = column!(it => {
        it.object.as_ref().and_then(|it| it.url.as_deref()).map(text::to_sql)
    });
    let titles = column!(it => text::to_sql(&it.title));
    let bodies = column!(it => text::to_sql(&it.body));
    // JSON has no raw zero byte, but may have the mark.
    let data = column!(it => it.data.as_ref().map(|data| text::to_sql(data.get())));
    let priorities = column!(it => it.priority.as_str());
    let groups = column!(it => it.group.as_deref().map(text::to_sql));
    session
        .execute(
            INSERT,
            &[
                &numbers,
                &times,
                &ttls,
                &sources,
                &ids,
                &types,
                &actors,
                &object_types,
                &object_ids,
                &urls,
                &titles,
                &bodies,
                &data,
                &priorities,
                &groups,
                &now.as_millis(),
            ],
        )
        .await?;
    Ok(())
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
