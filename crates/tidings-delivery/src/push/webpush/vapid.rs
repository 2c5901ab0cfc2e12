//! VAPID (RFC 8292): the key that browsers subscribe to, and what is signed with it.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    encoding::{AsBigEndian, EcPrivateKeyBin},
    error::Unspecified,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Serialize;
use tidings_core::clock::Timestamp;

use crate::push::{PushSetupError, SecretText};

/// How long a signature counts; the RFC allows a day.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// It is renewed this long before it ends.
const RENEW_AHEAD: Duration = Duration::from_secs(60 * 60);

/// A clock that was set back by more than this makes a signature from the future.
const MAX_STEP_BACK: Duration = Duration::from_secs(60);

/// The key that an application server is known by. `Debug` does not show it.
///
/// Browsers are given the public half when they subscribe, and their push services then take pushes
/// from the private half only: changing it means that all have to subscribe again.
#[derive(Clone)]
pub struct VapidKey {
    pair: Arc<EcdsaKeyPair>,
    signing: EncodingKey,
}

impl VapidKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`PushSetupError::VapidKey`] if the machine has no random numbers.
    pub fn generate() -> Result<Self, PushSetupError> {
        Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING))
    }

    /// Reads a private key on P-256 in PEM: PKCS #8 or SEC 1, not encrypted.
    ///
    /// # Errors
    ///
    /// [`PushSetupError::VapidKey`] if it is none.
    pub fn from_pem(pem: &SecretText) -> Result<Self, PushSetupError> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes());
        let key = key.map_err(|_| PushSetupError::VapidKey)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        Self::of(EcdsaKeyPair::from_private_key_der(algorithm, key.secret_der()))
    }

    /// Reads the 32 bytes of a private key on P-256 in base64url, as other tools write it.
    ///
    /// # Errors
    ///
    /// [`PushSetupError::VapidKey`] if it is none.
    pub fn from_base64url(text: &SecretText) -> Result<Self, PushSetupError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.expose().trim().trim_end_matches('='));
        let bytes = bytes.map_err(|_| PushSetupError::VapidKey)?;
        let public = PrivateKey::from_private_key(&ECDH_P256, &bytes)
            .and_then(|key| Ok(key.compute_public_key()?))
            .map_err(|_| PushSetupError::VapidKey)?;
        Self::of(EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &bytes,
            public.as_ref(),
        ))
    }

    fn of<E>(pair: Result<EcdsaKeyPair, E>) -> Result<Self, PushSetupError> {
        let pair = pair.map_err(|_| PushSetupError::VapidKey)?;
        let der = pair.to_pkcs8v1().map_err(|Unspecified| PushSetupError::VapidKey)?;
        Ok(Self { pair: Arc::new(pair), signing: EncodingKey::from_ec_der(der.as_ref()) })
    }

    /// The public key in base64url: what `applicationServerKey` is in a browser.
    #[must_use]
    pub fn public_key_base64url(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }

    /// The private key in base64url, as [`from_base64url`](Self::from_base64url) reads it.
    ///
    /// # Errors
    ///
    /// [`PushSetupError::VapidKey`] if the library cannot give it out.
    pub fn private_key_base64url(&self) -> Result<String, PushSetupError> {
        let bytes: EcPrivateKeyBin<'_> = self
            .pair
            .private_key()
            .as_be_bytes()
            .map_err(|Unspecified| PushSetupError::VapidKey)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_ref()))
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VapidKey").field(&self.public_key_base64url()).finish()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    sub: &'a str,
}

/// Who sends: a key, and whom a push service may write to when something is wrong.
pub(super) struct Sender {
    key: VapidKey,
    subject: String,
    public_key: String,
}

/// The credential for one push service.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) authorization: HeaderValue,
    signed_at: Timestamp,
}

impl Credential {
    /// Whether it can still be sent.
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        let is_young = now.since(self.signed_at) < LIFE - RENEW_AHEAD;
        is_young && self.signed_at.since(now) <= MAX_STEP_BACK
    }
}

impl Sender {
    /// Signs once, so that a key that cannot sign shows at once.
    pub(super) fn new(key: VapidKey, subject: &str) -> Result<Self, PushSetupError> {
        let is_mail = subject.strip_prefix("mailto:").is_some_and(|mail| mail.contains('@'));
        if !(is_mail || subject.starts_with("https://")) {
            return Err(PushSetupError::VapidSubject);
        }
        let public_key = key.public_key_base64url();
        let sender = Self { key, subject: subject.to_owned(), public_key };
        sender.sign("https://push.example.com", Timestamp::from_millis(0))?;
        Ok(sender)
    }

    /// The credential for the push service with this origin.
    pub(super) fn sign(&self, origin: &str, now: Timestamp) -> Result<Credential, PushSetupError> {
        let exp = now.after(LIFE).as_secs();
        let claims = Claims { aud: origin, exp, sub: &self.subject };
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key.signing)
            .map_err(|source| PushSetupError::Key { what: "vapid key", source })?;
        let value = HeaderValue::try_from(format!("vapid t={jwt}, k={}", self.public_key));
        let mut authorization = value.map_err(|_| PushSetupError::VapidKey)?;
        authorization.set_sensitive(true);
        Ok(Credential { authorization, signed_at: now })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[test]
    fn a_key_is_written_and_read_again() {
        let key = VapidKey::generate().unwrap();
        let private = key.private_key_base64url().unwrap();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&private).unwrap().len(), 32);
        let public = key.public_key_base64url();
        let point = BASE64_URL_SAFE_NO_PAD.decode(&public).unwrap();
        assert_eq!((point.len(), point[0]), (65, 4));
        let again = VapidKey::from_base64url(&secret(&format!("{private}=\n"))).unwrap();
        assert_eq!(again.public_key_base64url(), public);
        assert!(!format!("{key:?}").contains(&private));
    }

    #[test]
    fn a_key_in_pem_is_read_and_what_is_none_refused() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = VapidKey::from_pem(&secret(&pair.serialize_pem())).unwrap();
        let public = BASE64_URL_SAFE_NO_PAD.decode(key.public_key_base64url()).unwrap();
        assert!(pair.public_key_raw() == public);
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        for bad in [other.serialize_pem(), String::new(), pair.public_key_pem()] {
            assert!(VapidKey::from_pem(&secret(&bad)).is_err());
        }
        for bad in ["", "AAAA", &"A".repeat(43), &"_".repeat(43), "not base64!"] {
            assert!(VapidKey::from_base64url(&secret(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_credential_names_the_service_the_end_and_whom_to_write_to() {
        let key = VapidKey::generate().unwrap();
        let sender = Sender::new(key.clone(), "mailto:ops@example.com").unwrap();
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let signed = sender.sign("https://push.example.com", now).unwrap();
        let value = signed.authorization.to_str().unwrap();
        let (jwt, public) = value.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(public, key.public_key_base64url());
        let point = BASE64_URL_SAFE_NO_PAD.decode(public).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["https://push.example.com"]);
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<serde_json::Value>(
            jwt,
            &DecodingKey::from_ec_der(&point),
            &validation,
        );
        let claims = claims.unwrap().claims;
        assert_eq!(claims["exp"], now.as_secs() + 12 * 3_600);
        assert_eq!(claims["sub"], "mailto:ops@example.com");
    }

    #[test]
    fn a_credential_is_renewed_before_it_ends_and_when_the_clock_was_set_back() {
        let sender = Sender::new(VapidKey::generate().unwrap(), "https://example.com").unwrap();
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let signed = sender.sign("https://push.example.com", now).unwrap();
        let hour = Duration::from_secs(3_600);
        assert!(signed.is_good(now) && signed.is_good(now.after(10 * hour)));
        assert!(!signed.is_good(now.after(11 * hour)));
        assert!(!signed.is_good(now.before(hour)));
    }

    #[test]
    fn nobody_to_write_to_is_a_mistake() {
        for subject in ["", "ops@example.com", "mailto:", "http://example.com"] {
            let sender = Sender::new(VapidKey::generate().unwrap(), subject);
            assert!(matches!(sender.err(), Some(PushSetupError::VapidSubject)), "{subject}");
        }
    }
}
