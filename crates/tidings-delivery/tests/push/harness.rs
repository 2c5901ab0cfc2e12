//! Simulators with clients that are let in, and things to push.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidings_core::{
    clock::{Clock, ManualClock, Timestamp},
    delivery::{Push, PushStyle},
    device::{Device, Platform, PushToken},
    event::IncomingEvent,
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    notification::{Notification, NotificationState},
};
use tidings_delivery::push::{ApnsAuth, ApnsClient, ApnsConfig, FcmClient, FcmConfig, SecretText};
use tidings_simulators::{
    ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, FcmCredentials, FcmSimulator,
    FcmSimulatorConfig, ListenConfig,
};
use tokio::time::{Instant, sleep};

pub(crate) const APP: &str = "com.example.app";
pub(crate) const TEAM: &str = "TEAM000001";
pub(crate) const KEY: &str = "KEY0000001";

/// Waits until `holds`, and fails if that takes too long.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn start() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().unwrap()
}

pub(crate) fn manual_clock() -> Arc<ManualClock> {
    ManualClock::new(start())
}

pub(crate) fn simulator_clock(clock: Arc<dyn Clock>) -> tidings_simulators::Clock {
    Arc::new(move || clock.now().as_millis())
}

/// Signs as the team, with this key under this id.
pub(crate) fn signing_key(key_pem: &str, key_id: &str) -> ApnsAuth {
    let key_pem = SecretText::new(key_pem.to_owned());
    ApnsAuth::Token { key_pem, key_id: key_id.to_owned(), team_id: TEAM.to_owned() }
}

/// An APNs simulator, and what a client needs to be let in.
pub(crate) struct Apns {
    pub(crate) simulator: ApnsSimulator,
    pub(crate) config: ApnsConfig,
    pub(crate) credentials: ApnsCredentials,
}

impl Apns {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        Self::listen(clock, ListenConfig::default()).await
    }

    pub(crate) async fn listen(clock: Arc<dyn Clock>, listen: ListenConfig) -> Self {
        Self::start_with(clock, |config| config.listen = listen).await
    }

    pub(crate) async fn start_with(
        clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut ApnsSimulatorConfig),
    ) -> Self {
        let credentials = ApnsCredentials::generate(TEAM, KEY).unwrap();
        let mut config = ApnsSimulatorConfig::new(&credentials, APP);
        config.clock = simulator_clock(clock);
        change(&mut config);
        let simulator = ApnsSimulator::start(config).await.unwrap();
        let mut config = ApnsConfig::new(signing_key(&credentials.p8_pem, KEY));
        config.endpoint = Some(simulator.url());
        config.ca_pem = Some(simulator.ca_pem().to_owned());
        Self { simulator, config, credentials }
    }

    /// What a client needs that signs under a key id which APNs does not know.
    pub(crate) fn config_with_another_key_id(&self) -> ApnsConfig {
        let auth = signing_key(&self.credentials.p8_pem, "OTHERKEY01");
        ApnsConfig { auth, ..self.config.clone() }
    }

    pub(crate) fn client(&self, clock: Arc<dyn Clock>) -> ApnsClient {
        ApnsClient::new(self.config.clone(), clock).unwrap()
    }
}

/// An FCM simulator, and what a client needs to be let in.
pub(crate) struct Fcm {
    pub(crate) simulator: FcmSimulator,
    pub(crate) config: FcmConfig,
    pub(crate) credentials: FcmCredentials,
}

impl Fcm {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let credentials = FcmCredentials::generate("a-project").unwrap();
        let mut config = FcmSimulatorConfig::new(&credentials);
        config.clock = simulator_clock(clock);
        let simulator = FcmSimulator::start(config).await.unwrap();
        let account = credentials.service_account_json(&simulator.token_uri());
        let mut config = FcmConfig::new(SecretText::new(account));
        config.endpoint = simulator.url();
        config.ca_pem = Some(simulator.ca_pem().to_owned());
        Self { simulator, config, credentials }
    }

    pub(crate) fn client(&self, clock: Arc<dyn Clock>) -> FcmClient {
        FcmClient::new(self.config.clone(), clock).unwrap()
    }
}

/// The token of the device with this number.
pub(crate) fn token(platform: Platform, number: u64) -> String {
    match platform {
        Platform::Apns => format!("{number:064x}"),
        Platform::Fcm => format!("phone-{number}"),
        Platform::WebPush => format!("https://push.example.com/{number}"),
    }
}

/// A device of the user with this number, registered at `start`.
pub(crate) fn device(platform: Platform, number: u64) -> Device {
    Device::new(
        user(number),
        DeviceId::new(&format!("{}-{number}", platform.as_str())).unwrap(),
        platform,
        APP,
        PushToken::new(token(platform, number)).unwrap(),
        start(),
    )
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(&format!("u_{number}")).unwrap()
}

/// The first notification of the user with this number, with these fields of its event.
pub(crate) fn notification(number: u64, created_at: Timestamp, fields: Value) -> Notification {
    let mut event = json!({
        "id": format!("evt_{number}"), "source": "posts", "type": "like",
        "audience": {"users": [user(number).as_str()]}, "title": "Ann liked your photo",
    });
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    event.as_object_mut().unwrap().extend(fields);
    let event = IncomingEvent::from_json(event.to_string().as_bytes(), created_at).unwrap().event;
    Notification {
        id: NotificationId { inbox: InboxNumber(number), seq: Seq(1) },
        user: user(number),
        event,
        created_at,
        state: NotificationState::default(),
    }
}

/// A push to the device with this number.
pub(crate) fn push(platform: Platform, number: u64) -> Push {
    push_with(platform, number, json!({}))
}

/// A push to the device with this number, with these fields of its event.
pub(crate) fn push_with(platform: Platform, number: u64, fields: Value) -> Push {
    let device = device(platform, number);
    let notification = notification(number, start(), fields);
    let identity = notification.id.push_identity(&device.id);
    Push {
        identity,
        device,
        notification: Arc::new(notification),
        badge: 1,
        style: PushStyle::Alert,
    }
}
