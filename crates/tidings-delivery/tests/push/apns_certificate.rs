//! `ApnsClient` with a certificate instead of a provider token.

use std::sync::Arc;

use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::{PushStyle, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tidings_delivery::push::{
    ApnsAuth, ApnsCertificate, ApnsClient, ApnsConfig, ApnsPushType, PushSetupError, SecretText,
};
use tidings_simulators::{ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, SimulatorTls, apns};

use crate::harness::{APP, KEY, TEAM, manual_clock, push, simulator_clock};

/// 2030-01-01T00:00:00Z.
const END_SECS: u64 = 1_893_456_000;

struct World {
    simulator: ApnsSimulator,
    clock: Arc<ManualClock>,
    issued: apns::ApnsCertificate,
}

impl World {
    async fn start(topic: &str) -> Self {
        let clock = manual_clock();
        let tls = SimulatorTls::generate().unwrap();
        let credentials = ApnsCredentials::generate(TEAM, KEY).unwrap();
        let mut config = ApnsSimulatorConfig::new(&credentials, APP);
        config.clock = simulator_clock(Arc::<ManualClock>::clone(&clock));
        config.tls = Some(tls.clone());
        let simulator = ApnsSimulator::start(config).await.unwrap();
        let mut request = apns::ApnsCertificateRequest::new(topic);
        request.not_after_secs = END_SECS;
        let issued = apns::ApnsCertificate::issue(&tls, &request).unwrap();
        Self { simulator, clock, issued }
    }

    fn client(&self) -> Result<ApnsClient, PushSetupError> {
        let key = SecretText::new(self.issued.private_key_pem.clone());
        let certificate = ApnsCertificate::from_pem(&self.issued.certificate_pem, &key)?;
        let mut config = ApnsConfig::new(ApnsAuth::Certificate(certificate));
        config.endpoint = Some(self.simulator.url());
        config.ca_pem = Some(self.simulator.ca_pem().to_owned());
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        ApnsClient::new(config, clock)
    }

    fn move_to(&self, secs: u64) {
        let now = self.clock.now().as_secs();
        self.clock.advance(std::time::Duration::from_secs(secs - now));
    }
}

#[tokio::test]
async fn a_certificate_is_let_in_without_a_token() {
    let world = World::start(APP).await;
    let client = world.client().unwrap();
    let mut push = push(Platform::Apns, 1);
    assert_eq!(client.send(&push).await.verdict, Verdict::Delivered);
    push.style = PushStyle::Silent;
    let answer = client.send(&push).await;
    assert_eq!(answer.verdict, Verdict::Delivered, "{:?}", answer.reason);
    let arrived = world.simulator.ledger().recent();
    let payload: serde_json::Value = serde_json::from_slice(&arrived[1].payload).unwrap();
    assert_eq!(payload["aps"], serde_json::json!({"content-available": 1}));
}

#[tokio::test]
async fn a_certificate_of_another_app_calls_nobody_and_delivers_nothing() {
    let world = World::start("com.example.other").await;
    let answer = world.client().unwrap().send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::Reject);
    assert_eq!(answer.reason.as_deref(), Some("TopicDisallowed"));
    assert_eq!(world.simulator.ledger().counts().accepted, 0);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_told_at_the_start() {
    let world = World::start(APP).await;
    world.move_to(END_SECS + 1);
    let error = world.client().err().unwrap();
    assert!(matches!(error, PushSetupError::ClientCertificateExpired { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_that_expires_while_it_is_used_calls_a_person() {
    let world = World::start(APP).await;
    let client = world.client().unwrap();
    world.move_to(END_SECS + 1);
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("certificate_expired"));
}

#[tokio::test]
async fn what_takes_a_provider_token_is_not_tried_with_a_certificate() {
    let world = World::start(APP).await;
    let client = world.client().unwrap();
    let answer = client.send_as(&push(Platform::Apns, 1), ApnsPushType::Location).await;
    assert_eq!(answer.verdict, Verdict::Reject);
    assert_eq!(answer.reason.as_deref(), Some("push_type_needs_provider_token"));
}
