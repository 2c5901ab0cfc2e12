//! Key sets (JWKS, RFC 7517), from a file or an address.

use std::{
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often a key set is fetched again without a reason.
const REFRESH_EVERY: Duration = Duration::from_secs(15 * 60);
/// How soon after a fetch an unknown key may cause the next: strangers can name any key.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest key set that is read, in bytes.
const MAX_JWKS_BYTES: usize = 1 << 20;

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The file cannot be read.
    #[error("the key set {path} cannot be read")]
    File {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The address does not answer with a key set.
    #[error("the key set could not be fetched from auth.tokens.jwks_url")]
    Fetch(#[source] reqwest::Error),
    /// The answer is longer than any key set.
    #[error("the key set has more than {MAX_JWKS_BYTES} bytes")]
    TooLong,
    /// The text is not a key set.
    #[error("the key set is not JSON of the form {{\"keys\": […]}}")]
    Malformed(#[source] serde_json::Error),
    /// No key of the set can check a token.
    #[error("the key set has no RS256 or ES256 key")]
    Empty,
}

/// A key and the one algorithm it is used with.
#[derive(Clone)]
pub(super) struct FoundKey {
    pub(super) key: Arc<DecodingKey>,
    pub(super) algorithm: Algorithm,
}

/// The usable keys of a set.
#[derive(Default)]
pub struct KeySet(Vec<(Option<String>, FoundKey)>);

impl KeySet {
    /// Reads a key set. Keys of other kinds are left out.
    ///
    /// # Errors
    ///
    /// [`JwksError::Malformed`], [`JwksError::Empty`].
    pub fn from_json(json: &[u8]) -> Result<Self, JwksError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(JwksError::Malformed)?;
        let usable: Vec<_> = set.keys.iter().filter_map(usable_key).collect();
        if usable.is_empty() { Err(JwksError::Empty) } else { Ok(Self(usable)) }
    }

    /// Reads a key set from a file.
    ///
    /// # Errors
    ///
    /// [`JwksError::File`], and those of [`Self::from_json`].
    pub fn from_file(path: &Path) -> Result<Self, JwksError> {
        let json = std::fs::read(path)
            .map_err(|source| JwksError::File { path: path.display().to_string(), source })?;
        Self::from_json(&json)
    }

    /// The key that a token names; a token that names none gets the only one there is.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<FoundKey> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => {
                keys.iter().find(|(known, _)| known.as_deref() == Some(kid)).map(|(_, key)| key)
            }
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
        }
        .cloned()
    }
}

fn usable_key(jwk: &Jwk) -> Option<(Option<String>, FoundKey)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        _ => return None,
    };
    let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
    Some((jwk.common.key_id.clone(), FoundKey { key, algorithm }))
}

/// Keeps a key set up to date from an address.
pub struct JwksRefresher {
    url: String,
    http: reqwest::Client,
    keys: Arc<RwLock<KeySet>>,
    missing: Notify,
}

impl JwksRefresher {
    /// A refresher of `keys`; the first fetch is [`Self::fetch`] or the start of [`Self::run`].
    ///
    /// # Errors
    ///
    /// [`JwksError::Fetch`] if no HTTP client can be made.
    pub fn new(url: String, keys: Arc<RwLock<KeySet>>) -> Result<Self, JwksError> {
        let http = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(JwksError::Fetch)?;
        Ok(Self { url, http, keys, missing: Notify::new() })
    }

    /// Says that a token named a key that is not in the set.
    pub(super) fn key_is_missing(&self) {
        self.missing.notify_one();
    }

    /// Fetches the set once. The old one stays when that fails.
    ///
    /// # Errors
    ///
    /// [`JwksError`].
    pub async fn fetch(&self) -> Result<(), JwksError> {
        let answer = self.http.get(&self.url).send().await.map_err(JwksError::Fetch)?;
        let mut answer = answer.error_for_status().map_err(JwksError::Fetch)?;
        let mut json = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(JwksError::Fetch)? {
            json.extend_from_slice(&piece);
            if json.len() > MAX_JWKS_BYTES {
                return Err(JwksError::TooLong);
            }
        }
        let fresh = KeySet::from_json(&json)?;
        *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Fetches the set every quarter of an hour, and soon after a key was found missing, until
    /// `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.fetch().await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "user tokens are checked with the keys known so far");
            }
            let pause = async {
                tokio::time::sleep(REFRESH_AT_MOST_EVERY).await;
                let rest = REFRESH_EVERY.saturating_sub(REFRESH_AT_MOST_EVERY);
                // Either way it is time for the next fetch.
                let _woken = tokio::time::timeout(rest, self.missing.notified()).await.is_ok();
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
        }
    }
}
