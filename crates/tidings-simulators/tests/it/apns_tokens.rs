//! APNs: provider tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tidings_simulators::ApnsCredentials;
use tidings_simulators::apns::ProviderKey;

use crate::apns::{Fixture, PAYLOAD, assert_refused, jwt};
use crate::client::Client;

async fn with_token(apns: &Fixture, client: &Client, authorization: &str) -> crate::client::Reply {
    let request = apns.push(&[("authorization", authorization)]);
    client.send(request, PAYLOAD.into()).await.unwrap()
}

#[tokio::test]
async fn a_missing_token_is_named() {
    let apns = Fixture::start().await;
    for authorization in ["", "bearer", "basic dXNlcjpwYXNz"] {
        let reply = with_token(&apns, &apns.client, authorization).await;
        assert_refused(&reply, 403, "MissingProviderToken");
    }
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let apns = Fixture::start().await;
    let authorization = format!("Bearer {}", apns.jwt());
    assert_eq!(with_token(&apns, &apns.client, &authorization).await.status, 200);
}

#[tokio::test]
async fn a_token_that_does_not_verify_is_invalid() {
    let apns = Fixture::start().await;
    let stranger = ApnsCredentials::generate("TEAM000001", "KEY0000001").unwrap();
    let mut unknown_key = apns.credentials.clone();
    unknown_key.key_id = "KEY0000009".into();
    let mut other_team = apns.credentials.clone();
    other_team.team_id = "TEAM000009".into();
    let now = apns.clock.now_secs();
    let secret = EncodingKey::from_secret(b"secret");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("KEY0000001".into());
    let claims = json!({ "iss": "TEAM000001", "iat": now });
    let symmetric = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    for token in [
        jwt(&stranger, now),
        jwt(&unknown_key, now),
        jwt(&other_team, now),
        symmetric,
        "not.a.jwt".into(),
        "x".into(),
    ] {
        let reply = with_token(&apns, &apns.client, &format!("bearer {token}")).await;
        assert_refused(&reply, 403, "InvalidProviderToken");
    }
}

#[tokio::test]
async fn a_token_lives_exactly_one_hour() {
    let apns = Fixture::start().await;
    let token = format!("bearer {}", apns.jwt());
    assert_eq!(with_token(&apns, &apns.client, &token).await.status, 200);
    apns.clock.advance_secs(3_600);
    assert_eq!(with_token(&apns, &apns.client, &token).await.status, 200);
    apns.clock.advance_secs(1);
    let known = with_token(&apns, &apns.client, &token).await;
    assert_refused(&known, 403, "ExpiredProviderToken");
    let fresh_connection = apns.connect().await;
    let unknown = with_token(&apns, &fresh_connection, &token).await;
    assert_refused(&unknown, 403, "ExpiredProviderToken");
}

#[tokio::test]
async fn a_token_from_the_future_is_invalid() {
    let apns = Fixture::start().await;
    let token = jwt(&apns.credentials, apns.clock.now_secs() + 1);
    let reply = with_token(&apns, &apns.client, &format!("bearer {token}")).await;
    assert_refused(&reply, 403, "InvalidProviderToken");
}

#[tokio::test]
async fn a_second_new_token_within_20_minutes_is_refused_on_that_connection_only() {
    let apns = Fixture::start().await;
    let first = format!("bearer {}", apns.jwt());
    assert_eq!(with_token(&apns, &apns.client, &first).await.status, 200);
    apns.clock.advance_secs(1_199);
    let second = format!("bearer {}", apns.jwt());
    let reply = with_token(&apns, &apns.client, &second).await;
    assert_refused(&reply, 429, "TooManyProviderTokenUpdates");
    assert_eq!(
        with_token(&apns, &apns.client, &first).await.status,
        200,
        "the old one still works"
    );
    let other = apns.connect().await;
    assert_eq!(with_token(&apns, &other, &second).await.status, 200, "counted per connection");
    apns.clock.advance_secs(1);
    assert_eq!(
        with_token(&apns, &apns.client, &second).await.status,
        200,
        "20 minutes have passed"
    );
}

#[tokio::test]
async fn a_connection_serves_one_team() {
    let second = ApnsCredentials::generate("TEAM000002", "KEY0000002").unwrap();
    let key = ProviderKey::from(&second);
    let apns = Fixture::start_with(|config| config.keys.push(key)).await;
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    let token = format!("bearer {}", jwt(&second, apns.clock.now_secs()));
    let reply = with_token(&apns, &apns.client, &token).await;
    assert_refused(&reply, 403, "InvalidProviderToken");
    let other = apns.connect().await;
    assert_eq!(with_token(&apns, &other, &token).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_began_with_a_team_key_takes_no_topic_key() {
    let second = ApnsCredentials::generate("TEAM000001", "KEY0000002").unwrap();
    let mut key = ProviderKey::from(&second);
    key.topics.push(crate::apns::TOPIC.into());
    let apns = Fixture::start_with(|config| config.keys.push(key)).await;
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    apns.clock.advance_secs(1_200);
    let token = format!("bearer {}", jwt(&second, apns.clock.now_secs()));
    let reply = with_token(&apns, &apns.client, &token).await;
    assert_refused(&reply, 403, "UnrelatedKeyIdInToken");
    let other = apns.connect().await;
    assert_eq!(with_token(&apns, &other, &token).await.status, 200);
}
