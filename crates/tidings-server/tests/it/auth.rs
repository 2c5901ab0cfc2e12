//! Who may do what.

use std::time::Duration;

use serde_json::json;
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
};
use tidings_server::{
    auth::{ApiKey, mint_hs256},
    config::TokensSection,
};

use crate::harness::{Site, event};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn tokens() -> TokensSection {
    serde_json::from_value(json!({
        "hs256_secret": SECRET, "jwks_file": "", "jwks_url": "", "issuer": "app",
        "audience": "tidings", "leeway_secs": 0,
    }))
    .unwrap()
}

fn token(tokens: &TokensSection, user: &str, expires_in: Duration) -> String {
    let now = SystemClock.now();
    let issued = now.before(Duration::from_secs(60));
    let expires = if expires_in.is_zero() { issued } else { now.after(expires_in) };
    mint_hs256(tokens, &UserId::new(user).unwrap(), issued, expires).unwrap()
}

fn site() -> (Site, ApiKey) {
    let key = ApiKey::generate().unwrap();
    let site = Site::new(&format!(
        "[auth.tokens]\nhs256_secret = \"{SECRET}\"\nissuer = \"app\"\naudience = \"tidings\"\n\
         [[auth.keys]]\nname = \"backend\"\nsha256 = \"{}\"\nscopes = [\"events:write\", \"inbox:read\"]",
        key.digest_hex()
    ));
    (site, key)
}

#[tokio::test]
async fn without_credentials_nothing_but_health_is_answered() {
    let (site, _) = site();
    let node = site.start();
    node.get("/readyz").await.expect(200);
    for path in
        ["/v1/users/ann/notifications", "/v1/dead-letters", "/metrics", "/v1/users/me/devices"]
    {
        let answer = node.get(path).await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.problem(401).0, "not-authenticated", "{path}");
    }
    let answer = node.post("/v1/events", event("e", &["ann"]).to_string()).await;
    assert_eq!(answer.problem(401).0, "not-authenticated");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let (site, key) = site();
    let node = site.start().with_bearer(key.expose());
    node.post("/v1/events", event("e", &["ann"]).to_string()).await.expect(200);
    node.get("/v1/users/ann/notifications").await.expect(200);
    node.get("/v1/users/me/notifications").await.problem(400);
    assert_eq!(node.get("/v1/users/ann/devices").await.problem(403).0, "not-allowed");
    let node = node.with_bearer(ApiKey::generate().unwrap().expose());
    assert_eq!(node.get("/v1/users/ann/notifications").await.problem(401).0, "not-authenticated");
    assert!(!site.log().contains(key.expose()));
}

#[tokio::test]
async fn a_users_token_opens_that_users_inbox_only() {
    let (site, _) = site();
    let tokens = tokens();
    let node = site.start().with_bearer(&token(&tokens, "ann", Duration::from_secs(60)));
    node.get("/v1/users/me/notifications").await.expect(200);
    node.get("/v1/users/ann/notifications").await.expect(200);
    for edge in ["following/ben", "mutes/ben", "blocks/ben"] {
        node.put(&format!("/v1/users/me/{edge}"), &json!({})).await.expect(200);
        let others = format!("/v1/users/ben/{edge}");
        assert_eq!(node.put(&others, &json!({})).await.problem(403).0, "not-allowed", "{edge}");
    }
    for path in ["/v1/users/ben/blocks", "/v1/users/ben/mutes"] {
        assert_eq!(node.get(path).await.problem(403).0, "not-allowed", "{path}");
    }
    for path in
        ["/v1/users/ben/notifications", "/v1/users/ben/devices", "/v1/dead-letters", "/metrics"]
    {
        assert_eq!(node.get(path).await.problem(403).0, "not-allowed", "{path}");
    }
    let answer = node.post("/v1/events", event("e", &["ann"]).to_string()).await;
    assert_eq!(answer.problem(403).0, "not-allowed");
}

#[tokio::test]
async fn a_token_that_is_not_right_in_every_way_is_refused() {
    let (site, _) = site();
    let mut node = site.start();
    let minute = Duration::from_secs(60);
    let with = |change: fn(&mut serde_json::Value)| {
        let mut section = json!({
            "hs256_secret": SECRET, "jwks_file": "", "jwks_url": "", "issuer": "app",
            "audience": "tidings", "leeway_secs": 0,
        });
        change(&mut section);
        serde_json::from_value::<TokensSection>(section).unwrap()
    };
    let valid = token(&tokens(), "ann", minute);
    let [header, claims, _] = valid.split('.').collect::<Vec<_>>()[..] else { panic!("{valid}") };
    let bad = [
        token(&tokens(), "ann", Duration::ZERO),
        token(
            &with(|it| it["hs256_secret"] = json!("another secret of thirty-two bytes")),
            "ann",
            minute,
        ),
        token(&with(|it| it["issuer"] = json!("other")), "ann", minute),
        token(&with(|it| it["issuer"] = json!("")), "ann", minute),
        token(&with(|it| it["audience"] = json!("other")), "ann", minute),
        token(&with(|it| it["audience"] = json!("")), "ann", minute),
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."),
        format!("{header}.{claims}.AAAA"),
        "user:ann".to_owned(),
        "not a token".to_owned(),
    ];
    for token in bad {
        node = node.with_bearer(&token);
        assert_eq!(
            node.get("/v1/users/me/inbox").await.problem(401).0,
            "not-authenticated",
            "{token}"
        );
    }
    node.with_bearer(&valid).get("/v1/users/me/inbox").await.expect(200);
}

#[tokio::test]
async fn readiness_tells_everyone_what_is_down_and_only_operators_where() {
    let [operator, other] = [(); 2].map(|()| ApiKey::generate().unwrap());
    let key = |name, key: &ApiKey, scope| {
        let digest = key.digest_hex();
        format!("[[auth.keys]]\nname = \"{name}\"\nsha256 = \"{digest}\"\nscopes = [\"{scope}\"]\n")
    };
    let site = Site::new(&format!(
        "{}{}[kafka]\nbrokers = \"localhost:1\"\ntopics = [{{ name = \"secret-topic\" }}]",
        key("operator", &operator, "metrics:read"),
        key("other", &other, "events:write"),
    ));
    let mut node = site.start();
    let whose = [None, Some("nonsense"), Some(other.expose()), Some(operator.expose())];
    for bearer in whose {
        if let Some(bearer) = bearer {
            node = node.with_bearer(bearer);
        }
        let ready = node.get("/readyz").await.expect(200);
        let kafka = ready["parts"].as_array().unwrap().iter().find(|it| it["name"] == "kafka");
        let kafka = kafka.unwrap();
        assert_eq!((&kafka["up"], &kafka["reason"]), (&json!(false), &json!("not-connected")));
        assert!(kafka["costs"].as_str().unwrap().contains("nothing is lost"), "{kafka}");
        let is_operator = bearer == Some(operator.expose());
        assert_eq!(kafka.get("details").is_some(), is_operator, "{kafka}");
        assert_eq!(ready.to_string().contains("not connected"), is_operator, "{ready}");
    }
}
