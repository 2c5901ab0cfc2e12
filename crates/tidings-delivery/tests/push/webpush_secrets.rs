//! No secret of Web Push is shown: the key that signs, where a browser is reached, and its keys.

use std::{fmt::Write as _, time::Duration};

use serde_json::json;
use tidings_core::{device::PushToken, ports::PushProvider};
use tidings_delivery::push::{SecretText, VapidKey, WebPushClient, WebPushConfig};
use tidings_simulators::webpush::{WebPushDeviceState, WebPushFailure};

use crate::{
    secrets::{log_everything, logged},
    webpush::{Browser, to},
};

#[tokio::test]
async fn neither_keys_nor_endpoints_are_shown_anywhere() {
    log_everything();
    let mut browser = Browser::start().await;
    let private_key = browser.config.vapid_key.private_key_base64url().unwrap();
    let mut shown = format!("{:?}", browser.config);

    let subscription = browser.subscribe(&browser.config.vapid_key.clone());
    let mut push = to(&subscription, 1, json!({"body": "b".repeat(4_000)}));
    browser.config.request_timeout_ms = 2_000;
    let client = browser.client();
    let control = browser.simulator.control();
    write!(shown, "{push:?} {:?}", client.send(&push).await).unwrap();
    control.fail_next(1, WebPushFailure::Internal);
    write!(shown, "{:?}", client.send(&push).await).unwrap();
    control.connections().kill_before_answer(1);
    write!(shown, "{:?}", client.send(&push).await).unwrap();
    control.set_device(subscription.endpoint(), WebPushDeviceState::Gone).unwrap();
    write!(shown, "{:?}", client.send(&push).await).unwrap();
    control.connections().set_latency(Duration::from_secs(60));
    write!(shown, "{:?}", client.send(&push).await).unwrap();

    // Nobody is there, or it is not the internet, or no URL at all.
    let path = subscription.endpoint().rsplit_once('/').unwrap().1.to_owned();
    for endpoint in [
        format!("https://localhost:1/{path}"),
        format!("https://10.0.0.1/{path}"),
        format!("https://no-such-host.invalid/{path}"),
        format!("http://{path}"),
        path.clone(),
    ] {
        push.device.token = PushToken::new(endpoint).unwrap();
        write!(shown, "{push:?} {:?}", client.send(&push).await).unwrap();
    }

    let secret = || SecretText::new(private_key.clone());
    let cut = SecretText::new(private_key[1..].to_owned());
    let errors = [VapidKey::from_pem(&secret()), VapidKey::from_base64url(&cut)];
    for error in errors {
        let error = error.unwrap_err();
        write!(shown, "{error} {error:?}").unwrap();
    }
    let config = WebPushConfig::new(VapidKey::from_base64url(&secret()).unwrap(), &private_key);
    let error = WebPushClient::new(config, std::sync::Arc::new(tidings_core::clock::SystemClock));
    let error = error.err().unwrap();
    write!(shown, "{error} {error:?}").unwrap();

    let logged = logged();
    assert!(logged.contains("are too large and are cut"), "the log was collected: {logged}");
    assert!(logged.contains("a push has no answer"), "the log was collected: {logged}");
    let keys = [subscription.p256dh(), subscription.auth()];
    let bytes = push.device.web_push.as_ref().map(|keys| format!("{:?}", keys.auth)).unwrap();
    assert!(!logged.contains("bbbbbbbb"), "a text was logged");
    for secret in [private_key, path, bytes, "eyJ".to_owned()].into_iter().chain(keys) {
        assert!(!shown.contains(&secret), "shown: {secret}");
        assert!(!logged.contains(&secret), "logged: {secret}");
    }
}
