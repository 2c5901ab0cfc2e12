//! TLS, protocols, limits of the connection, start and stop.

use std::sync::Arc;

use bytes::Bytes;
use tidings_simulators::{
    ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, SimulatorError, SimulatorTls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::apns::Fixture;
use crate::client::{Client, tls};

#[tokio::test]
async fn http_1_1_is_refused_in_the_tls_handshake() {
    let apns = Fixture::start().await;
    let (address, ca_pem) = (apns.simulator.address(), apns.simulator.ca_pem());
    let refused = tls(address, ca_pem, &["http/1.1"]).await.unwrap_err();
    let cause = refused.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
    assert_eq!(cause, Some(&alert));
}

#[tokio::test]
async fn apns_takes_a_client_that_offers_no_protocol_for_an_http_2_client() {
    let apns = Fixture::start().await;
    let (address, ca_pem) = (apns.simulator.address(), apns.simulator.ca_pem());
    let client = Client::connect_offering(&[], address, ca_pem).await;
    assert_eq!(client.send(apns.push(&[]), crate::apns::PAYLOAD.into()).await.unwrap().status, 200);
}

#[tokio::test]
async fn fcm_speaks_http_1_1_with_a_client_that_asks_for_it_or_offers_nothing() {
    let fcm = crate::fcm::Fixture::start().await;
    let request = "POST /token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\
                   connection: close\r\n\r\n";
    for offered in [&["http/1.1"][..], &[]] {
        let (address, ca_pem) = (fcm.simulator.address(), fcm.simulator.ca_pem());
        let mut stream = tls(address, ca_pem, offered).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("invalid_request"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_refuses() {
    let apns = Fixture::start().await;
    let stranger = SimulatorTls::generate().unwrap();
    assert!(tls(apns.simulator.address(), stranger.ca_pem(), &["h2"]).await.is_err());
}

#[tokio::test]
async fn simulators_may_share_an_authority() {
    let shared = SimulatorTls::generate().unwrap();
    let apns = Fixture::start_with(|config| config.tls = Some(shared.clone())).await;
    assert_eq!(apns.simulator.ca_pem(), shared.ca_pem());
    let client = Client::connect(apns.simulator.address(), shared.ca_pem()).await;
    assert_eq!(client.send(apns.push(&[]), crate::apns::PAYLOAD.into()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let apns = Fixture::start().await;
    let credentials = ApnsCredentials::generate("TEAM000001", "KEY0000001").unwrap();
    let mut config = ApnsSimulatorConfig::new(&credentials, "com.example.app");
    config.listen.address = apns.simulator.address();
    let refused = ApnsSimulator::start(config).await.err().unwrap();
    assert!(
        matches!(refused, SimulatorError::Listen { address, .. } if address == apns.simulator.address())
    );
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let apns =
        Arc::new(Fixture::start_with(|config| config.listen.max_concurrent_streams = 50).await);
    // The client keeps to the stream limit once it has heard of it: after the first answer.
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let apns = Arc::clone(&apns);
        running.spawn(async move { apns.send(apns.push(&[])).await.status });
    }
    let statuses = running.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(apns.simulator.ledger().counts().distinct_identities, 501);
}

#[tokio::test]
async fn stop_closes_connections_and_the_port() {
    let apns = Fixture::start().await;
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    let address = apns.simulator.address();
    apns.simulator.stop().await;
    apns.client.closed().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_a_simulator_ends_it() {
    let apns = Fixture::start().await;
    let request = apns.push(&[]);
    drop(apns.simulator);
    let ended = apns.client.send(request, Bytes::new()).await;
    assert!(ended.is_err());
}
