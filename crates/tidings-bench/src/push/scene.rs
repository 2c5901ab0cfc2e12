//! A node with both push services, users with a device each, and events for them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::{Connection, OpenFlags};
use tidings_core::ids::{DeviceId, UserId};
use tokio::time::{Instant, sleep};

use super::{
    helper::PushService,
    rate::LATENCY_MS,
    simulator::{Order, Service, Settings, Status},
    story::{APP, token},
};
use crate::{
    ingest::{Bench, Node},
    realtime::{Intake, Schedule, event, tidings_took, user_name},
};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long after a run pushes may still come.
const LATE: Duration = Duration::from_millis(500);
/// Devices that are registered at a time.
const REGISTERING: usize = 64;

/// Both push services, and who has a device of which.
pub(super) struct Scene {
    pub(super) apns: PushService,
    pub(super) fcm: PushService,
    pub(super) users: u64,
    pub(super) mix: Mix,
}

impl Scene {
    /// Starts the services for `events` events to `users` users. The devices of `gone` users are gone.
    pub(super) async fn set(
        bench: &Bench,
        users: u64,
        mix: Mix,
        events: u64,
        gone: &[u64],
    ) -> anyhow::Result<Self> {
        let start = async |service: Service| {
            let dir = bench.folder(service.as_str())?;
            let gone = gone.iter().copied();
            let gone = gone.filter(|user| mix.service_of(*user) == service).collect();
            let settings = Settings { service, latency_ms: LATENCY_MS, dir, events, gone };
            PushService::start(&settings).await
        };
        let (apns, fcm) = (start(Service::Apns).await?, start(Service::Fcm).await?);
        Ok(Self { apns, fcm, users, mix })
    }

    /// The options of a node that pushes to both, at its defaults otherwise.
    pub(super) fn node_toml(&self, more: &NodeOptions<'_>) -> String {
        let (apns, fcm) = (self.apns.access(), self.fcm.access());
        let NodeOptions { apns_url, outage_wait_ms, push } = more;
        let show = |path: &PathBuf| path.display().to_string();
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{push}\n\
             [push.apns]\nkey_file = \"{}\"\nkey_id = \"{}\"\nteam_id = \"{}\"\nendpoint = \"{}\"\n\
             ca_file = \"{}\"\noutage_wait_ms = {outage_wait_ms}\n\
             [push.fcm]\nservice_account_file = \"{}\"\nendpoint = \"{}\"\nca_file = \"{}\"\n\
             ramp_ms = 0\n",
            show(&apns.key_file),
            apns.key_id,
            apns.team_id,
            apns_url.unwrap_or(&apns.url),
            show(&apns.ca_file),
            show(&fcm.account_file),
            fcm.url,
            show(&fcm.ca_file),
        )
    }

    /// Registers everyone's device.
    pub(super) async fn register(&self, node: &Node) -> anyhow::Result<()> {
        let api = node.api()?;
        let device = DeviceId::new("phone")?;
        stream::iter(0..self.users)
            .map(|user| {
                let (api, device) = (&api, &device);
                async move {
                    let service = self.mix.service_of(user);
                    let token = token(service, user);
                    let id = UserId::new(&user_name(user))?;
                    api.put_device(&id, device, service.platform(), &token, APP)
                        .await
                        .context("a device cannot be registered")
                }
            })
            .buffer_unordered(REGISTERING)
            .try_collect::<()>()
            .await
            .with_context(|| node.log())
    }

    /// Where events go: one after the other, to one user after the other.
    pub(super) fn intake(&self, node: &Node) -> Intake {
        Intake {
            address: Arc::new(RwLock::new(node.address())),
            path: "/v1/events",
            headers: "",
            body,
            is_taken: tidings_took,
            users: self.users,
            persistent: false,
        }
    }

    /// What APNs and FCM have seen, at the end of a run, and how late `schedule`'s events were.
    pub(super) async fn count(&mut self, schedule: Schedule) -> anyhow::Result<[Status; 2]> {
        // What comes once more comes late.
        sleep(LATE).await;
        let order = Order::Latency { schedule, first: 0, end: schedule.events };
        let statuses = [self.apns.ask(&order).await?, self.fcm.ask(&order).await?];
        for status in &statuses {
            status.check()?;
        }
        Ok(statuses)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.apns.stop().await?;
        self.fcm.stop().await
    }
}

/// What a node is told besides who its push services are.
pub(super) struct NodeOptions<'a> {
    /// Another address for APNs.
    pub(super) apns_url: Option<&'a str>,
    pub(super) outage_wait_ms: u64,
    /// Lines of `[push]` and its breaker.
    pub(super) push: &'a str,
}

/// Who has a device of which service.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mix {
    /// All of APNs.
    Apns,
    /// Every so many-th user of FCM, the others of APNs.
    FcmEvery(u64),
}

impl Mix {
    pub(super) fn service_of(self, user: u64) -> Service {
        match self {
            Self::FcmEvery(nth) if user.is_multiple_of(nth) => Service::Fcm,
            Self::Apns | Self::FcmEvery(_) => Service::Apns,
        }
    }
}

/// Events of a range, as one request.
fn body(events: std::ops::Range<u64>, users: u64) -> String {
    let one = |number| event(number, std::iter::once(number % users));
    format!("[{}]", events.map(one).collect::<Vec<_>>().join(","))
}

/// The embedded store of a node, to look into.
pub(super) struct Store(Connection);

impl Store {
    /// Opens it while the node runs.
    pub(super) fn open(node: &Node) -> anyhow::Result<Self> {
        Self::open_file(&node.database_file())
    }

    /// Opens the file of a node that has stopped.
    pub(super) fn open_file(file: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self(connection))
    }

    pub(super) fn number(&self, query: &str) -> anyhow::Result<u64> {
        Ok(u64::try_from(self.0.query_row(query, [], |row| row.get::<_, i64>(0))?)?)
    }

    pub(super) fn execute(&self, statement: &str) -> anyhow::Result<()> {
        self.0.execute_batch(statement)?;
        Ok(())
    }

    /// Pushes that are not settled.
    pub(super) fn due(&self) -> anyhow::Result<u64> {
        self.number("SELECT count(*) FROM due_push")
    }

    /// Waits until everything is settled.
    pub(super) async fn until_settled(&self, patience: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let due = self.due()?;
            if due == 0 {
                return Ok(());
            }
            anyhow::ensure!(begun.elapsed() < patience, "{due} pushes are not settled");
            sleep(LOOK).await;
        }
    }
}
