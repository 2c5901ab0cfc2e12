//! `WebPushClient` against the simulator: a browser, and its push service.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::Value;
use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::{Push, PushAnswer, Verdict},
    device::{Platform, PushToken, WebPushKeys},
    ports::PushProvider,
};
use tidings_delivery::push::{VapidKey, WebPushClient, WebPushConfig};
use tidings_simulators::{
    WebPushSimulator, WebPushSimulatorConfig,
    webpush::{SubscribeOptions, WebPushDeviceState, WebPushFailure, WebPushSubscription},
};

use crate::harness::{manual_clock, push_with, simulator_clock};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Browser {
    pub(crate) simulator: WebPushSimulator,
    pub(crate) config: WebPushConfig,
    pub(crate) clock: Arc<ManualClock>,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let clock = manual_clock();
        let mut config = WebPushSimulatorConfig::new();
        config.clock = simulator_clock(Arc::<ManualClock>::clone(&clock));
        let simulator = WebPushSimulator::start(config).await.unwrap();
        let key = VapidKey::generate().unwrap();
        let mut config = WebPushConfig::new(key, "mailto:ops@example.com");
        config.ca_pem = Some(simulator.ca_pem().to_owned());
        config.allow_loopback = true;
        Self { simulator, config, clock }
    }

    pub(crate) fn client(&self) -> WebPushClient {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        WebPushClient::new(self.config.clone(), clock).unwrap()
    }

    pub(crate) fn subscribe(&self, key: &VapidKey) -> Arc<WebPushSubscription> {
        let application_server_key = Some(key.public_key_base64url());
        let options = SubscribeOptions { application_server_key, ..SubscribeOptions::default() };
        self.simulator.control().subscribe(&options).unwrap()
    }

    fn push(&self, number: u64, fields: Value) -> Push {
        to(&self.subscribe(&self.config.vapid_key), number, fields)
    }
}

/// A push to the browser with this subscription.
pub(crate) fn to(subscription: &WebPushSubscription, number: u64, fields: Value) -> Push {
    let mut push = push_with(Platform::WebPush, number, fields);
    let bytes = |text: String| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    push.device.token = PushToken::new(subscription.endpoint().to_owned()).unwrap();
    push.device.web_push = Some(WebPushKeys {
        p256dh: bytes(subscription.p256dh()).try_into().unwrap(),
        auth: bytes(subscription.auth()).try_into().unwrap(),
    });
    push
}

fn says(answer: &PushAnswer) -> (Verdict, Option<&str>) {
    (answer.verdict, answer.reason.as_deref())
}

#[tokio::test]
async fn a_push_arrives_and_only_the_browser_can_read_it() {
    let browser = Browser::start().await;
    let push = browser.push(7, serde_json::json!({"body": "Sunset", "group": "like:p_9"}));
    let answer = browser.client().send(&push).await;
    assert_eq!(says(&answer), (Verdict::Delivered, None));
    assert_eq!(answer.provider_id, None, "its url would let anyone take the push back");
    let arrived = &browser.simulator.ledger().recent()[0];
    assert_eq!(arrived.identity, Some(push.identity.to_string()));
    assert_eq!(arrived.collapse_id.as_ref().map(String::len), Some(32));
    let text: Value = serde_json::from_slice(&arrived.payload).unwrap();
    assert_eq!((&text["event_id"], &text["body"]), (&"evt_7".into(), &"Sunset".into()));
}

#[tokio::test]
async fn the_longest_push_is_taken() {
    let browser = Browser::start().await;
    let push = browser.push(1, serde_json::json!({"body": "b".repeat(4_000)}));
    let answer = browser.client().send(&push).await;
    assert_eq!(says(&answer), (Verdict::Delivered, Some("truncated_body")));
    let arrived = &browser.simulator.ledger().recent()[0];
    assert!((3_987..=3_993).contains(&arrived.payload.len()), "{}", arrived.payload.len());
}

#[tokio::test]
async fn what_a_service_says_of_a_subscription_is_passed_on() {
    let browser = Browser::start().await;
    let client = browser.client();
    let push = browser.push(1, serde_json::json!({}));
    let gone = Verdict::PruneToken { dead_since: None };
    let after = Some(120 * SECOND);
    let table = [
        (WebPushDeviceState::Expired, gone),
        (WebPushDeviceState::Gone, gone),
        (WebPushDeviceState::TooLarge, Verdict::Reject),
        (WebPushDeviceState::TooMany { retry_after_secs: None }, Verdict::SlowDown { after: None }),
        (WebPushDeviceState::TooMany { retry_after_secs: Some(120) }, Verdict::SlowDown { after }),
    ];
    for (state, expected) in table {
        let endpoint = push.device.token.expose();
        browser.simulator.control().set_device(endpoint, state).unwrap();
        assert_eq!(client.send(&push).await.verdict, expected, "{state:?}");
    }
    let other = browser.push(2, serde_json::json!({}));
    assert_eq!(client.send(&other).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_services_own_failures_are_waited_out_as_long_as_it_says() {
    let browser = Browser::start().await;
    let client = browser.client();
    let push = browser.push(1, serde_json::json!({}));
    for (failure, after) in [
        (WebPushFailure::Internal, None),
        (WebPushFailure::Unavailable { retry_after_secs: None }, None),
        (WebPushFailure::Unavailable { retry_after_secs: Some(90) }, Some(90 * SECOND)),
    ] {
        browser.simulator.control().fail_next(1, failure);
        assert_eq!(client.send(&push).await.verdict, Verdict::Unavailable { after }, "{failure:?}");
    }
}

#[tokio::test]
async fn a_credential_serves_for_a_day_of_pushes_and_is_never_refused() {
    let browser = Browser::start().await;
    let client = browser.client();
    let push = browser.push(1, serde_json::json!({}));
    for _ in 0..30 {
        assert_eq!(client.send(&push).await.verdict, Verdict::Delivered);
        browser.clock.advance(3_600 * SECOND);
    }
    assert_eq!(browser.simulator.ledger().counts().rejected_total(), 0);
}

#[tokio::test]
async fn a_key_that_nobody_subscribed_to_calls_a_person_unless_others_did() {
    let browser = Browser::start().await;
    let client = browser.client();
    let other_key = VapidKey::generate().unwrap();
    let foreign = to(&browser.subscribe(&other_key), 1, serde_json::json!({}));
    let answer = client.send(&foreign).await;
    assert_eq!(says(&answer), (Verdict::CallAPerson, Some("vapid_refused (403)")));
    let ours = browser.push(2, serde_json::json!({}));
    assert_eq!(client.send(&ours).await.verdict, Verdict::Delivered);
    let answer = client.send(&foreign).await;
    assert_eq!(says(&answer), (Verdict::Reject, Some("subscribed_with_another_key (403)")));
}

#[tokio::test]
async fn many_pushes_share_few_connections() {
    let browser = Browser::start().await;
    let client = browser.client();
    let pushes: Vec<_> =
        (0..300).map(|number| browser.push(number, serde_json::json!({}))).collect();
    for answer in join_all(pushes.iter().map(|push| client.send(push))).await {
        assert_eq!(says(&answer), (Verdict::Delivered, None));
    }
    let counts = browser.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (300, 300, 0));
}

#[tokio::test]
async fn a_push_that_may_have_been_taken_is_not_repeated_by_the_client() {
    let browser = Browser::start().await;
    let client = browser.client();
    let push = browser.push(1, serde_json::json!({}));
    browser.simulator.control().connections().kill_before_answer(1);
    let answer = client.send(&push).await;
    let down = Verdict::Unavailable { after: None };
    assert_eq!(says(&answer), (down, Some("connection_lost")));
    assert_eq!(client.send(&push).await.verdict, Verdict::Delivered);
    let counts = browser.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities), (2, 1));
}

#[tokio::test]
async fn a_push_that_is_not_answered_in_time_is_given_back() {
    let mut browser = Browser::start().await;
    browser.config.request_timeout_ms = 500;
    browser.simulator.control().connections().set_latency(60 * SECOND);
    let answer = browser.client().send(&browser.push(1, serde_json::json!({}))).await;
    let down = Verdict::Unavailable { after: None };
    assert_eq!(says(&answer), (down, Some("not_answered_in_time")));
}

#[tokio::test]
async fn this_machine_is_not_gone_to_unless_a_test_says_so() {
    let mut browser = Browser::start().await;
    browser.config.allow_loopback = false;
    let client = browser.client();
    let answer = client.send(&browser.push(1, serde_json::json!({}))).await;
    assert_eq!(says(&answer), (Verdict::Reject, Some("endpoint_not_public")));
    let counts = browser.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.rejected_total()), (0, 0));
}

#[tokio::test]
async fn a_subscription_without_usable_keys_is_not_sent_to() {
    let browser = Browser::start().await;
    let client = browser.client();
    let mut push = browser.push(1, serde_json::json!({}));
    if let Some(keys) = &mut push.device.web_push {
        keys.p256dh[10] ^= 1;
    }
    let answer = client.send(&push).await;
    assert_eq!(says(&answer), (Verdict::Reject, Some("unusable_subscription_keys")));
    push.device.web_push = None;
    let answer = client.send(&push).await;
    assert_eq!(says(&answer), (Verdict::Reject, Some("no_subscription_keys")));
}
