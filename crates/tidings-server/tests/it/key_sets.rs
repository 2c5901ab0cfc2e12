//! User tokens that are checked with a key set, from a file and from an address.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tidings_core::clock::{Clock, SystemClock};
use tokio::task::JoinSet;

use crate::harness::{Node, PATIENCE, Site};

/// A signing key of an app, with its public half as the app would publish it.
struct SigningKey {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    public_pem: String,
    jwk: Value,
}

impl SigningKey {
    fn es256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y});
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id, algorithm: Algorithm::ES256, key, public_pem: pair.public_key_pem(), jwk }
    }

    fn rs256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let (n, e) = rsa_numbers(pair.public_key_raw());
        let [n, e] = [n, e].map(|part| URL_SAFE_NO_PAD.encode(part));
        let jwk = json!({"kty": "RSA", "kid": id, "n": n, "e": e});
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id, algorithm: Algorithm::RS256, key, public_pem: pair.public_key_pem(), jwk }
    }

    fn token(&self, user: &str) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        jsonwebtoken::encode(&header, &claims(user), &self.key).unwrap()
    }
}

fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": SystemClock.now().as_secs() + 60})
}

/// The two numbers of an `RSAPublicKey` (RFC 8017, appendix A.1.1), which has no others.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    fn take(der: &[u8]) -> (&[u8], &[u8]) {
        let long = usize::from(der[1] & 0x7f);
        let (length, head) = match der[1] {
            short if short < 0x80 => (usize::from(short), 2),
            _ => {
                let bytes = &der[2..2 + long];
                (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), 2 + long)
            }
        };
        der[head..].split_at(length)
    }
    let (sequence, _) = take(der);
    let (n, rest) = take(sequence);
    let (e, _) = take(rest);
    (n.strip_prefix(&[0]).unwrap_or(n), e)
}

fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk.clone()).collect();
    json!({ "keys": keys }).to_string()
}

async fn status(node: Node, token: &str) -> (Node, u16) {
    let node = node.with_bearer(token);
    let status = node.get("/v1/users/me/inbox").await.status;
    (node, status)
}

#[tokio::test]
async fn a_key_set_file_lets_in_what_its_keys_signed() {
    let (ec, rsa) = (SigningKey::es256("ec"), SigningKey::rs256("rsa"));
    let site = Site::new("[auth.tokens]\njwks_file = \"jwks.json\"");
    std::fs::write(site.path().join("jwks.json"), key_set(&[&ec, &rsa])).unwrap();
    let mut node = site.start();
    for (token, expected) in [
        (ec.token("ann"), 200),
        (rsa.token("ann"), 200),
        (SigningKey::es256("ec").token("ann"), 401),
        (SigningKey::es256("unknown").token("ann"), 401),
    ] {
        let answered;
        (node, answered) = status(node, &token).await;
        assert_eq!(answered, expected);
    }
    // Signed with the public key as if it were a shared secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("rsa".to_owned());
    let secret = EncodingKey::from_secret(rsa.public_pem.as_bytes());
    let forged = jsonwebtoken::encode(&header, &claims("ann"), &secret).unwrap();
    assert_eq!(status(node, &forged).await.1, 401);
}

#[tokio::test]
async fn a_key_set_without_a_usable_key_is_refused_at_start() {
    let site = Site::new("[auth.tokens]\njwks_file = \"jwks.json\"");
    std::fs::write(site.path().join("jwks.json"), "{\"keys\": []}").unwrap();
    let message = site.refused();
    assert!(message.contains("no RS256 or ES256 key"), "{message}");
}

#[tokio::test]
async fn a_key_set_address_is_asked_again_when_a_new_key_turns_up() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let published = Arc::new(Mutex::new(key_set(&[&old])));
    let serving = Arc::clone(&published);
    let routes = Router::new().route("/jwks", get(async move || serving.lock().unwrap().clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await });
    let site = Site::new(&format!("[auth.tokens]\njwks_url = \"http://{address}/jwks\""));
    let mut node = site.start();
    for key in [&old, &new] {
        let published_now = key_set(&[&old, key]);
        *published.lock().unwrap() = published_now;
        let token = key.token("ann");
        let accepted = until_accepted(node, &token);
        node = tokio::time::timeout(PATIENCE, accepted).await.unwrap();
    }
}

async fn until_accepted(mut node: Node, token: &str) -> Node {
    loop {
        let answered;
        (node, answered) = status(node, token).await;
        if answered == 200 {
            return node;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
