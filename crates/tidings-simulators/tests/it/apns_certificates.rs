//! APNs: certificates, environments, keys for some topics, devices that are offline.

use serde_json::json;
use tidings_simulators::SimulatorTls;
use tidings_simulators::apns::{
    ApnsCertificate, ApnsCertificateRequest, ApnsDeviceState, ApnsEnvironment,
};

use crate::apns::{DEVICE, Fixture, PAYLOAD, TOPIC, assert_refused};
use crate::client::{Client, Reply, tls_with};

const EXPIRED_SECS: u64 = 1_600_000_000;

struct Certified {
    apns: Fixture,
    tls: SimulatorTls,
}

impl Certified {
    async fn start() -> Self {
        let tls = SimulatorTls::generate().unwrap();
        let apns = Fixture::start_with(|config| config.tls = Some(tls.clone())).await;
        Self { apns, tls }
    }

    async fn connect(&self, request: &ApnsCertificateRequest) -> std::io::Result<Client> {
        let certificate = ApnsCertificate::issue(&self.tls, request).unwrap();
        let address = self.apns.simulator.address();
        let stream = tls_with(address, self.tls.ca_pem(), &["h2"], Some(&certificate)).await?;
        Ok(Client::over(stream).await)
    }

    async fn send(&self, client: &Client, headers: &[(&str, &str)]) -> Reply {
        let mut all = vec![("authorization", "")];
        all.extend(headers);
        client.send(self.apns.push(&all), PAYLOAD.into()).await.unwrap()
    }
}

fn request(topics: &[&str]) -> ApnsCertificateRequest {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    ApnsCertificateRequest { topics, ..ApnsCertificateRequest::new(TOPIC) }
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_a_token() {
    let certified = Certified::start().await;
    let client = certified.connect(&request(&[TOPIC])).await.unwrap();
    assert_eq!(certified.send(&client, &[]).await.status, 200);
    let ignored = certified.send(&client, &[("authorization", "bearer x")]).await;
    assert_eq!(ignored.status, 200, "the header is ignored");
    let default = certified.send(&client, &[("apns-topic", "")]).await;
    assert_eq!(default.status, 200, "the one topic is the default");
}

#[tokio::test]
async fn a_certificate_is_for_the_topics_that_it_names() {
    let certified = Certified::start().await;
    let voip = format!("{TOPIC}.voip");
    let client = certified.connect(&request(&[TOPIC, &voip])).await.unwrap();
    let call = [("apns-topic", voip.as_str()), ("apns-push-type", "voip")];
    assert_eq!(certified.send(&client, &call).await.status, 200);
    for (topic, push_type, reason) in [
        ("", "alert", "MissingTopic"),
        ("com.example.other", "alert", "TopicDisallowed"),
        ("com.example.app.push-type.liveactivity", "liveactivity", "TopicDisallowed"),
        (TOPIC, "voip", "TopicDisallowed"),
    ] {
        let headers = [("apns-topic", topic), ("apns-push-type", push_type)];
        assert_refused(&certified.send(&client, &headers).await, 400, reason);
    }
}

#[tokio::test]
async fn a_certificate_of_the_other_environment_is_refused() {
    let certified = Certified::start().await;
    for (environment, status) in
        [(ApnsEnvironment::Sandbox, 403), (ApnsEnvironment::Production, 200)]
    {
        let environment = Some(environment);
        let request = ApnsCertificateRequest { environment, ..request(&[TOPIC]) };
        let client = certified.connect(&request).await.unwrap();
        let reply = certified.send(&client, &[]).await;
        assert_eq!(reply.status, status);
        if status == 403 {
            assert_refused(&reply, 403, "BadCertificateEnvironment");
        }
    }
}

#[tokio::test]
async fn a_certificate_without_topics_is_none_for_push() {
    let certified = Certified::start().await;
    let client = certified.connect(&request(&[])).await.unwrap();
    assert_refused(&certified.send(&client, &[]).await, 403, "BadCertificate");
}

#[tokio::test]
async fn a_certificate_out_of_date_or_of_a_stranger_ends_the_handshake() {
    let certified = Certified::start().await;
    let expired = ApnsCertificateRequest { not_after_secs: EXPIRED_SECS, ..request(&[TOPIC]) };
    let stranger = SimulatorTls::generate().unwrap();
    for certificate in [
        ApnsCertificate::issue(&certified.tls, &expired).unwrap(),
        ApnsCertificate::issue(&stranger, &request(&[TOPIC])).unwrap(),
    ] {
        let address = certified.apns.simulator.address();
        let ca_pem = certified.tls.ca_pem();
        // With TLS 1.3 the client's side ends before the server has judged: the first read fails.
        let Ok(mut stream) = tls_with(address, ca_pem, &["h2"], Some(&certificate)).await else {
            continue;
        };
        let read = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
        let alert = read.unwrap_err().to_string();
        assert!(alert.contains("alert"), "{alert}");
    }
}

#[tokio::test]
async fn a_key_may_be_for_one_environment_and_some_topics() {
    let sandboxed = Fixture::start_with(|config| {
        config.keys[0].environment = Some(ApnsEnvironment::Sandbox);
    });
    let sandboxed = sandboxed.await;
    let reply = sandboxed.send(sandboxed.push(&[])).await;
    assert_refused(&reply, 403, "BadEnvironmentKeyIdInToken");

    let related = Fixture::start_with(|config| {
        config.topics.push("com.example.app2".into());
        config.keys[0].topics = vec![TOPIC.into()];
    });
    let related = related.await;
    assert_eq!(related.send(related.push(&[])).await.status, 200);
    let other = related.push(&[("apns-topic", "com.example.app2")]);
    assert_refused(&related.send(other).await, 403, "UnrelatedKeyIdInToken");
}

#[tokio::test]
async fn only_the_sandbox_gives_unique_ids() {
    for (environment, given) in
        [(ApnsEnvironment::Sandbox, true), (ApnsEnvironment::Production, false)]
    {
        let apns = Fixture::start_with(|config| config.environment = environment).await;
        let reply = apns.send(apns.push(&[])).await;
        assert_eq!(reply.header("apns-unique-id").is_some(), given);
    }
}

#[tokio::test]
async fn the_newest_push_of_a_topic_is_kept_for_a_device_that_is_offline() {
    let apns = Fixture::start().await;
    let control = apns.simulator.control();
    control.set_device(DEVICE, ApnsDeviceState::Offline).unwrap();
    let ids: Vec<String> =
        (0..3).map(|n| format!("123e4567-e89b-12d3-a456-42665544000{n}")).collect();
    for id in &ids[..2] {
        assert_eq!(apns.send(apns.push(&[("apns-id", id)])).await.status, 200);
    }
    let at_once = apns.push(&[("apns-id", &ids[2]), ("apns-expiration", "0")]);
    assert_eq!(apns.send(at_once).await.status, 200);
    let kept = control.kept_for(DEVICE);
    let kept: Vec<_> = kept.iter().filter_map(|push| push.identity.as_deref()).collect();
    assert_eq!(kept, [ids[1].as_str()]);
    control.revive_device(DEVICE);
    assert!(control.kept_for(DEVICE).is_empty());
}

#[tokio::test]
async fn apns_may_learn_late_that_an_app_was_removed() {
    let apns = Fixture::start().await;
    let now_ms = apns.clock.now_secs() * 1_000;
    let state = ApnsDeviceState::UnregisteredLater {
        since_ms: now_ms - 86_400_000,
        answered_from_ms: now_ms + 60_000,
    };
    apns.simulator.control().set_device(DEVICE, state).unwrap();
    // The same token, or there would be too many of them.
    let push = apns.push(&[]);
    assert_eq!(apns.send(push.clone()).await.status, 200);
    apns.clock.advance_secs(60);
    let reply = apns.send(push).await;
    assert_eq!(reply.status, 410);
    let told = json!({ "reason": "Unregistered", "timestamp": now_ms - 86_400_000 });
    assert_eq!(reply.json(), told);
}

#[tokio::test]
async fn a_pattern_says_what_becomes_of_many_devices() {
    let apns = Fixture::start().await;
    let control = apns.simulator.control();
    control.set_device("00fc*", ApnsDeviceState::TooManyRequests).unwrap();
    assert_refused(&apns.send(apns.push(&[])).await, 429, "TooManyRequests");
    control.set_device(DEVICE, ApnsDeviceState::OtherTopic).unwrap();
    assert_refused(&apns.send(apns.push(&[])).await, 400, "DeviceTokenNotForTopic");
    control.revive_device(DEVICE);
    control.revive_device("00fc*");
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
}
