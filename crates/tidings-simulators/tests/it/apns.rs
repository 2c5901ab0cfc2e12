//! APNs: paths, headers and payloads, row by row of Apple's table.

use std::sync::Mutex;

use bytes::Bytes;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tidings_simulators::{ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig};

use crate::client::{Client, Reply};
use crate::clock::ManualClock;

pub(crate) const TOPIC: &str = "com.example.app";
pub(crate) const DEVICE: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
pub(crate) const PAYLOAD: &str = r#"{"aps":{"alert":"hello"}}"#;

/// A simulator, a clock, a connection and the key to be let in.
pub(crate) struct Fixture {
    pub(crate) simulator: ApnsSimulator,
    pub(crate) clock: ManualClock,
    pub(crate) credentials: ApnsCredentials,
    pub(crate) client: Client,
    signed: Mutex<Option<(i64, String)>>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ApnsSimulatorConfig)) -> Self {
        let clock = ManualClock::start();
        let credentials = ApnsCredentials::generate("TEAM000001", "KEY0000001").unwrap();
        let mut config = ApnsSimulatorConfig::new(&credentials, TOPIC);
        config.clock = clock.as_clock();
        change(&mut config);
        let simulator = ApnsSimulator::start(config).await.unwrap();
        let client = Client::connect(simulator.address(), simulator.ca_pem()).await;
        Self { simulator, clock, credentials, client, signed: Mutex::default() }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.simulator.address(), self.simulator.ca_pem()).await
    }

    /// A token issued now. Signatures are random, so the same second must give the same token:
    /// another text is another token to APNs.
    pub(crate) fn jwt(&self) -> String {
        let now = self.clock.now_secs();
        let mut signed = self.signed.lock().unwrap();
        if signed.as_ref().is_none_or(|(at, _)| *at != now) {
            *signed = Some((now, jwt(&self.credentials, now)));
        }
        signed.as_ref().unwrap().1.clone()
    }

    /// A correct push with these headers added; an empty value takes a header away.
    pub(crate) fn push(&self, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::post(format!("https://localhost/3/device/{DEVICE}"))
            .header("authorization", format!("bearer {}", self.jwt()))
            .header("apns-topic", TOPIC)
            .header("apns-push-type", "alert")
            .body(())
            .unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            if value.is_empty() {
                request.headers_mut().remove(name);
            } else {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        request
    }

    pub(crate) async fn send(&self, request: Request<()>) -> Reply {
        self.client.send(request, Bytes::from_static(PAYLOAD.as_bytes())).await.unwrap()
    }
}

pub(crate) fn jwt(credentials: &ApnsCredentials, iat: i64) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.typ = None;
    header.kid = Some(credentials.key_id.clone());
    let key = EncodingKey::from_ec_pem(credentials.p8_pem.as_bytes()).unwrap();
    let claims = json!({ "iss": credentials.team_id, "iat": iat });
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// Asserts Apple's shape of a refusal, down to the last key.
#[track_caller]
pub(crate) fn assert_refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!((reply.status, reply.json()), (status, json!({ "reason": reason })));
    assert!(reply.header("apns-id").is_some(), "every answer has an apns-id");
}

#[tokio::test]
async fn a_correct_push_gets_an_empty_200_with_a_new_apns_id() {
    let apns = Fixture::start().await;
    let reply = apns.send(apns.push(&[])).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let id = reply.header("apns-id").unwrap();
    assert_eq!(uuid::Uuid::try_parse(id).unwrap().to_string(), id);
}

#[tokio::test]
async fn an_apns_id_is_echoed_in_lowercase() {
    let apns = Fixture::start().await;
    let id = "123E4567-E89B-12D3-A456-4266554400A0";
    let reply = apns.send(apns.push(&[("apns-id", id)])).await;
    assert_eq!(reply.header("apns-id"), Some("123e4567-e89b-12d3-a456-4266554400a0"));
    let refused = apns.push(&[("apns-id", id), ("apns-priority", "7")]);
    let reply = apns.send(refused).await;
    assert_refused(&reply, 400, "BadPriority");
    assert_eq!(reply.header("apns-id"), Some("123e4567-e89b-12d3-a456-4266554400a0"));
}

#[tokio::test]
async fn each_bad_header_has_its_reason() {
    let apns = Fixture::start().await;
    let long = "x".repeat(65);
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("apns-id", "not-a-uuid")], "BadMessageId"),
        (&[("apns-id", "123e4567e89b12d3a4564266554400a0")], "BadMessageId"),
        (&[("apns-id", "{123e4567-e89b-12d3-a456-426655440000}")], "BadMessageId"),
        (&[("apns-expiration", "tomorrow")], "BadExpirationDate"),
        (&[("apns-expiration", "-1")], "BadExpirationDate"),
        (&[("apns-expiration", "+1")], "BadExpirationDate"),
        (&[("apns-priority", "0")], "BadPriority"),
        (&[("apns-priority", "high")], "BadPriority"),
        (&[("apns-push-type", "background"), ("apns-priority", "10")], "BadPriority"),
        (&[("apns-push-type", "background")], "BadPriority"),
        (&[("apns-collapse-id", &long)], "BadCollapseId"),
        (&[("apns-push-type", "Alert")], "InvalidPushType"),
        (&[("apns-push-type", "loud")], "InvalidPushType"),
        (&[("apns-topic", "")], "MissingTopic"),
        (&[("apns-topic", "<com.example.app>")], "BadTopic"),
        (&[("apns-topic", "com.example.other")], "TopicDisallowed"),
        (&[("apns-push-type", "voip")], "TopicDisallowed"),
        (&[("apns-topic", "com.example.app.voip")], "TopicDisallowed"),
    ];
    for (headers, reason) in rows {
        let reply = apns.send(apns.push(headers)).await;
        assert_eq!(reply.json()["reason"], *reason, "for {headers:?}");
        assert_refused(&reply, 400, reason);
    }
    assert_eq!(apns.simulator.ledger().counts().accepted, 0);
}

#[tokio::test]
async fn each_good_header_is_accepted() {
    let apns = Fixture::start().await;
    let longest = "x".repeat(64);
    let rows: &[&[(&str, &str)]] = &[
        &[("apns-push-type", "")],
        &[("apns-expiration", "0")],
        &[("apns-expiration", "1")],
        &[("apns-expiration", "99999999999")],
        &[("apns-priority", "10")],
        &[("apns-priority", "5")],
        &[("apns-priority", "1")],
        &[("apns-collapse-id", &longest)],
        &[("apns-push-type", "background"), ("apns-priority", "5")],
    ];
    for headers in rows {
        let reply = apns.send(apns.push(headers)).await;
        assert_eq!(reply.status, 200, "for {headers:?}: {:?}", reply.body);
    }
}

#[tokio::test]
async fn each_push_type_wants_its_topic_suffix() {
    let apns = Fixture::start().await;
    for (push_type, suffix) in [
        ("alert", ""),
        ("background", ""),
        ("liveactivity", ".push-type.liveactivity"),
        ("widgets", ".push-type.widgets"),
        ("controls", ".push-type.controls"),
        ("location", ".location-query"),
        ("voip", ".voip"),
        ("complication", ".complication"),
        ("fileprovider", ".pushkit.fileprovider"),
        ("mdm", ""),
        ("pushtotalk", ".voip-ptt"),
    ] {
        let topic = format!("{TOPIC}{suffix}");
        let headers =
            [("apns-push-type", push_type), ("apns-topic", &topic), ("apns-priority", "5")];
        let reply = apns.send(apns.push(&headers)).await;
        assert_eq!(reply.status, 200, "for {push_type}: {:?}", reply.body);
        if !suffix.is_empty() {
            let bare = [("apns-push-type", push_type), ("apns-topic", TOPIC)];
            assert_refused(&apns.send(apns.push(&bare)).await, 400, "TopicDisallowed");
        }
    }
}

#[tokio::test]
async fn a_header_that_comes_twice_is_refused() {
    let apns = Fixture::start().await;
    for name in ["apns-priority", "apns-topic", "apns-expiration", "apns-collapse-id"] {
        let mut request = apns.push(&[]);
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name.clone(), "5".parse().unwrap());
        request.headers_mut().append(name, "5".parse().unwrap());
        assert_refused(&apns.send(request).await, 400, "DuplicateHeaders");
    }
}

#[tokio::test]
async fn only_posts_to_a_device_are_served() {
    let apns = Fixture::start().await;
    let long_path = format!("/3/device/{DEVICE}/x");
    for (method, path, status, reason) in [
        ("POST", "/3/device/", 400, "MissingDeviceToken"),
        ("POST", "/3/device", 400, "MissingDeviceToken"),
        ("POST", "/2/device/00", 404, "BadPath"),
        ("POST", "/3/devices/00", 404, "BadPath"),
        ("POST", "/", 404, "BadPath"),
        ("POST", &long_path, 404, "BadPath"),
        ("GET", "/3/device/00", 405, "MethodNotAllowed"),
        ("PUT", "/3/device/00", 405, "MethodNotAllowed"),
    ] {
        let mut request = apns.push(&[]);
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
        assert_refused(&apns.send(request).await, status, reason);
    }
}

#[tokio::test]
async fn the_payload_is_an_object_with_aps() {
    let apns = Fixture::start().await;
    for payload in ["", "{}", "[]", r#"[{"aps":{}}]"#, "\"aps\"", r#"{"aps":1}"#, r#"{"aps":{}"#] {
        let reply = apns.client.send(apns.push(&[]), payload.into()).await.unwrap();
        assert_refused(&reply, 400, "PayloadEmpty");
    }
    let reply = apns.client.send(apns.push(&[]), " {\"x\":1,\"aps\":{}}".into()).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn payload_limits_hold_to_the_byte() {
    let apns = Fixture::start().await;
    let voip = [("apns-push-type", "voip"), ("apns-topic", "com.example.app.voip")];
    let cases: [(&[(&str, &str)], usize); 2] = [(&[], 4_096), (&voip, 5_120)];
    for (headers, limit) in cases {
        let fits = apns.client.send(apns.push(headers), payload_of(limit)).await.unwrap();
        assert_eq!(fits.status, 200, "{limit} bytes fit");
        let over = apns.client.send(apns.push(headers), payload_of(limit + 1)).await.unwrap();
        assert_refused(&over, 413, "PayloadTooLarge");
    }
    // Far too long for the simulator to read to its end: answered all the same.
    let over = apns.client.send(apns.push(&[]), payload_of(1 << 20)).await.unwrap();
    assert_refused(&over, 413, "PayloadTooLarge");
    let next = apns.send(apns.push(&[])).await;
    assert_eq!(next.status, 200, "the connection survives it");
}

fn payload_of(bytes: usize) -> Bytes {
    let frame = r#"{"aps":{"alert":""}}"#;
    let filler = "x".repeat(bytes - frame.len());
    format!(r#"{{"aps":{{"alert":"{filler}"}}}}"#).into()
}
