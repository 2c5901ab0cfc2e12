//! Devices: what is asked of them when they register, and what is shown.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{Node, Site};

/// The base point of P-256 (SEC 2, section 2.4.2): a public key as good as any.
const POINT: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
     4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

fn point() -> Vec<u8> {
    let digits = POINT.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn browser() -> Value {
    json!({
        "platform": "webpush", "app": "web",
        "subscription": {
            "endpoint": "https://push.example/secret-endpoint?a=b", "expirationTime": null,
            "keys": {
                "p256dh": URL_SAFE_NO_PAD.encode(point()),
                "auth": URL_SAFE_NO_PAD.encode("sixteen secrets!"),
            },
        },
    })
}

fn phone() -> Value {
    json!({"platform": "apns", "app": "com.example.app", "token": "AB".repeat(32)})
}

/// `device` with the value at `path` replaced; null takes the member away.
fn with(device: &Value, path: &str, value: Value) -> Value {
    let mut device = device.clone();
    let (parent, member) = path.rsplit_once('/').unwrap();
    let parent = device.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(member);
    } else {
        parent.insert(member.to_owned(), value);
    }
    device
}

async fn refused(node: &Node, device: &Value) -> String {
    let (kind, field) = node.put("/v1/users/ann/devices/d", device).await.problem(400);
    assert_eq!(kind, "invalid-input", "{device}");
    field
}

#[tokio::test]
async fn a_device_shows_everything_but_what_it_is_reached_with() {
    let site = Site::new("");
    let node = site.start();
    let mut phone = phone();
    phone["environment"] = json!("sandbox");
    phone["locale"] = json!("de-AT");
    phone["time_zone"] = json!("Europe/Vienna");
    phone["app_version"] = json!("4.2.0");
    node.put("/v1/users/ann/devices/phone", &phone).await.expect(200);
    node.put("/v1/users/ann/devices/web", &browser()).await.expect(200);
    let answer = node.get("/v1/users/ann/devices").await;
    let text = answer.text.to_ascii_lowercase();
    for secret in ["abab", "secret-endpoint", "c2l4dgvlbi", "bgsx0f"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let mut listed = answer.expect(200);
    for device in listed.as_array_mut().unwrap() {
        assert!(device.as_object_mut().unwrap().remove("registered_at").unwrap().is_string());
    }
    let expected = json!([
        {"id": "phone", "platform": "apns", "app": "com.example.app", "environment": "sandbox",
         "locale": "de-AT", "time_zone": "Europe/Vienna", "app_version": "4.2.0"},
        {"id": "web", "platform": "webpush", "app": "web", "environment": "production"},
    ]);
    assert_eq!(listed, expected);
    // A refresh replaces all of it.
    let fresh = json!({"platform": "fcm", "app": "web", "token": "other"});
    node.put("/v1/users/ann/devices/phone", &fresh).await.expect(200);
    let phone = &node.get("/v1/users/ann/devices").await.expect(200)[0];
    assert_eq!((&phone["environment"], phone.get("locale")), (&json!("production"), None));
    // Neither do logs.
    let log = site.log().to_ascii_lowercase();
    assert!(!log.contains("secret-endpoint") && !log.contains("abab"), "{log}");
}

#[tokio::test]
async fn an_apns_token_is_hexadecimal_and_one_however_it_is_written() {
    let site = Site::new("");
    let node = site.start();
    for token in ["", "ab", &"ab".repeat(31), &"ab".repeat(101), &"xy".repeat(32)] {
        assert_eq!(
            refused(&node, &with(&phone(), "/token", json!(token))).await,
            "token",
            "{token}"
        );
    }
    node.put("/v1/users/ann/devices/phone", &phone()).await.expect(200);
    let lower = with(&phone(), "/token", json!("ab".repeat(32)));
    node.put("/v1/users/ben/devices/phone", &lower).await.expect(200);
    assert_eq!(node.get("/v1/users/ann/devices").await.expect(200), json!([]), "it moved");
    let longest = with(&phone(), "/token", json!("ab".repeat(100)));
    node.put("/v1/users/ann/devices/phone", &longest).await.expect(200);
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_named() {
    let site = Site::new("");
    let node = site.start();
    let fcm = json!({"platform": "fcm", "app": "a", "token": "t"});
    for (device, field) in [
        (with(&fcm, "/environment", json!("sandbox")), "environment"),
        (with(&fcm, "/environment", json!("staging")), "environment"),
        (with(&fcm, "/locale", json!("de_AT")), "locale"),
        (with(&fcm, "/time_zone", json!("Mars/Olympus")), "time_zone"),
        (with(&fcm, "/app_version", json!("")), "app_version"),
        (with(&fcm, "/app", json!("")), "app"),
        (with(&fcm, "/token", Value::Null), "token"),
        (with(&fcm, "/token", json!("t".repeat(4_097))), "token"),
        (with(&fcm, "/subscription", browser()["subscription"].clone()), "subscription"),
        (with(&browser(), "/token", json!("t")), "token"),
        (with(&browser(), "/subscription", Value::Null), "subscription"),
        (with(&fcm, "/colour", json!("red")), "colour"),
    ] {
        assert_eq!(refused(&node, &device).await, field, "{device}");
    }
}

#[tokio::test]
async fn an_endpoint_is_a_web_address_by_name_with_nothing_hidden_in_it() {
    let site = Site::new("");
    let node = site.start();
    for endpoint in [
        "",
        "push.example/x",
        "http://push.example/x",
        "ftp://push.example/x",
        "https://user@push.example/x",
        "https://:secret@push.example/x",
        "https://push.example/x#part",
        "https://127.0.0.1/x",
        // The same address in the ways that readers of URLs also take.
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://[::1]/x",
        "https://push.exa\nmple/x",
        "https://püsh.example/x",
        "https://",
        &format!("https://push.example/{}", "x".repeat(4_096)),
    ] {
        let device = with(&browser(), "/subscription/endpoint", json!(endpoint));
        assert_eq!(refused(&node, &device).await, "subscription.endpoint", "{endpoint}");
    }
    for endpoint in ["https://push.example:8443/x", "https://localhost/x"] {
        let device = with(&browser(), "/subscription/endpoint", json!(endpoint));
        node.put("/v1/users/ann/devices/web", &device).await.expect(200);
    }
}

#[tokio::test]
async fn the_keys_of_a_subscription_are_a_point_on_the_curve_and_a_secret_of_16_bytes() {
    let site = Site::new("");
    let node = site.start();
    let mut beside = point();
    beside[64] ^= 1;
    let mut hybrid = point();
    hybrid[0] = 7;
    let mut compressed = point()[..33].to_vec();
    compressed[0] = 3;
    let infinity = vec![0; 65];
    for key in [beside, hybrid, compressed, infinity, point()[..64].to_vec(), vec![]] {
        let encoded = URL_SAFE_NO_PAD.encode(key);
        let device = with(&browser(), "/subscription/keys/p256dh", json!(encoded));
        assert_eq!(refused(&node, &device).await, "subscription.keys.p256dh", "{encoded}");
    }
    for (path, field) in [
        ("/subscription/keys/p256dh", "subscription.keys.p256dh"),
        ("/subscription/keys/auth", "subscription.keys.auth"),
    ] {
        let device = with(&browser(), path, json!("no base64!"));
        assert_eq!(refused(&node, &device).await, field);
        let missing = refused(&node, &with(&browser(), path, Value::Null)).await;
        assert_eq!(missing, "subscription.keys");
    }
    for secret in ["fifteen secrets", "seventeen secrets"] {
        let encoded = json!(URL_SAFE_NO_PAD.encode(secret));
        let device = with(&browser(), "/subscription/keys/auth", encoded);
        assert_eq!(refused(&node, &device).await, "subscription.keys.auth", "{secret}");
    }
    // Padding, and members that a browser may add, do no harm.
    let padded = json!(format!("{}==", URL_SAFE_NO_PAD.encode("sixteen secrets!")));
    let device = with(&browser(), "/subscription/keys/auth", padded);
    let device = with(&device, "/subscription/expirationTime", json!(1_700_000_000_000_u64));
    let device = with(&device, "/subscription/added", json!(true));
    node.put("/v1/users/ann/devices/web", &device).await.expect(200);
}

#[tokio::test]
async fn a_user_has_so_many_devices_and_may_always_refresh_them() {
    let site = Site::new("[push]\ndevices_per_user_max = 2");
    let node = site.start();
    let device = |token: &str| json!({"platform": "fcm", "app": "a", "token": token});
    let put = async |path: &str, token: &str| node.put(path, &device(token)).await;
    put("/v1/users/ann/devices/a", "t1").await.expect(200);
    put("/v1/users/ann/devices/b", "t2").await.expect(200);
    let (kind, _) = put("/v1/users/ann/devices/c", "t3").await.problem(409);
    assert_eq!(kind, "too-many-devices");
    put("/v1/users/ann/devices/b", "t4").await.expect(200);
    put("/v1/users/ben/devices/c", "t3").await.expect(200);
    node.delete("/v1/users/ann/devices/a").await.expect(204);
    put("/v1/users/ann/devices/c", "t5").await.expect(200);
}
