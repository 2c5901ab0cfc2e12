//! Server API keys: random, shown once, kept as a digest.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::TryRngCore;
use sha2::{Digest, Sha256};

use super::scope::Scope;
use crate::config::ApiKeySection;

/// What every key begins with, so that secret scanners and people recognise one.
const PREFIX: &str = "tdk_";
/// Random bytes of a key. With 256 bits a plain digest needs no salt and no stretching.
const KEY_BYTES: usize = 32;

/// A new key. Shown once, to the person who made it.
pub struct ApiKey(String);

impl ApiKey {
    /// Makes a key from the operating system's random numbers.
    ///
    /// # Errors
    ///
    /// The operating system has none to give.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        let mut bytes = [0; KEY_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What configuration keeps of it: SHA-256 in hex.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A configured key.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
}

/// The configured keys.
#[derive(Debug, Default)]
pub struct ApiKeys(HashMap<[u8; 32], Arc<KnownKey>>);

impl ApiKeys {
    /// The keys of a configuration that has been checked; what is not valid is left out.
    #[must_use]
    pub fn from_config(sections: &[ApiKeySection]) -> Self {
        let keys = sections.iter().filter_map(|section| {
            let scopes = section.scopes.iter().filter_map(|name| Scope::from_name(name)).collect();
            let known = KnownKey { name: section.name.clone(), scopes };
            Some((parse_hex(&section.sha256)?, Arc::new(known)))
        });
        Self(keys.collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `bearer` looks like a key rather than a user's token.
    pub(super) fn is_key(bearer: &str) -> bool {
        bearer.starts_with(PREFIX)
    }

    /// Finds a key. The look-up goes by digest, so its time tells nothing about the key.
    pub(super) fn find(&self, key: &str) -> Option<Arc<KnownKey>> {
        self.0.get(&digest(key)).cloned()
    }
}

fn parse_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_the_digest_that_configuration_keeps() {
        let key = ApiKey::generate().unwrap();
        let section = ApiKeySection {
            name: "backend".into(),
            sha256: key.digest_hex(),
            scopes: vec!["events:write".into()],
        };
        let keys = ApiKeys::from_config(&[section]);
        assert_eq!(keys.find(key.expose()).unwrap().scopes, [Scope::EventsWrite]);
        assert!(keys.find(ApiKey::generate().unwrap().expose()).is_none());
        assert!(!key.digest_hex().contains(&key.expose()[PREFIX.len()..]));
    }
}
