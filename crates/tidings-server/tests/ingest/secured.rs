//! A broker with TLS, passwords and rights.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    harness::{Node, Site},
    scene::{Scene, Setup, StoreKind, start},
    servers::{PrivateKafka, SecuredDoor},
    story::Story,
    until::until,
    verify::{assert_exact, part, until_drained},
};

const USER: &str = "tidings";
const PASSWORD: &str = "a-secret-of-the-broker";

/// `[kafka.options]` for a login over TLS.
fn login(door: &SecuredDoor, password: &str) -> String {
    format!(
        "\"security.protocol\" = \"sasl_ssl\"\n\"ssl.ca.location\" = \"{}\"\n\
         \"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"{USER}\"\n\
         \"sasl.password\" = \"{password}\"\n",
        door.ca_file.display(),
    )
}

/// What is given a right to.
#[derive(Clone, Copy)]
enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// Lets [`USER`] read, by `CreateAcls`, version 1, which the client's library does not have.
/// <https://kafka.apache.org/protocol#The_Messages_CreateAcls>
fn allow_reading(broker: &PrivateKafka, resource: Resource<'_>) {
    fn text(request: &mut Vec<u8>, text: &str) {
        request.extend_from_slice(&i16::try_from(text.len()).unwrap().to_be_bytes());
        request.extend_from_slice(text.as_bytes());
    }
    let (kind, name) = match resource {
        Resource::Topic(name) => (2, name),
        Resource::Group(name) => (3, name),
    };
    let mut request = vec![0, 30, 0, 1, 0, 0, 0, 7]; // the kind of request, its version, its number
    text(&mut request, "test");
    request.extend_from_slice(&1_i32.to_be_bytes()); // one rule
    request.push(kind);
    text(&mut request, name);
    request.push(3); // the name is meant literally
    text(&mut request, &format!("User:{USER}"));
    text(&mut request, "*"); // from any host
    request.extend_from_slice(&[3, 3]); // reading is allowed
    let mut stream = TcpStream::connect(broker.brokers()).unwrap();
    stream.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Its number, how long it was held back, one result, and its error: none.
    assert_eq!(answer[..14], [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "{answer:?}");
}

/// Waits until readiness gives this reason, and these words for it.
async fn until_down(node: &Node, reason: &str, why: &str) {
    until(&format!("readiness says {reason}, {why}"), async || {
        let kafka = part(node, "kafka").await.unwrap_or_default();
        kafka["reason"] == reason && kafka["details"].to_string().contains(why)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_over_tls_with_its_password_as_soon_as_it_has_the_right_to() {
    let (broker, door) = PrivateKafka::start_secured(USER, PASSWORD).await;
    let mut setup = Setup::new(StoreKind::Sqlite, 2);
    setup.brokers = broker.brokers();
    let mut scene = Scene::new(setup).await;
    let mut writer = scene.writer();
    writer.write(&Story::new(31, 20, 2).take(500)).await;

    // The wrong password.
    scene.setup.brokers.clone_from(&door.brokers);
    scene.setup.options = login(&door, "another-secret");
    let refused = Site::new(&scene.toml("node-1"));
    let node = start(&refused);
    until_down(&node, "not-connected", "SASL authentication error").await;
    tokio::task::block_in_place(|| node.stop());
    assert!(!refused.log().contains("another-secret"), "a password is in the log");

    // The right one, and no rights; then that to the topic, then that to the group.
    scene.setup.options = login(&door, PASSWORD);
    let site = Site::new(&scene.toml("node-1"));
    let node = start(&site);
    until_down(&node, "not-authorised", "TopicAuthorizationFailed").await;
    allow_reading(&broker, Resource::Topic(&scene.topic));
    until_down(&node, "not-authorised", "GroupAuthorizationFailed").await;
    allow_reading(&broker, Resource::Group(&scene.topic));
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    until("nothing is held against the broker any more", async || {
        part(&node, "kafka").await.is_some_and(|it| it["up"] == true)
    })
    .await;
    tokio::task::block_in_place(|| node.stop());
    assert!(!site.log().contains(PASSWORD), "a password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_certificate_is_not_trusted_is_not_spoken_to() {
    let (broker, door) = PrivateKafka::start_secured(USER, PASSWORD).await;
    let directory = tempfile::tempdir().unwrap();
    let stranger = directory.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    std::fs::write(&stranger, params.self_signed(&key).unwrap().pem()).unwrap();
    let mut setup = Setup::new(StoreKind::Sqlite, 1);
    setup.brokers = broker.brokers();
    let mut scene = Scene::new(setup).await;
    scene.setup.brokers.clone_from(&door.brokers);
    let trusted = SecuredDoor { brokers: door.brokers.clone(), ca_file: stranger };
    scene.setup.options = login(&trusted, PASSWORD);
    let site = Site::new(&scene.toml("node-1"));
    let node = start(&site);
    until_down(&node, "not-connected", "certificate verify failed").await;
    tokio::task::block_in_place(|| node.stop());
}
