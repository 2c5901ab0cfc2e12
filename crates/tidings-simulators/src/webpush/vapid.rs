//! Who sends: VAPID (RFC 8292).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::refusal::Refusal;
use super::subscription;

/// A token may be for 24 hours at most (section 2).
const MAX_LIFE_SECS: i64 = 86_400;

/// Verified tokens that are remembered; when there are more, all are forgotten.
const MAX_REMEMBERED: usize = 1_024;

#[derive(Deserialize)]
struct Claims {
    aud: Audience,
    exp: i64,
    sub: Option<String>,
}

/// A JWT may name one audience or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A sender whose token was good when it was verified.
pub(super) struct Sender {
    /// Its public key, an uncompressed point.
    pub(super) key: Vec<u8>,
    expires_at_secs: i64,
}

/// Verifies tokens for one origin and remembers them, because senders use one for hours.
pub(super) struct Verifier {
    audience: String,
    validation: Validation,
    remembered: Mutex<HashMap<String, Arc<Sender>>>,
}

impl Verifier {
    pub(super) fn new(origin: String) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        // The claims are judged here, one by one, against the simulator's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { audience: origin, validation, remembered: Mutex::default() }
    }

    /// The sender that `Authorization` names; none without that header.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        now_secs: i64,
    ) -> Result<Option<Arc<Sender>>, Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let value = value.to_str().map_err(|_| Refusal::BadVapid("it is not text"))?;
        let sender = match self.find(value) {
            Some(sender) => sender,
            None => self.verify(value, now_secs)?,
        };
        if sender.expires_at_secs <= now_secs {
            return Err(Refusal::BadVapid("exp is in the past"));
        }
        Ok(Some(sender))
    }

    fn find(&self, value: &str) -> Option<Arc<Sender>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(value).cloned()
    }

    fn verify(&self, value: &str, now_secs: i64) -> Result<Arc<Sender>, Refusal> {
        let bad = Refusal::BadVapid;
        let (token, key) = parameters(value)?;
        let key = subscription::point(key).map_err(|_| bad("k is not a key of P-256"))?;
        let verified = jsonwebtoken::decode::<Claims>(
            token,
            &DecodingKey::from_ec_der(&key),
            &self.validation,
        );
        let claims = verified.map_err(|_| bad("the signature or a claim is not right"))?.claims;
        let names_us = match &claims.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Many(list) => list.contains(&self.audience),
        };
        if !names_us {
            return Err(bad("aud is not the origin of the endpoint"));
        }
        if claims.exp > now_secs.saturating_add(MAX_LIFE_SECS) {
            return Err(bad("exp is more than 24 hours away"));
        }
        // The RFC asks for a contact; that one is demanded is Apple's rule.
        let contact = claims.sub.as_deref().unwrap_or_default();
        if !contact.starts_with("mailto:") && !contact.starts_with("https:") {
            return Err(bad("sub is not a mailto: or https: URI"));
        }
        let sender = Arc::new(Sender { key, expires_at_secs: claims.exp });
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(value.to_owned(), Arc::clone(&sender));
        Ok(sender)
    }
}

/// `t` and `k` of `vapid t=…, k=…`.
fn parameters(value: &str) -> Result<(&str, &str), Refusal> {
    let (scheme, list) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("vapid") {
        return Err(Refusal::MissingVapid);
    }
    let (mut token, mut key) = (None, None);
    for parameter in list.split(',') {
        match parameter.trim().split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("t") => token = Some(value),
            Some((name, value)) if name.trim().eq_ignore_ascii_case("k") => key = Some(value),
            _ => {}
        }
    }
    match (token.map(unquoted), key.map(unquoted)) {
        (Some(token), Some(key)) if !token.is_empty() && !key.is_empty() => Ok((token, key)),
        _ => Err(Refusal::BadVapid("t or k is missing")),
    }
}

/// A value may be written as a quoted string.
fn unquoted(value: &str) -> &str {
    value.trim().trim_matches('"')
}
