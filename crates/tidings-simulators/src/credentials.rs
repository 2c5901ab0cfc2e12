//! What a client needs to be let in: made here, never stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData};

use crate::SimulatorError;

/// An APNs signing key, as Apple's developer site hands it out, with the public half that the
/// simulator registers.
#[derive(Clone)]
pub struct ApnsCredentials {
    /// The `.p8` file: an ES256 private key, PKCS#8 PEM.
    pub p8_pem: String,
    /// The public half, SPKI PEM.
    pub public_key_pem: String,
    /// Key id (`kid` of the provider token); Apple's have 10 characters.
    pub key_id: String,
    /// Team id (`iss` of the provider token); Apple's have 10 characters.
    pub team_id: String,
}

impl ApnsCredentials {
    /// Makes a new P-256 key for `team_id`, named `key_id`.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::KeyMaterial`] if the random source fails.
    pub fn generate(team_id: &str, key_id: &str) -> Result<Self, SimulatorError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|source| SimulatorError::KeyMaterial { what: "APNs key", source })?;
        Ok(Self {
            p8_pem: key.serialize_pem(),
            public_key_pem: key.public_key_pem(),
            key_id: key_id.to_owned(),
            team_id: team_id.to_owned(),
        })
    }
}

impl fmt::Debug for ApnsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsCredentials")
            .field("key_id", &self.key_id)
            .field("team_id", &self.team_id)
            .finish_non_exhaustive()
    }
}

/// A Google service account that may send through one Firebase project.
#[derive(Clone)]
pub struct FcmCredentials {
    /// Firebase project id.
    pub project_id: String,
    /// The account's name (`iss` of its assertions).
    pub client_email: String,
    /// Key id (`kid` of its assertions).
    pub private_key_id: String,
    /// RSA-2048 private key, PKCS#8 PEM.
    pub private_key_pem: String,
    /// The public half, SPKI PEM.
    pub public_key_pem: String,
}

impl FcmCredentials {
    /// Makes a service account with a new RSA-2048 key for `project_id`.
    ///
    /// Takes 50 to 500 ms of CPU: call it outside hot paths.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::KeyMaterial`] if the random source fails.
    pub fn generate(project_id: &str) -> Result<Self, SimulatorError> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)
            .map_err(|source| SimulatorError::KeyMaterial { what: "FCM key", source })?;
        Ok(Self {
            project_id: project_id.to_owned(),
            client_email: format!("firebase-adminsdk@{project_id}.iam.gserviceaccount.com"),
            private_key_id: format!("{:032x}", rand::rng().random::<u128>()),
            private_key_pem: key.serialize_pem(),
            public_key_pem: key.public_key_pem(),
        })
    }

    /// The service-account file that a client reads, as Google's console exports it.
    ///
    /// `token_uri` is where the client asks for access tokens:
    /// [`FcmSimulator::token_uri`](crate::FcmSimulator::token_uri).
    #[must_use]
    pub fn service_account_json(&self, token_uri: &str) -> String {
        serde_json::json!({
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": self.private_key_id,
            "private_key": self.private_key_pem,
            "client_email": self.client_email,
            "client_id": "100000000000000000000",
            "token_uri": token_uri,
        })
        .to_string()
    }
}

impl fmt::Debug for FcmCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FcmCredentials")
            .field("project_id", &self.project_id)
            .field("client_email", &self.client_email)
            .finish_non_exhaustive()
    }
}

/// A sender's VAPID key.
#[derive(Clone)]
pub struct VapidCredentials {
    /// P-256 private key, PKCS#8 PEM.
    pub private_key_pem: String,
    /// The public half as browsers and senders write it: the uncompressed point in base64url.
    pub public_key: String,
    /// The private half as `web-push` and its kin write it: 32 bytes in base64url.
    pub private_key: String,
}

impl VapidCredentials {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::KeyMaterial`] if the random source fails.
    pub fn generate() -> Result<Self, SimulatorError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|source| SimulatorError::KeyMaterial { what: "VAPID key", source })?;
        let point = key.der_bytes();
        let der = key.serialize_der();
        Ok(Self {
            private_key_pem: key.serialize_pem(),
            public_key: URL_SAFE_NO_PAD.encode(point),
            private_key: URL_SAFE_NO_PAD.encode(private_scalar(&der)),
        })
    }
}

/// The private number in a P-256 key in PKCS#8: an octet string of 32 bytes, after the version of the
/// inner structure (RFC 5915).
fn private_scalar(der: &[u8]) -> &[u8] {
    const BEFORE: [u8; 5] = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = der.windows(BEFORE.len()).position(|bytes| bytes == BEFORE);
    at.and_then(|at| der.get(at + BEFORE.len()..at + BEFORE.len() + 32)).unwrap_or_default()
}

impl fmt::Debug for VapidCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VapidCredentials")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}
