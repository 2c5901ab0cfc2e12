//! FCM: who is let in, device states, ordered failures, what the ledger keeps.

use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tidings_simulators::fcm::{FcmDeviceState, FcmFailure};
use tidings_simulators::{FcmCredentials, FcmSimulator, FcmSimulatorConfig};

use crate::client::{Client, Reply};
use crate::clock::ManualClock;

pub(crate) const PROJECT: &str = "demo-project";
pub(crate) const DEVICE: &str = "fcm-device:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx";
pub(crate) const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
pub(crate) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// A simulator, a clock, a connection and the account to be let in.
pub(crate) struct Fixture {
    pub(crate) simulator: FcmSimulator,
    pub(crate) clock: ManualClock,
    pub(crate) credentials: FcmCredentials,
    pub(crate) client: Client,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut FcmSimulatorConfig)) -> Self {
        let clock = ManualClock::start();
        let credentials = FcmCredentials::generate(PROJECT).unwrap();
        let mut config = FcmSimulatorConfig::new(&credentials);
        config.clock = clock.as_clock();
        change(&mut config);
        let simulator = FcmSimulator::start(config).await.unwrap();
        let client = Client::connect(simulator.address(), simulator.ca_pem()).await;
        Self { simulator, clock, credentials, client }
    }

    /// The claims of a correct assertion.
    pub(crate) fn claims(&self) -> Value {
        let now = self.clock.now_secs();
        json!({
            "iss": self.credentials.client_email,
            "scope": SCOPE,
            "aud": self.simulator.token_uri(),
            "iat": now,
            "exp": now + 3_600,
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.credentials.private_key_id.clone());
        let key = EncodingKey::from_rsa_pem(self.credentials.private_key_pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    pub(crate) async fn ask_for_token(&self, assertion: &str) -> Reply {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", assertion)
            .finish();
        self.post_form(body).await
    }

    pub(crate) async fn post_form(&self, body: String) -> Reply {
        let request = Request::post(self.simulator.token_uri())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(())
            .unwrap();
        self.client.send(request, body.into()).await.unwrap()
    }

    pub(crate) async fn access_token(&self) -> String {
        let reply = self.ask_for_token(&self.sign(&self.claims())).await;
        reply.json()["access_token"].as_str().expect("an access token").to_owned()
    }

    pub(crate) async fn post(&self, token: &str, project: &str, body: String) -> Reply {
        let url = format!("{}/v1/projects/{project}/messages:send", self.simulator.url());
        let mut request = Request::post(url).body(()).unwrap();
        if !token.is_empty() {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        self.client.send(request, body.into()).await.unwrap()
    }

    pub(crate) async fn send(&self, token: &str, body: &Value) -> Reply {
        self.post(token, PROJECT, body.to_string()).await
    }
}

pub(crate) fn message() -> Value {
    json!({ "message": { "token": DEVICE, "data": { "tidings_id": "n-1" } } })
}

/// Asserts Google's shape of an error with these details.
#[track_caller]
pub(crate) fn assert_error(reply: &Reply, code: u16, status: &str, details: &Value) {
    let body = reply.json();
    assert_eq!(reply.status, code, "{body}");
    assert_eq!(body["error"]["code"], code);
    assert_eq!(body["error"]["status"], status, "{body}");
    assert_eq!(&body["error"]["details"], details, "{body}");
    assert!(body["error"]["message"].is_string());
    assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
}

pub(crate) fn fcm_error(code: &str) -> Value {
    json!([{ "@type": FCM_ERROR, "errorCode": code }])
}

#[tokio::test]
async fn a_correct_message_gets_its_name() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let reply = fcm.send(&token, &message()).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    let name = body["name"].as_str().unwrap();
    assert!(name.starts_with("projects/demo-project/messages/0:1795424400"), "{name}");
    assert_eq!(body.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_bearer_token_must_be_one_that_lives() {
    let fcm = Fixture::start().await;
    for token in ["", "made-up"] {
        let reply = fcm.send(token, &message()).await;
        assert_error(&reply, 401, "UNAUTHENTICATED", &Value::Null);
    }
    let token = fcm.access_token().await;
    fcm.clock.advance_secs(3_598);
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    fcm.clock.advance_secs(1);
    let reply = fcm.send(&token, &message()).await;
    assert_error(&reply, 401, "UNAUTHENTICATED", &Value::Null);
    let token = fcm.access_token().await;
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    fcm.simulator.control().revoke_access_tokens();
    let reply = fcm.send(&token, &message()).await;
    assert_error(&reply, 401, "UNAUTHENTICATED", &Value::Null);
}

#[tokio::test]
async fn the_project_must_be_the_accounts_own() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let reply = fcm.post(&token, "other-project", message().to_string()).await;
    assert_error(&reply, 403, "PERMISSION_DENIED", &Value::Null);
}

#[tokio::test]
async fn other_paths_and_methods_are_not_found() {
    let fcm = Fixture::start().await;
    for (method, path) in [
        ("GET", "/v1/projects/demo-project/messages:send"),
        ("POST", "/v1/projects/demo-project/messages"),
        ("POST", "/v1/projects//messages:send"),
        ("POST", "/v1/projects/a/b/messages:send"),
        ("POST", "/"),
    ] {
        let url = format!("{}{path}", fcm.simulator.url());
        let request = Request::builder().method(method).uri(url).body(()).unwrap();
        let reply = fcm.client.send(request, "{}".into()).await.unwrap();
        assert_error(&reply, 404, "NOT_FOUND", &Value::Null);
    }
}

#[tokio::test]
async fn each_device_state_has_its_answer() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let control = fcm.simulator.control();
    let rows = [
        (FcmDeviceState::Unregistered, 404, "NOT_FOUND", "UNREGISTERED", None),
        (FcmDeviceState::SenderIdMismatch, 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", None),
        (
            FcmDeviceState::QuotaExceeded { retry_after_secs: None },
            429,
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
            None,
        ),
        (
            FcmDeviceState::QuotaExceeded { retry_after_secs: Some(17) },
            429,
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
            Some("17"),
        ),
        (
            FcmDeviceState::ThirdPartyAuthError,
            401,
            "UNAUTHENTICATED",
            "THIRD_PARTY_AUTH_ERROR",
            None,
        ),
    ];
    for (state, code, status, error_code, retry_after) in rows {
        control.set_device(DEVICE, state).unwrap();
        let reply = fcm.send(&token, &message()).await;
        let mut details = fcm_error(error_code);
        if error_code == "QUOTA_EXCEEDED" {
            // Which quota it was: not that of the project.
            let violation =
                json!({ "subject": "device", "description": "Device message rate exceeded" });
            let kind = "type.googleapis.com/google.rpc.QuotaFailure";
            let quota = json!({ "@type": kind, "violations": [violation] });
            details.as_array_mut().unwrap().push(quota);
        }
        assert_error(&reply, code, status, &details);
        assert_eq!(reply.header("retry-after"), retry_after);
    }
    control.set_device(DEVICE, FcmDeviceState::InvalidArgument).unwrap();
    let details = json!([
        { "@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT" },
        {
            "@type": BAD_REQUEST,
            "fieldViolations": [
                { "field": "message.token", "description": "Invalid registration token" }
            ]
        }
    ]);
    assert_error(&fcm.send(&token, &message()).await, 400, "INVALID_ARGUMENT", &details);
    control.revive_device(DEVICE);
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
}

#[tokio::test]
async fn the_next_messages_fail_as_ordered_and_no_more() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for (failure, code, status, retry_after) in [
        (FcmFailure::Internal, 500, "INTERNAL", None),
        (FcmFailure::Unavailable { retry_after_secs: None }, 503, "UNAVAILABLE", None),
        (FcmFailure::Unavailable { retry_after_secs: Some(30) }, 503, "UNAVAILABLE", Some("30")),
    ] {
        fcm.simulator.control().fail_next(2, failure);
        for _ in 0..2 {
            let reply = fcm.send(&token, &message()).await;
            assert_error(&reply, code, status, &fcm_error(status));
            assert_eq!(reply.header("retry-after"), retry_after);
        }
        assert_eq!(fcm.send(&token, &message()).await.status, 200);
    }
    let counts = fcm.simulator.ledger().counts();
    assert_eq!((counts.rejected["INTERNAL"], counts.rejected["UNAVAILABLE"]), (2, 4));
}

#[tokio::test]
async fn the_ledger_knows_messages_by_the_chosen_key_of_data() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let mut other = message();
    other["message"]["data"]["tidings_id"] = "n-2".into();
    other["message"]["android"] = json!({ "collapse_key": "like:p_9" });
    let mut nameless = message();
    nameless["message"]["data"] = json!({});
    let mut dry = message();
    dry["validate_only"] = true.into();
    for body in [&message(), &message(), &other, &nameless, &dry] {
        assert_eq!(fcm.send(&token, body).await.status, 200);
    }
    let ledger = fcm.simulator.ledger();
    let counts = ledger.counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (4, 2, 1));
    assert_eq!(counts.unidentified, 1);
    let recent = ledger.recent();
    assert_eq!(recent[2].identity.as_deref(), Some("n-2"));
    assert_eq!(recent[2].collapse_id.as_deref(), Some("like:p_9"));
    assert_eq!(recent[2].token, DEVICE);
}
