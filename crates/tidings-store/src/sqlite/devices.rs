//! `DeviceStore`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use tidings_core::{
    device::{Device, DeviceDetails, Environment, Platform, PushToken, WebPushKeys},
    ids::{DeviceId, UserId},
    ports::{DeviceStore, Prune, StoreError},
};

use super::{
    error::Failure,
    rows::{Columns, from_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// A query for devices, to be completed with conditions and order; the joins run in this order.
macro_rules! select_devices {
    ($rest:literal) => {
        concat!(
            "SELECT i.user_id, d.device_id, d.platform, d.app, d.token, d.registered_ms, \
             d.environment, d.p256dh, d.auth, d.locale, d.time_zone, d.app_version \
             FROM inbox i CROSS JOIN device d ON d.inbox = i.inbox ",
            $rest
        )
    };
}

const LIST: &str = select_devices!("WHERE i.user_id = ?1 ORDER BY d.device_id");
const LIST_OF_INBOX: &str = select_devices!("WHERE i.inbox = ?1 ORDER BY d.device_id");
const FIND_OF_INBOX: &str = select_devices!("WHERE i.inbox = ?1 AND d.device_id = ?2");

fn list(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Device>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut devices = Vec::new();
    while let Some(row) = rows.next()? {
        devices.push(read(row)?);
    }
    Ok(devices)
}

fn read(row: &Row<'_>) -> Result<Device, Failure> {
    let mut columns = Columns::of(row);
    Ok(Device {
        user: columns.user()?,
        id: columns.text("device id", DeviceId::new)?,
        platform: columns.text("platform", |name| {
            Platform::from_name(name).ok_or_else(|| format!("unknown platform {name}"))
        })?,
        app: columns.get()?,
        token: PushToken::new(columns.get()?)
            .map_err(|error| Failure::unreadable("push token", error))?,
        registered_at: columns.time()?,
        environment: columns.text("environment", |name| {
            Environment::from_name(name).ok_or_else(|| format!("unknown environment {name}"))
        })?,
        web_push: web_push_keys(columns.get()?, columns.get()?)?,
        details: DeviceDetails {
            locale: columns.get()?,
            time_zone: columns.get()?,
            app_version: columns.get()?,
        },
    })
}

fn web_push_keys(
    p256dh: Option<Vec<u8>>,
    auth: Option<Vec<u8>>,
) -> Result<Option<WebPushKeys>, Failure> {
    let (Some(p256dh), Some(auth)) = (p256dh, auth) else { return Ok(None) };
    // Neither is shown: they are secrets.
    let unreadable = |_: Vec<u8>| Failure::unreadable("web push keys", "the length is not right");
    let p256dh = p256dh.try_into().map_err(unreadable)?;
    let auth = auth.try_into().map_err(unreadable)?;
    Ok(Some(WebPushKeys { p256dh, auth }))
}

/// The devices of the user with this inbox, ordered by id.
pub(super) fn of_inbox(conn: &Connection, inbox: i64) -> Result<Vec<Device>, Failure> {
    list(conn, LIST_OF_INBOX, [inbox])
}

/// One device of the user with this inbox, or none if it is gone.
pub(super) fn one_of_inbox(
    conn: &Connection,
    inbox: i64,
    device: &DeviceId,
) -> Result<Vec<Device>, Failure> {
    list(conn, FIND_OF_INBOX, (inbox, device.as_str()))
}

/// Counts the devices of a user besides one.
fn count_others(conn: &Connection, user: &UserId, device: &DeviceId) -> Result<u64, Failure> {
    let count: Option<i64> = conn
        .prepare_cached(
            "SELECT i.devices - EXISTS (SELECT 1 FROM device d WHERE d.inbox = i.inbox \
             AND d.device_id = ?2) FROM inbox i WHERE i.user_id = ?1",
        )?
        .query_row((user.as_str(), device.as_str()), |row| row.get(0))
        .optional()?;
    Ok(count.map_or(0, from_sql))
}

/// Removes devices of an inbox, those that were registered at their time and not since.
pub(super) fn prune(tx: &mut WriteTx<'_>, inbox: i64, prunes: &[Prune]) -> Result<(), Failure> {
    let mut removed = 0;
    for it in prunes {
        removed += tx
            .conn
            .prepare_cached(
                "DELETE FROM device WHERE inbox = ?1 AND device_id = ?2 AND registered_ms = ?3",
            )?
            .execute((inbox, it.device.as_str(), it.registered_at.as_millis()))?;
    }
    if removed > 0 {
        recount(tx, inbox)?;
    }
    Ok(())
}

/// Removes devices that were last registered before a time, and returns how many were.
pub(super) fn forget(
    tx: &mut WriteTx<'_>,
    found: &[(i64, String)],
    before_ms: i64,
) -> Result<u64, Failure> {
    let mut bereft = BTreeSet::new();
    let mut forgotten = 0;
    for (inbox, device) in found {
        // It may have been registered anew since it was found.
        let removed = tx
            .conn
            .prepare_cached(
                "DELETE FROM device WHERE inbox = ?1 AND device_id = ?2 AND registered_ms < ?3",
            )?
            .execute((inbox, device, before_ms))?;
        if removed > 0 {
            bereft.insert(*inbox);
            forgotten += 1;
        }
    }
    for inbox in bereft {
        recount(tx, inbox)?;
    }
    Ok(forgotten)
}

/// Counts the devices of an inbox anew. Counting cannot drift, and devices change seldom.
fn recount(tx: &mut WriteTx<'_>, inbox: i64) -> Result<(), Failure> {
    let user: String = tx
        .conn
        .prepare_cached(
            "UPDATE inbox SET devices = (SELECT count(*) FROM device WHERE inbox = ?1) \
             WHERE inbox = ?1 RETURNING user_id",
        )?
        .query_row([inbox], |row| row.get(0))?;
    tx.inboxes.forget(&user);
    Ok(())
}

struct PutDevice(Device);

impl Command for PutDevice {
    type Output = ();
    const OP: &'static str = "put_device";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let device = &self.0;
        let (platform, token) = (device.platform.as_str(), device.token.expose());
        let inbox = tx.inboxes.load_or_create(tx.conn, &device.user)?.inbox;
        let bereft: Option<i64> = {
            let mut take = tx.conn.prepare_cached(
                "DELETE FROM device WHERE platform = ?1 AND app = ?2 AND token = ?3 \
                 AND NOT (inbox = ?4 AND device_id = ?5) RETURNING inbox",
            )?;
            let params = (platform, &device.app, token, inbox, device.id.as_str());
            // At most one: the token is unique per platform and app.
            let mut rows = take.query(params)?;
            rows.next()?.map(|row| row.get(0)).transpose()?
        };
        tx.conn
            .prepare_cached(
                "INSERT INTO device (inbox, device_id, platform, app, token, registered_ms, \
                 environment, p256dh, auth, locale, time_zone, app_version) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
                 ON CONFLICT (inbox, device_id) DO UPDATE SET platform = excluded.platform, \
                 app = excluded.app, token = excluded.token, \
                 registered_ms = excluded.registered_ms, environment = excluded.environment, \
                 p256dh = excluded.p256dh, auth = excluded.auth, locale = excluded.locale, \
                 time_zone = excluded.time_zone, app_version = excluded.app_version",
            )?
            .execute((
                inbox,
                device.id.as_str(),
                platform,
                &device.app,
                token,
                device.registered_at.as_millis(),
                device.environment.as_str(),
                device.web_push.as_ref().map(|keys| &keys.p256dh[..]),
                device.web_push.as_ref().map(|keys| &keys.auth[..]),
                device.details.locale.as_ref(),
                device.details.time_zone.as_ref(),
                device.details.app_version.as_ref(),
            ))?;
        if let Some(bereft) = bereft.filter(|it| *it != inbox) {
            recount(tx, bereft)?;
        }
        recount(tx, inbox)
    }
}

struct RemoveDevice {
    user: UserId,
    device: DeviceId,
}

impl Command for RemoveDevice {
    type Output = bool;
    const OP: &'static str = "remove_device";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<bool, Failure> {
        let bereft: Option<i64> = {
            let mut remove = tx.conn.prepare_cached(
                "DELETE FROM device WHERE device_id = ?2 \
                 AND inbox = (SELECT inbox FROM inbox WHERE user_id = ?1) RETURNING inbox",
            )?;
            let mut rows = remove.query((self.user.as_str(), self.device.as_str()))?;
            rows.next()?.map(|row| row.get(0)).transpose()?
        };
        if let Some(inbox) = bereft {
            recount(tx, inbox)?;
        }
        Ok(bereft.is_some())
    }
}

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn put_device(&self, device: Device) -> Result<(), StoreError> {
        self.writer.run(PutDevice(device)).await
    }

    async fn list_devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError> {
        let user = user.clone();
        let query = move |conn: &Connection| list(conn, LIST, [user.as_str()]);
        self.readers.read("list_devices", query).await
    }

    async fn count_other_devices(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<u64, StoreError> {
        let (user, device) = (user.clone(), device.clone());
        let query = move |conn: &Connection| count_others(conn, &user, &device);
        self.readers.read("count_other_devices", query).await
    }

    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
        let command = RemoveDevice { user: user.clone(), device: device.clone() };
        self.writer.run(command).await
    }
}
