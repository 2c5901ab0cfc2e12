//! A node with push services that are simulated, and what tests do with it.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_simulators::{
    ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, FcmCredentials, FcmSimulator,
    FcmSimulatorConfig,
};

use crate::harness::{Node, PATIENCE, Site, event};

pub(crate) async fn send(node: &Node, id: &str, users: &[&str]) {
    node.post("/v1/events", event(id, users).to_string()).await.expect(200);
}

/// A node with both simulators, and the simulators.
pub(crate) struct Pushing {
    pub(crate) site: Site,
    pub(crate) apns: ApnsSimulator,
    pub(crate) fcm: FcmSimulator,
    /// The configuration without FCM.
    pub(crate) toml: String,
    /// The configuration of FCM.
    pub(crate) fcm_toml: String,
}

impl Pushing {
    pub(crate) async fn new() -> Self {
        let apns_credentials = ApnsCredentials::generate("TEAM000001", "KEY0000001").unwrap();
        let fcm_credentials = FcmCredentials::generate("project").unwrap();
        let apns = ApnsSimulatorConfig::new(&apns_credentials, "app.example");
        let apns = ApnsSimulator::start(apns).await.unwrap();
        let fcm = FcmSimulator::start(FcmSimulatorConfig::new(&fcm_credentials)).await.unwrap();
        let site = Site::new("");
        let file = |name: &str, text: &str| {
            std::fs::write(site.path().join(name), text).unwrap();
            name.to_owned()
        };
        let toml = format!(
            "[routing]\nack_wait_ms = 500\n[push]\nlease_ms = 7000\nrequest_timeout_ms = 1500\n\
             [push.retry]\nmax_attempts = 20\nbase_ms = 20\ncap_ms = 100\n\
             [push.breaker]\nopen_base_ms = 200\nopen_cap_ms = 400\n\
             [push.apns]\nkey_file = {:?}\nkey_id = \"KEY0000001\"\nteam_id = \"TEAM000001\"\n\
             endpoint = {:?}\nca_file = {:?}\noutage_wait_ms = 50\n",
            file("key.p8", &apns_credentials.p8_pem),
            apns.url(),
            file("apns.pem", apns.ca_pem()),
        );
        let fcm_toml = format!(
            "[push.fcm]\nservice_account_file = {:?}\nendpoint = {:?}\nca_file = {:?}\n",
            file("fcm.json", &fcm_credentials.service_account_json(&fcm.token_uri())),
            fcm.url(),
            file("fcm.pem", fcm.ca_pem()),
        );
        let site = site.with_toml(&format!("{toml}{fcm_toml}"));
        Self { site, apns, fcm, fcm_toml, toml }
    }
}

pub(crate) async fn register(node: &Node, user: &str, device: &str, platform: &str, token: &str) {
    let body = json!({"platform": platform, "token": token, "app": "app.example"});
    node.put(&format!("/v1/users/{user}/devices/{device}"), &body).await.expect(200);
}

/// Waits until the log of a notification satisfies `enough`, and returns it.
pub(crate) async fn deliveries(
    node: &Node,
    user: &str,
    enough: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let page = node.get(&format!("/v1/users/{user}/notifications")).await.expect(200);
    let id = page["items"][0]["id"].as_str().unwrap();
    let path = format!("/v1/notifications/{id}/deliveries?limit=1000");
    tokio::time::timeout(PATIENCE, async {
        loop {
            let log = node.get(&path).await.expect(200)["items"].as_array().unwrap().clone();
            if enough(&log) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap()
}

pub(crate) fn with_outcome<'a>(log: &'a [Value], outcome: &str) -> Vec<&'a str> {
    let of = log.iter().filter(|it| it["outcome"] == outcome);
    of.map(|it| it["channel"].as_str().unwrap()).collect()
}
