//! Subscriptions: what a browser would have.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde_json::json;

use super::encryption::{POINT_BYTES, UserAgentKeys};
use crate::SimulatorError;

/// The path of an endpoint, before the subscription's id.
pub(super) const PUSH_PATH: &str = "/push/";

/// A subscription of the browser that the simulator plays.
///
/// Its private key stays here; [`to_json`](Self::to_json) is what a page would send to its backend.
pub struct WebPushSubscription {
    endpoint: String,
    pub(super) keys: UserAgentKeys,
    /// The point that VAPID tokens for it have to be signed with.
    pub(super) restricted_to: Option<Vec<u8>>,
}

impl WebPushSubscription {
    /// Where it is pushed to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `p256dh`: the browser's public key, base64url.
    #[must_use]
    pub fn p256dh(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.keys.public())
    }

    /// `auth`: the secret that authenticates messages, base64url.
    #[must_use]
    pub fn auth(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.keys.auth())
    }

    /// The `PushSubscription` as a browser serializes it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "endpoint": self.endpoint,
            "expirationTime": null,
            "keys": { "p256dh": self.p256dh(), "auth": self.auth() },
        })
    }
}

impl fmt::Debug for WebPushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The endpoint is a capability: who has it may push.
        f.debug_struct("WebPushSubscription").finish_non_exhaustive()
    }
}

/// What a page asks its browser for.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// `applicationServerKey`, base64url: only tokens of this key may push to it.
    pub application_server_key: Option<String>,
    /// The last part of the endpoint, for tests that want to know it; random if there is none.
    pub name: Option<String>,
}

/// All subscriptions, in bounded memory.
pub(super) struct Subscriptions {
    origin: String,
    limit: usize,
    known: RwLock<HashMap<String, Arc<WebPushSubscription>>>,
}

impl Subscriptions {
    pub(super) fn new(origin: String, limit: usize) -> Self {
        Self { origin, limit, known: RwLock::default() }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn add(
        &self,
        options: &SubscribeOptions,
    ) -> Result<Arc<WebPushSubscription>, SimulatorError> {
        let key = options.application_server_key.as_deref().map(point).transpose()?;
        let id = match &options.name {
            Some(name) if is_name(name) => name.clone(),
            Some(_) => return Err(SimulatorError::SubscriptionName),
            None => URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>()),
        };
        let subscription = Arc::new(WebPushSubscription {
            endpoint: format!("{}{PUSH_PATH}{id}", self.origin),
            keys: UserAgentKeys::generate()?,
            restricted_to: key,
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.limit && !known.contains_key(&id) {
            return Err(SimulatorError::TooManySubscriptions { limit: self.limit });
        }
        known.insert(id, Arc::clone(&subscription));
        Ok(subscription)
    }

    /// By the last part of its endpoint.
    pub(super) fn find(&self, id: &str) -> Option<Arc<WebPushSubscription>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// A public key as pages and senders write it.
pub(super) fn point(text: &str) -> Result<Vec<u8>, SimulatorError> {
    let point = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default();
    if point.len() == POINT_BYTES && point[0] == 4 {
        Ok(point)
    } else {
        Err(SimulatorError::ApplicationServerKey)
    }
}

fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
