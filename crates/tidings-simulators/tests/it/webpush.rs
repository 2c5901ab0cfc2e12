//! Web Push: who is let in, headers, encryption, states of subscriptions, what the ledger keeps.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tidings_simulators::webpush::{
    SubscribeOptions, VapidRule, WebPushDeviceState, WebPushFailure, WebPushSubscription,
};
use tidings_simulators::{SimulatorError, WebPushSimulator, WebPushSimulatorConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Reply, tls};
use crate::clock::ManualClock;

const TEXT: &str = r#"{"title":"hello","tidings_id":"n-1"}"#;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A sender's signing key.
struct Vapid {
    key: EncodingKey,
    public: String,
}

impl Vapid {
    fn generate() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        Self { key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(), public }
    }

    fn authorization(&self, claims: &Value) -> String {
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.key).unwrap();
        format!("vapid t={token}, k={}", self.public)
    }
}

struct Fixture {
    simulator: WebPushSimulator,
    clock: ManualClock,
    vapid: Vapid,
    client: Client,
}

impl Fixture {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut WebPushSimulatorConfig)) -> Self {
        let clock = ManualClock::start();
        let mut config = WebPushSimulatorConfig::new();
        config.clock = clock.as_clock();
        change(&mut config);
        let simulator = WebPushSimulator::start(config).await.unwrap();
        let client = Client::connect(simulator.address(), simulator.ca_pem()).await;
        Self { simulator, clock, vapid: Vapid::generate(), client }
    }

    fn subscribe(&self) -> std::sync::Arc<WebPushSubscription> {
        self.simulator.control().subscribe(&SubscribeOptions::default()).unwrap()
    }

    fn claims(&self) -> Value {
        json!({
            "aud": self.simulator.url(),
            "exp": self.clock.now_secs() + 43_200,
            "sub": "mailto:push@example.com",
        })
    }

    /// A correct message with these headers put in; an empty value takes a header away.
    fn message(&self, to: &WebPushSubscription, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::post(to.endpoint())
            .header("authorization", self.vapid.authorization(&self.claims()))
            .header("ttl", "60")
            .header("content-encoding", "aes128gcm")
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

    async fn send(&self, to: &WebPushSubscription, headers: &[(&str, &str)]) -> Reply {
        self.send_body(to, headers, encrypt(to, TEXT.as_bytes(), 0)).await
    }

    async fn send_body(
        &self,
        to: &WebPushSubscription,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        self.client.send(self.message(to, headers), body.into()).await.unwrap()
    }
}

/// RFC 8291 with `padding` zeros.
fn encrypt(to: &WebPushSubscription, text: &[u8], padding: usize) -> Vec<u8> {
    let decode = |text: String| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (receiver, auth) = (decode(to.p256dh()), decode(to.auth()));
    let private = PrivateKey::generate(&ECDH_P256).unwrap();
    let sender = private.compute_public_key().unwrap().as_ref().to_vec();
    let expand = |from: &Prk, info: &[u8], length| {
        let mut out = vec![0; length];
        from.expand(&[info], Length(length)).unwrap().fill(&mut out).unwrap();
        out
    };
    let info = [b"WebPush: info\0", &receiver[..], &sender].concat();
    let peer = UnparsedPublicKey::new(&ECDH_P256, &receiver);
    let shared = agree(&private, peer, (), |secret| {
        Ok(expand(&Salt::new(HKDF_SHA256, &auth).extract(secret), &info, 32))
    });
    let salt = [7; 16];
    let from = Salt::new(HKDF_SHA256, &salt).extract(&shared.unwrap());
    let key = expand(&from, b"Content-Encoding: aes128gcm\0", 16);
    let nonce = expand(&from, b"Content-Encoding: nonce\0", 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let mut record = [text, &[2], &vec![0; padding]].concat();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).unwrap();
    let size = 4_096_u32.to_be_bytes();
    [&salt[..], &size, &[65], &sender, &record].concat()
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.json()["code"], status);
}

#[tokio::test]
async fn a_correct_message_is_decrypted_into_the_ledger() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let reply = push.send(&subscription, &[("topic", "like-p_9"), ("urgency", "high")]).await;
    assert_eq!((reply.status, reply.body.len()), (201, 0));
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(&push.simulator.url()), "{location}");
    assert_eq!(reply.header("ttl"), Some("60"));
    let recent = push.simulator.ledger().recent();
    assert_eq!(recent[0].payload, TEXT);
    assert_eq!(recent[0].identity.as_deref(), Some("n-1"));
    assert_eq!(recent[0].token, subscription.endpoint());
    assert_eq!(recent[0].collapse_id.as_deref(), Some("like-p_9"));
}

#[tokio::test]
async fn a_subscription_is_what_a_page_would_get() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let json = subscription.to_json();
    assert!(json["endpoint"].as_str().unwrap().starts_with("https://localhost:"));
    let decode =
        |name: &str| URL_SAFE_NO_PAD.decode(json["keys"][name].as_str().unwrap()).unwrap().len();
    assert_eq!((decode("p256dh"), decode("auth")), (65, 16));
    assert!(!format!("{subscription:?}").contains(&subscription.auth()));
    assert!(!format!("{subscription:?}").contains("/push/"));
}

#[tokio::test]
async fn senders_that_speak_http_1_1_are_served() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let (address, ca_pem) = (push.simulator.address(), push.simulator.ca_pem());
    let mut stream = tls(address, ca_pem, &["http/1.1"]).await.unwrap();
    let body = encrypt(&subscription, TEXT.as_bytes(), 0);
    let path = subscription.endpoint().strip_prefix(&push.simulator.url()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nttl: 60\r\ncontent-encoding: aes128gcm\r\n\
         authorization: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        push.vapid.authorization(&push.claims()),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(push.simulator.ledger().counts().accepted, 1);
}

#[tokio::test]
async fn each_bad_header_is_refused() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let long = "x".repeat(33);
    for (name, value) in [
        ("ttl", ""),
        ("ttl", "soon"),
        ("ttl", "-1"),
        ("ttl", "1.5"),
        ("urgency", "loud"),
        ("topic", &long),
        ("topic", "like:p_9"),
        ("content-encoding", "aesgcm"),
        ("content-encoding", ""),
    ] {
        let reply = push.send(&subscription, &[(name, value)]).await;
        assert_eq!(reply.status, 400, "for {name}: {value}");
        assert_refused(&reply, 400);
    }
    assert_eq!(push.simulator.ledger().counts().accepted, 0);
}

#[tokio::test]
async fn each_good_header_is_accepted() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let longest = "-_".repeat(16);
    for (name, value) in [
        ("ttl", "0"),
        ("ttl", "99999999999"),
        ("urgency", "very-low"),
        ("urgency", "low"),
        ("urgency", "normal"),
        ("topic", &longest),
    ] {
        let reply = push.send(&subscription, &[(name, value)]).await;
        assert_eq!(reply.status, 201, "for {name}: {value}: {:?}", reply.body);
    }
    let asked = push.send(&subscription, &[("prefer", "respond-async")]).await;
    assert_eq!(asked.status, 202);
    let bare = [("content-encoding", "")];
    let empty = push.send_body(&subscription, &bare, Vec::new()).await;
    assert_eq!(empty.status, 201, "a message without content needs no keys");
}

#[tokio::test]
async fn a_missing_credential_is_401_and_a_bad_one_403() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let stranger = Vapid::generate();
    let now = push.clock.now_secs();
    let with = |changes: Value| {
        let mut claims = push.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        push.vapid.authorization(&claims)
    };
    let good = push.vapid.authorization(&push.claims());
    let forged = good.replace(&push.vapid.public, &stranger.public);
    let keyless = good.split(',').next().unwrap().to_owned();
    let rows = [
        (String::new(), 401),
        ("WebPush x".into(), 401),
        ("bearer x".into(), 401),
        (good, 201),
        (with(json!({ "exp": now + 86_400 })), 201),
        (with(json!({ "aud": ["https://example.com", push.simulator.url()] })), 201),
        (with(json!({ "sub": "https://example.com/contact" })), 201),
        (with(json!({ "exp": now + 86_401 })), 403),
        (with(json!({ "exp": now })), 403),
        (with(json!({ "exp": null })), 403),
        (with(json!({ "aud": "https://example.com" })), 403),
        (with(json!({ "aud": format!("{}/", push.simulator.url()) })), 403),
        (with(json!({ "sub": null })), 403),
        (with(json!({ "sub": "push@example.com" })), 403),
        (forged, 403),
        (keyless, 403),
        ("vapid t=x, k=y".into(), 403),
    ];
    for (authorization, status) in rows {
        let reply = push.send(&subscription, &[("authorization", &authorization)]).await;
        assert_eq!(reply.status, status, "{:?}", reply.body);
    }
}

#[tokio::test]
async fn a_token_that_was_good_ends_in_time() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let authorization = push.vapid.authorization(&push.claims());
    let headers = [("authorization", authorization.as_str())];
    assert_eq!(push.send(&subscription, &headers).await.status, 201);
    push.clock.advance_secs(43_199);
    assert_eq!(push.send(&subscription, &headers).await.status, 201);
    push.clock.advance_secs(1);
    assert_refused(&push.send(&subscription, &headers).await, 403);
}

#[tokio::test]
async fn a_restricted_subscription_is_for_its_key_only() {
    let push = Fixture::start_with(|config| config.vapid = VapidRule::WhereRestricted).await;
    let application_server_key = Some(push.vapid.public.clone());
    let options = SubscribeOptions { application_server_key, name: None };
    let restricted = push.simulator.control().subscribe(&options).unwrap();
    assert_eq!(push.send(&restricted, &[]).await.status, 201);
    let stranger = Vapid::generate().authorization(&push.claims());
    assert_refused(&push.send(&restricted, &[("authorization", &stranger)]).await, 403);
    assert_refused(&push.send(&restricted, &[("authorization", "")]).await, 401);
    let open = push.subscribe();
    assert_eq!(push.send(&open, &[("authorization", "")]).await.status, 201);
    let none = SubscribeOptions { application_server_key: Some("AAAA".into()), name: None };
    let refused = push.simulator.control().subscribe(&none);
    assert!(matches!(refused, Err(SimulatorError::ApplicationServerKey)));
}

#[tokio::test]
async fn what_the_browser_cannot_decrypt_is_refused() {
    let push = Fixture::start().await;
    let (subscription, other) = (push.subscribe(), push.subscribe());
    let mut changed = encrypt(&subscription, TEXT.as_bytes(), 0);
    *changed.last_mut().unwrap() ^= 1;
    for body in [changed, encrypt(&other, TEXT.as_bytes(), 0), TEXT.as_bytes().to_vec()] {
        assert_refused(&push.send_body(&subscription, &[], body).await, 400);
    }
    let padded = encrypt(&subscription, TEXT.as_bytes(), 500);
    assert_eq!(push.send_body(&subscription, &[], padded).await.status, 201);
    assert_eq!(push.simulator.ledger().recent()[0].payload, TEXT, "without its padding");
}

#[tokio::test]
async fn the_length_limit_holds_to_the_byte() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    // 86 bytes of header, a delimiter and a tag of 16: 3,993 are left of 4,096.
    let longest = encrypt(&subscription, &[b'x'; 3_993], 0);
    assert_eq!(longest.len(), 4_096);
    assert_eq!(push.send_body(&subscription, &[], longest).await.status, 201);
    let over = encrypt(&subscription, &[b'x'; 3_994], 0);
    assert_refused(&push.send_body(&subscription, &[], over).await, 413);
    assert_refused(&push.send_body(&subscription, &[], vec![0; 1 << 20]).await, 413);
}

#[tokio::test]
async fn each_state_of_a_subscription_has_its_answer() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let control = push.simulator.control();
    let later = WebPushDeviceState::TooMany { retry_after_secs: Some(7) };
    for (state, status, retry_after) in [
        (WebPushDeviceState::Expired, 404, None),
        (WebPushDeviceState::Gone, 410, None),
        (WebPushDeviceState::TooLarge, 413, None),
        (WebPushDeviceState::TooMany { retry_after_secs: None }, 429, None),
        (later, 429, Some("7")),
    ] {
        control.set_device(subscription.endpoint(), state).unwrap();
        let reply = push.send(&subscription, &[]).await;
        assert_refused(&reply, status);
        assert_eq!(reply.header("retry-after"), retry_after);
    }
    control.revive_device(subscription.endpoint());
    let failure = WebPushFailure::Unavailable { retry_after_secs: Some(9) };
    control.fail_next(1, failure);
    let reply = push.send(&subscription, &[]).await;
    assert_refused(&reply, 503);
    assert_eq!(reply.header("retry-after"), Some("9"));
    assert_eq!(push.send(&subscription, &[]).await.status, 201);
}

#[tokio::test]
async fn an_endpoint_that_was_never_given_out_has_expired() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    for (method, path, status) in
        [("POST", "/push/never", 404), ("POST", "/", 404), ("GET", "/push/never", 405)]
    {
        let mut request = push.message(&subscription, &[]);
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
        assert_refused(&push.client.send(request, Bytes::new()).await.unwrap(), status);
    }
}

#[tokio::test]
async fn a_topic_replaces_what_is_pending_and_a_ttl_ends_it() {
    let push = Fixture::start().await;
    let subscription = push.subscribe();
    let control = push.simulator.control();
    control.set_device(subscription.endpoint(), WebPushDeviceState::Offline).unwrap();
    for (text, topic, ttl) in
        [("1", "a", "60"), ("2", "b", "600"), ("3", "a", "60"), ("4", "", "60"), ("5", "", "0")]
    {
        let body = encrypt(&subscription, text.as_bytes(), 0);
        let headers = [("topic", topic), ("ttl", ttl)];
        assert_eq!(push.send_body(&subscription, &headers, body).await.status, 201);
    }
    let kept = || -> Vec<Bytes> {
        let kept = control.kept_for(subscription.endpoint());
        kept.iter().map(|push| push.payload.clone()).collect()
    };
    assert_eq!(kept(), ["2", "3", "4"]);
    push.clock.advance_secs(60);
    assert_eq!(kept(), ["2"]);
    control.revive_device(subscription.endpoint());
    assert_eq!(kept(), [""; 0]);
}
