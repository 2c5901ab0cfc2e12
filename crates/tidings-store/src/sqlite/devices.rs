//! `DeviceStore`.

use async_trait::async_trait;
use rusqlite::{Connection, Params};
use tidings_core::{
    device::{Device, DeviceDetails, Environment, Platform, PushToken},
    ids::{DeviceId, UserId},
    ports::{DeviceStore, StoreError},
};

use super::{
    error::Failure,
    rows::Columns,
    store::SqliteStore,
    writer::{Command, WriteTx},
};

const LIST: &str = "SELECT i.user_id, d.device_id, d.platform, d.app, d.token, d.registered_ms \
     FROM inbox i CROSS JOIN device d ON d.inbox = i.inbox WHERE i.user_id = ?1 \
     ORDER BY d.device_id";
const LIST_OF_INBOX: &str = "SELECT i.user_id, d.device_id, d.platform, d.app, d.token, \
     d.registered_ms FROM inbox i CROSS JOIN device d ON d.inbox = i.inbox WHERE i.inbox = ?1 \
     ORDER BY d.device_id";

fn list(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Device>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut devices = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        devices.push(Device {
            user: columns.user()?,
            id: columns.text("device id", DeviceId::new)?,
            platform: columns.text("platform", platform)?,
            app: columns.get()?,
            token: PushToken::new(columns.get()?)
                .map_err(|error| Failure::unreadable("push token", error))?,
            registered_at: columns.time()?,
            environment: Environment::Production,
            web_push: None,
            details: DeviceDetails::default(),
        });
    }
    Ok(devices)
}

fn platform(name: &str) -> Result<Platform, String> {
    Platform::from_name(name).ok_or_else(|| format!("unknown platform {name}"))
}

/// The devices of the user with this inbox, ordered by id.
pub(super) fn of_inbox(conn: &Connection, inbox: i64) -> Result<Vec<Device>, Failure> {
    list(conn, LIST_OF_INBOX, [inbox])
}

/// Removes a device if it was registered at this time and not since. Says whether it did.
pub(super) fn prune(
    tx: &mut WriteTx<'_>,
    inbox: i64,
    device: &DeviceId,
    registered_ms: i64,
) -> Result<bool, Failure> {
    let removed = tx
        .conn
        .prepare_cached(
            "DELETE FROM device WHERE inbox = ?1 AND device_id = ?2 AND registered_ms = ?3",
        )?
        .execute((inbox, device.as_str(), registered_ms))?;
    if removed > 0 {
        recount(tx, inbox)?;
    }
    Ok(removed > 0)
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
                "INSERT INTO device (inbox, device_id, platform, app, token, registered_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (inbox, device_id) DO UPDATE SET platform = excluded.platform, \
                 app = excluded.app, token = excluded.token, registered_ms = excluded.registered_ms",
            )?
            .execute((
                inbox,
                device.id.as_str(),
                platform,
                &device.app,
                token,
                device.registered_at.as_millis(),
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

    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
        let command = RemoveDevice { user: user.clone(), device: device.clone() };
        self.writer.run(command).await
    }
}
