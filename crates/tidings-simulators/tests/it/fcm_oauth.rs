//! FCM: the token endpoint.

use serde_json::{Value, json};
use tidings_simulators::FcmCredentials;

use crate::client::Reply;
use crate::fcm::{Fixture, SCOPE, message};

#[track_caller]
fn assert_refused(reply: &Reply, error: &str, description: &str) {
    let body = reply.json();
    assert_eq!(reply.status, 400, "{body}");
    assert_eq!(body["error"], error, "{body}");
    let given = body["error_description"].as_str().unwrap();
    assert!(given.starts_with(description), "{given}");
}

#[tokio::test]
async fn a_correct_assertion_gets_a_bearer_token() {
    let fcm = Fixture::start().await;
    let reply = fcm.ask_for_token(&fcm.sign(&fcm.claims())).await;
    assert_eq!(reply.status, 200);
    let mut body = reply.json();
    let token = body["access_token"].take();
    assert!(token.as_str().unwrap().starts_with("ya29."));
    assert_eq!(body, json!({ "access_token": null, "expires_in": 3599, "token_type": "Bearer" }));
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 1);
}

#[tokio::test]
async fn each_wrong_claim_has_its_error() {
    let fcm = Fixture::start().await;
    let now = fcm.clock.now_secs();
    let timeframe = "Invalid JWT: Token must be a short-lived token (60 minutes)";
    let rows: [(Value, &str, &str); 10] = [
        (
            json!({ "iss": "nobody@example.com" }),
            "invalid_grant",
            "Invalid grant: account not found",
        ),
        (
            json!({ "aud": "https://oauth2.googleapis.com/token" }),
            "invalid_grant",
            "Invalid JWT: Failed audience check.",
        ),
        (json!({ "exp": now + 3_601 }), "invalid_grant", timeframe),
        (json!({ "iat": now + 1, "exp": now + 3_600 }), "invalid_grant", timeframe),
        (json!({ "iat": now - 3_600, "exp": now }), "invalid_grant", timeframe),
        (json!({ "iat": now - 7_200, "exp": now - 3_600 }), "invalid_grant", timeframe),
        (json!({ "iat": null }), "invalid_grant", "Invalid JWT Signature."),
        (json!({ "scope": null }), "invalid_scope", "Empty or missing scope"),
        (json!({ "scope": "" }), "invalid_scope", "Empty or missing scope"),
        (
            json!({ "scope": "https://www.googleapis.com/auth/drive" }),
            "invalid_scope",
            "Invalid OAuth scope",
        ),
    ];
    for (changes, error, description) in rows {
        let mut claims = fcm.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        assert_refused(&fcm.ask_for_token(&fcm.sign(&claims)).await, error, description);
    }
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 0);
}

#[tokio::test]
async fn one_scope_of_several_is_enough() {
    let fcm = Fixture::start().await;
    let mut claims = fcm.claims();
    claims["scope"] = format!("https://www.googleapis.com/auth/drive {SCOPE}").into();
    assert_eq!(fcm.ask_for_token(&fcm.sign(&claims)).await.status, 200);
}

#[tokio::test]
async fn an_assertion_of_another_key_is_refused() {
    let mut fcm = Fixture::start().await;
    let own = fcm.credentials.clone();
    let stranger = FcmCredentials::generate("demo-project").unwrap();
    fcm.credentials.private_key_pem = stranger.private_key_pem;
    let forged = fcm.sign(&fcm.claims());
    assert_refused(&fcm.ask_for_token(&forged).await, "invalid_grant", "Invalid JWT Signature.");
    fcm.credentials = own;
    fcm.credentials.private_key_id = "0123456789abcdef".into();
    let unknown_kid = fcm.sign(&fcm.claims());
    let reply = fcm.ask_for_token(&unknown_kid).await;
    assert_refused(&reply, "invalid_grant", "Invalid JWT Signature.");
    assert_refused(&fcm.ask_for_token("garbage").await, "invalid_grant", "Invalid JWT");
}

#[tokio::test]
async fn the_form_must_name_its_grant() {
    let fcm = Fixture::start().await;
    let other = "grant_type=client_credentials&assertion=x".to_owned();
    assert_refused(&fcm.post_form(other).await, "unsupported_grant_type", "Invalid grant_type");
    assert_refused(&fcm.post_form("assertion=x".into()).await, "invalid_request", "Required");
    let bare = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer".to_owned();
    assert_refused(&fcm.post_form(bare).await, "invalid_request", "Required");
    let request = http::Request::post(fcm.simulator.token_uri()).body(()).unwrap();
    let reply = fcm.client.send(request, "{}".into()).await.unwrap();
    assert_refused(&reply, "invalid_request", "Could not parse");
}

#[tokio::test]
async fn the_token_endpoint_fails_as_ordered_while_sending_goes_on() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    fcm.simulator.control().fail_next_token_requests(1);
    let reply = fcm.ask_for_token(&fcm.sign(&fcm.claims())).await;
    assert_eq!(reply.status, 503);
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    assert_eq!(fcm.ask_for_token(&fcm.sign(&fcm.claims())).await.status, 200);
}

#[tokio::test]
async fn the_service_account_file_has_what_clients_read() {
    let fcm = Fixture::start().await;
    let uri = fcm.simulator.token_uri();
    let file: Value = serde_json::from_str(&fcm.credentials.service_account_json(&uri)).unwrap();
    assert_eq!(file["type"], "service_account");
    assert_eq!(file["token_uri"], uri);
    assert_eq!(file["project_id"], "demo-project");
    assert_eq!(file["client_email"], fcm.credentials.client_email);
    assert!(file["private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[tokio::test]
async fn secrets_stay_out_of_debug_output() {
    let fcm = Fixture::start().await;
    let shown = format!("{:?} {:?}", fcm.credentials, fcm.simulator.control());
    assert!(!shown.contains("PRIVATE KEY"));
}
