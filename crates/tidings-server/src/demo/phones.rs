//! The phones and browsers of the demo: simulators of the push services, and a device for everyone who
//! is not online.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use tidings_client::Api;
use tidings_core::{
    device::Platform,
    ids::{DeviceId, UserId},
};
use tidings_simulators::{
    AcceptedPush, ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, FcmCredentials,
    FcmSimulator, FcmSimulatorConfig, VapidCredentials, WebPushSimulator, WebPushSimulatorConfig,
    fcm::FcmQuota, webpush::SubscribeOptions,
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::JoinSet,
};

use super::{
    display::Display,
    graph::DemoGraph,
    sessions::event_number,
    tally::{Screen, Tally},
};

const APP: &str = "app.tidings.demo";
const TEAM: &str = "DEMOTEAM01";
const KEY: &str = "DEMOKEY001";
const PROJECT: &str = "tidings-demo";
/// Devices that are registered at a time.
const REGISTERING: usize = 128;

/// The simulators, and the tasks that watch what they accept.
pub(super) struct Phones {
    apns: ApnsSimulator,
    fcm: FcmSimulator,
    webpush: WebPushSimulator,
    /// The key that browsers let in.
    application_server_key: String,
    quotas: Quotas,
    files: Files,
    watchers: JoinSet<()>,
}

/// What the node needs to be let in by the simulators.
struct Files {
    apns_key: PathBuf,
    apns_ca: PathBuf,
    fcm_account: PathBuf,
    fcm_ca: PathBuf,
    vapid_key: PathBuf,
    webpush_ca: PathBuf,
}

/// What FCM takes. Google's quotas are those of one app: 600,000 messages a minute, 240 to one device. A
/// stream that is as fast as it can be is far above them, and would end in minutes of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotas {
    AsGoogle,
    Lifted,
}

impl Phones {
    /// Starts the simulators and writes the node's credentials into `dir`.
    pub(super) async fn start(
        dir: &Path,
        quotas: Quotas,
        tally: Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let apns_credentials = ApnsCredentials::generate(TEAM, KEY)?;
        let fcm_credentials = FcmCredentials::generate(PROJECT)?;
        let apns = ApnsSimulator::start(ApnsSimulatorConfig::new(&apns_credentials, APP))
            .await
            .context("the APNs simulator cannot start")?;
        let mut fcm = FcmSimulatorConfig::new(&fcm_credentials);
        if quotas == Quotas::Lifted {
            fcm.quota = FcmQuota::UNLIMITED;
        }
        let fcm = FcmSimulator::start(fcm).await.context("the FCM simulator cannot start")?;
        let vapid = VapidCredentials::generate()?;
        let webpush = WebPushSimulator::start(WebPushSimulatorConfig::new())
            .await
            .context("the Web Push simulator cannot start")?;
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("{name} cannot be written"))?;
            anyhow::Ok(path)
        };
        let account = fcm_credentials.service_account_json(&fcm.token_uri());
        let files = Files {
            apns_key: file("apns.p8", &apns_credentials.p8_pem)?,
            apns_ca: file("apns-ca.pem", apns.ca_pem())?,
            fcm_account: file("fcm.json", &account)?,
            fcm_ca: file("fcm-ca.pem", fcm.ca_pem())?,
            vapid_key: file("vapid.pem", &vapid.private_key_pem)?,
            webpush_ca: file("webpush-ca.pem", webpush.ca_pem())?,
        };
        let mut watchers = JoinSet::new();
        watchers.spawn(watch(Screen::Apns, apns.ledger().subscribe(), Arc::clone(&tally)));
        watchers.spawn(watch(Screen::Fcm, fcm.ledger().subscribe(), Arc::clone(&tally)));
        watchers.spawn(watch(Screen::WebPush, webpush.ledger().subscribe(), tally));
        let application_server_key = vapid.public_key;
        Ok(Self { apns, fcm, webpush, application_server_key, quotas, files, watchers })
    }

    /// The node's configuration for push.
    pub(super) fn config(&self) -> String {
        let Files { apns_key, apns_ca, fcm_account, fcm_ca, vapid_key, webpush_ca } = &self.files;
        let shaping = match self.quotas {
            Quotas::AsGoogle => "",
            Quotas::Lifted => "per_minute = 600000000\nramp_ms = 0\n",
        };
        format!(
            "[push.apns]\nkey_file = {apns_key:?}\nkey_id = \"{KEY}\"\nteam_id = \"{TEAM}\"\n\
             endpoint = \"{}\"\nca_file = {apns_ca:?}\n\n\
             [push.fcm]\nservice_account_file = {fcm_account:?}\nendpoint = \"{}\"\n\
             ca_file = {fcm_ca:?}\n{shaping}\n\
             [push.webpush]\nkey_file = {vapid_key:?}\nsubject = \"mailto:demo@example.com\"\n\
             allow_loopback = true\nca_file = {webpush_ca:?}\n",
            self.apns.url(),
            self.fcm.url(),
        )
    }

    /// Registers a device for everyone who is not online.
    pub(super) async fn register(
        &self,
        api: &Api,
        graph: &DemoGraph,
        online: &[bool],
        display: &Display,
    ) -> anyhow::Result<()> {
        let away: Vec<_> = (0u32..).zip(online).filter(|(_, on)| !**on).map(|(n, _)| n).collect();
        let bar = display.bar("registering devices", away.len() as u64);
        let results: Vec<_> = stream::iter(&away)
            .map(|user| async {
                let id = graph.user(*user);
                self.register_device(api, *user, id)
                    .await
                    .with_context(|| format!("the device of {id} cannot be registered"))?;
                bar.inc(1);
                anyhow::Ok(())
            })
            .buffer_unordered(REGISTERING)
            .collect()
            .await;
        bar.finish();
        results.into_iter().collect()
    }

    async fn register_device(&self, api: &Api, user: u32, id: &UserId) -> anyhow::Result<()> {
        match device_of(user) {
            DemoDevice::Phone(platform, token) => {
                let device = DeviceId::new("phone")?;
                api.put_device(id, &device, platform, &token, APP).await?;
            }
            DemoDevice::Browser(name) => {
                let options = SubscribeOptions {
                    application_server_key: Some(self.application_server_key.clone()),
                    name: Some(name),
                };
                let subscription = self.webpush.control().subscribe(&options)?.to_json();
                let device = DeviceId::new("browser")?;
                api.put_browser(id, &device, &subscription, APP).await?;
            }
        }
        Ok(())
    }

    /// Stops the simulators.
    pub(super) async fn stop(mut self) {
        self.apns.stop().await;
        self.fcm.stop().await;
        self.webpush.stop().await;
        self.watchers.shutdown().await;
    }
}

/// What a user carries.
enum DemoDevice {
    Phone(Platform, String),
    /// The name of its subscription.
    Browser(String),
}

/// One of ten has a browser, the others an iPhone and an Android phone in turn. Tokens and endpoints hold
/// the user's number, so that a push tells where it arrived.
fn device_of(user: u32) -> DemoDevice {
    if user % 10 == 9 {
        DemoDevice::Browser(format!("demo-browser-{user}"))
    } else if user.is_multiple_of(2) {
        DemoDevice::Phone(Platform::Apns, format!("{user:064x}"))
    } else {
        DemoDevice::Phone(Platform::Fcm, format!("demo-phone-{user}"))
    }
}

/// The owner of the device with this token or endpoint.
fn owner(token: &str) -> Option<u32> {
    let name = token.rsplit_once('/').map_or(token, |(_, name)| name);
    match name.strip_prefix("demo-phone-").or_else(|| name.strip_prefix("demo-browser-")) {
        Some(number) => number.parse().ok(),
        None => u32::from_str_radix(name, 16).ok(),
    }
}

async fn watch(screen: Screen, mut pushes: Receiver<Arc<AcceptedPush>>, tally: Arc<Tally>) {
    loop {
        match pushes.recv().await {
            Ok(push) => match (event_of(&push), owner(&push.token)) {
                (Some(event), Some(user)) => tally.arrived(screen, event, user, push.received_at),
                _ => tally.unreadable(),
            },
            // What was missed stays open in the tally and is reported as a hole.
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "the demo fell behind its own simulators");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// The number in the story of the event that a push tells of.
fn event_of(push: &AcceptedPush) -> Option<u64> {
    let payload: serde_json::Value = serde_json::from_slice(&push.payload).ok()?;
    let ours = payload.get("tidings").or_else(|| payload.pointer("/message/data"));
    // A browser is told everything at the top.
    let ours = ours.unwrap_or(&payload);
    event_number(ours.get("event_id")?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_knows_its_owner() {
        for user in [0, 1, 9, 7_114, 75_878, 75_879] {
            let token = match device_of(user) {
                DemoDevice::Phone(_, token) => token,
                DemoDevice::Browser(name) => format!("https://127.0.0.1:1/push/{name}"),
            };
            assert_eq!(owner(&token), Some(user));
        }
    }
}
