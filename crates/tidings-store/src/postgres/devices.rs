//! `DeviceStore`.

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tidings_core::{
    device::{Device, DeviceDetails, Environment, Platform, PushToken, WebPushKeys},
    ids::{DeviceId, UserId},
    ports::{DeviceStore, StoreError},
};
use tokio::try_join;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    error::Failure,
    inbox::inbox_of_user,
    rows::Columns,
    session::{Command, Session},
    store::PostgresStore,
    text,
};

/// A query for devices, to be completed with `FROM`, conditions and order. `i` is the inbox, `d` the
/// device.
macro_rules! select_devices {
    ($($rest:expr),+) => {
        concat!(
            "SELECT i.user_id, d.device_id, d.platform, d.app, d.token, d.registered_ms, \
             d.environment, d.p256dh, d.auth, d.locale, d.time_zone, d.app_version, i.inbox ",
            $($rest),+
        )
    };
}

const LIST: &str = select_devices!(
    "FROM inbox i JOIN device d ON d.inbox = i.inbox WHERE i.inbox = ",
    inbox_of_user!(),
    " ORDER BY d.device_id"
);

/// The devices of many inboxes. The inbox is column [`INBOX`].
pub(super) const OF_INBOXES: &str = select_devices!(
    "FROM unnest($1::bigint[]) AS w (inbox) \
     JOIN inbox i ON i.inbox = w.inbox JOIN device d ON d.inbox = i.inbox \
     ORDER BY i.inbox, d.device_id"
);

/// Devices by inbox and id. The inbox is column [`INBOX`]. `OFFSET 0` keeps the planner from beginning
/// with the devices, which it does while there are few.
pub(super) const BY_ID: &str = select_devices!(
    "FROM unnest($1::bigint[], $2::text[]) AS w (inbox, device_id) \
     JOIN inbox i ON i.inbox = w.inbox CROSS JOIN LATERAL (SELECT * FROM device t \
     WHERE t.inbox = w.inbox AND t.device_id = w.device_id OFFSET 0) d"
);

/// Where a device's row has its inbox, from 0.
pub(super) const INBOX: usize = 12;

/// Locks inboxes, in their order: their devices are counted by one at a time.
pub(super) const LOCK: &str = "SELECT inbox FROM inbox WHERE inbox = ANY($1::bigint[]) \
     ORDER BY inbox FOR NO KEY UPDATE";

/// Counts the devices of inboxes anew. Counting cannot drift, and devices change seldom.
const RECOUNT: &str = "UPDATE inbox i SET devices = \
     (SELECT count(*) FROM device d WHERE d.inbox = i.inbox) WHERE i.inbox = ANY($1::bigint[])";

/// Removes devices if they were registered at a time and not since. Says of which inboxes.
const PRUNE: &str = "DELETE FROM device d \
     USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS p (inbox, device_id, registered_ms) \
     WHERE d.inbox = p.inbox AND d.device_id = p.device_id AND d.registered_ms = p.registered_ms \
     RETURNING d.inbox";

pub(super) fn read(row: &Row) -> Result<Device, Failure> {
    let mut columns = Columns::of(row);
    Ok(Device {
        user: columns.user()?,
        id: columns.parse("device id", DeviceId::new)?,
        platform: columns.parse("platform", |name| {
            Platform::from_name(name).ok_or_else(|| format!("unknown platform {name}"))
        })?,
        app: columns.text()?,
        token: PushToken::new(columns.get()?)
            .map_err(|error| Failure::unreadable("push token", error))?,
        registered_at: columns.time()?,
        environment: columns.parse("environment", |name| {
            Environment::from_name(name).ok_or_else(|| format!("unknown environment {name}"))
        })?,
        web_push: web_push_keys(columns.get()?, columns.get()?)?,
        details: DeviceDetails {
            locale: columns.optional_text()?,
            time_zone: columns.optional_text()?,
            app_version: columns.optional_text()?,
        },
    })
}

fn web_push_keys(
    p256dh: Option<&[u8]>,
    auth: Option<&[u8]>,
) -> Result<Option<WebPushKeys>, Failure> {
    let (Some(p256dh), Some(auth)) = (p256dh, auth) else { return Ok(None) };
    let p256dh = p256dh.try_into().map_err(|it| Failure::unreadable("web push keys", it))?;
    let auth = auth.try_into().map_err(|it| Failure::unreadable("web push keys", it))?;
    Ok(Some(WebPushKeys { p256dh, auth }))
}

fn token_key(device: &Device) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(device.platform.as_str());
    digest.update([0]);
    // A token has visible characters only: where it ends is clear.
    digest.update(device.token.expose());
    digest.update([0]);
    digest.update(&device.app);
    let mut key = [0; 16];
    key.copy_from_slice(&digest.finalize()[..16]);
    Uuid::from_bytes(key)
}

/// Devices to be forgotten, as columns.
#[derive(Default)]
pub(super) struct Prunes {
    pub(super) inboxes: Vec<i64>,
    pub(super) devices: Vec<String>,
    pub(super) registered: Vec<i64>,
}

/// Forgets devices, inside a transaction, and returns how many were there.
pub(super) async fn prune(session: &Session, prunes: &Prunes) -> Result<usize, Failure> {
    if prunes.inboxes.is_empty() {
        return Ok(0);
    }
    session.query(LOCK, &[&prunes.inboxes]).await?;
    let params: [super::session::Param<'_>; 3] =
        [&prunes.inboxes, &prunes.devices, &prunes.registered];
    let rows = session.query(PRUNE, &params).await?;
    let bereft: Vec<i64> =
        rows.iter().map(|row| Columns::of(row).get()).collect::<Result<_, _>>()?;
    if !bereft.is_empty() {
        session.execute(RECOUNT, &[&bereft]).await?;
    }
    Ok(bereft.len())
}

struct PutDevice {
    device: Device,
    inbox: i64,
}

impl Command for PutDevice {
    type Output = ();
    const OP: &'static str = "put_device";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const HOLDER: &str = "SELECT inbox FROM device WHERE token_key = $1";
        const TAKE: &str = "DELETE FROM device WHERE token_key = $1 \
             AND NOT (inbox = $2 AND device_id = $3) AND inbox = ANY($4::bigint[])";
        const PUT: &str = "INSERT INTO device (inbox, device_id, platform, app, token, token_key, \
             registered_ms, environment, p256dh, auth, locale, time_zone, app_version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (inbox, device_id) DO UPDATE SET platform = excluded.platform, \
             app = excluded.app, token = excluded.token, token_key = excluded.token_key, \
             registered_ms = excluded.registered_ms, environment = excluded.environment, \
             p256dh = excluded.p256dh, auth = excluded.auth, locale = excluded.locale, \
             time_zone = excluded.time_zone, app_version = excluded.app_version";
        let (device, inbox) = (&self.device, self.inbox);
        let key = token_key(device);
        let holder = session.query_opt(HOLDER, &[&key]).await?;
        let holder: Option<i64> = holder.map(|row| Columns::of(&row).get()).transpose()?;
        // If another takes the token meanwhile, it is in the way of ours, and all begins anew: it is
        // not taken from an inbox that is not locked, whose devices would not be counted.
        let inboxes: Vec<i64> = holder.into_iter().chain([inbox]).collect();
        session.ready(&[LOCK, TAKE, PUT, RECOUNT]).await?;
        let id = device.id.as_str();
        let details = &device.details;
        try_join!(
            biased;
            session.begin(),
            async { session.query(LOCK, &[&inboxes]).await },
            async { session.execute(TAKE, &[&key, &inbox, &id, &inboxes]).await },
            async { session.execute(
                PUT,
                &[
                    &inbox,
                    &id,
                    &device.platform.as_str(),
                    &text::to_sql(&device.app),
                    &device.token.expose(),
                    &key,
                    &device.registered_at.as_millis(),
                    &device.environment.as_str(),
                    &device.web_push.as_ref().map(|keys| &keys.p256dh[..]),
                    &device.web_push.as_ref().map(|keys| &keys.auth[..]),
                    &details.locale.as_deref().map(text::to_sql),
                    &details.time_zone.as_deref().map(text::to_sql),
                    &details.app_version.as_deref().map(text::to_sql),
                ],
            ).await },
            async { session.execute(RECOUNT, &[&inboxes]).await },
            session.commit(),
        )?;
        Ok(())
    }
}

struct RemoveDevice<'a> {
    user: &'a UserId,
    device: &'a DeviceId,
}

impl Command for RemoveDevice<'_> {
    type Output = bool;
    const OP: &'static str = "remove_device";

    async fn run(&self, session: &Session) -> Result<bool, Failure> {
        const OWN: &str = concat!(
            "SELECT inbox FROM inbox WHERE inbox = ",
            inbox_of_user!(),
            " FOR NO KEY UPDATE"
        );
        const REMOVE: &str = "DELETE FROM device WHERE inbox = $1 AND device_id = $2";
        session.ready(&[OWN, REMOVE, RECOUNT]).await?;
        let (user, id) = (self.user.as_str(), self.device.as_str());
        let locked: [super::session::Param<'_>; 1] = [&user];
        let ((), row) = try_join!(biased; session.begin(), session.query_opt(OWN, &locked))?;
        let Some(row) = row else {
            session.commit().await?;
            return Ok(false);
        };
        let inbox: i64 = Columns::of(&row).get()?;
        let (removed, _, ()) = try_join!(
            biased;
            async { session.execute(REMOVE, &[&inbox, &id]).await },
            async { session.execute(RECOUNT, &[&vec![inbox]]).await },
            session.commit(),
        )?;
        Ok(removed > 0)
    }
}

struct CountOtherDevices<'a> {
    user: &'a UserId,
    device: &'a DeviceId,
}

impl Command for CountOtherDevices<'_> {
    type Output = u64;
    const OP: &'static str = "count_other_devices";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        const COUNT: &str = concat!(
            "SELECT i.devices - (SELECT count(*) FROM device d WHERE d.inbox = i.inbox \
             AND d.device_id = $2) FROM inbox i WHERE i.inbox = ",
            inbox_of_user!()
        );
        let params: [super::session::Param<'_>; 2] = [&self.user.as_str(), &self.device.as_str()];
        let row = session.query_opt(COUNT, &params).await?;
        row.map_or(Ok(0), |row| Columns::of(&row).count())
    }
}

struct ListDevices<'a>(&'a UserId);

impl Command for ListDevices<'_> {
    type Output = Vec<Device>;
    const OP: &'static str = "list_devices";

    async fn run(&self, session: &Session) -> Result<Vec<Device>, Failure> {
        let rows = session.query(LIST, &[&self.0.as_str()]).await?;
        rows.iter().map(read).collect()
    }
}

#[async_trait]
impl DeviceStore for PostgresStore {
    async fn put_device(&self, device: Device) -> Result<(), StoreError> {
        let inbox = self.inboxes.of_user(&self.writers, &device.user).await?;
        self.writers.run(PutDevice { device, inbox }).await
    }

    async fn list_devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError> {
        self.readers.run(ListDevices(user)).await
    }

    async fn count_other_devices(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<u64, StoreError> {
        self.readers.run(CountOtherDevices { user, device }).await
    }

    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
        self.writers.run(RemoveDevice { user, device }).await
    }
}
