//! A certificate and its key, which say who sends.

use std::{fmt, sync::Arc};

use p12_keystore::KeyStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tidings_core::clock::Timestamp;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::push::{PushSetupError, SecretText, http2::ClientIdentity};

/// A push certificate from Apple's developer site, with its key. `Debug` does not show the key.
#[derive(Clone)]
pub struct ApnsCertificate {
    identity: Arc<ClientIdentity>,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

impl ApnsCertificate {
    /// Reads a certificate (or a chain, the certificate first) and its key, both PEM; the key as
    /// PKCS #8, PKCS #1 or SEC 1 and not encrypted.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when one of them cannot be read, or the key is of another certificate.
    pub fn from_pem(certificate_pem: &str, key_pem: &SecretText) -> Result<Self, PushSetupError> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect();
        let chain = chain.map_err(|_| PushSetupError::ClientCertificate)?;
        // The parser's own words are dropped: they may quote the key.
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes())
            .map_err(|_| PushSetupError::ClientKey)?;
        Self::new(chain, key)
    }

    /// Reads a `.p12` file, as the keychain of a Mac and OpenSSL write it.
    ///
    /// # Errors
    ///
    /// [`PushSetupError`] when the file cannot be read with this password, or holds no certificate
    /// with its key.
    pub fn from_pkcs12(file: &[u8], password: &SecretText) -> Result<Self, PushSetupError> {
        // The library's own words are dropped: they may quote what it decrypted.
        let store = KeyStore::from_pkcs12(file, password.expose())
            .map_err(|_| PushSetupError::ClientPkcs12)?;
        let (_, entry) = store.private_key_chain().ok_or(PushSetupError::ClientPkcs12)?;
        let chain = entry.chain().iter();
        let chain = chain.map(|it| CertificateDer::from(it.as_der().to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(entry.key().to_vec());
        Self::new(chain, key.into())
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PushSetupError> {
        let first = chain.first().ok_or(PushSetupError::ClientCertificate)?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|_| PushSetupError::ClientCertificate)?;
        let at = |secs: i64| Timestamp::from_millis(secs.saturating_mul(1_000));
        let valid_from = at(parsed.validity().not_before.timestamp());
        let valid_until = at(parsed.validity().not_after.timestamp());
        let identity = Arc::new(ClientIdentity::new(chain, key)?);
        Ok(Self { identity, valid_from, valid_until })
    }

    /// Fails if the certificate says nothing at `now`.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), PushSetupError> {
        if now < self.valid_from {
            Err(PushSetupError::ClientCertificateNotYetValid { from: self.valid_from })
        } else if self.is_expired(now) {
            Err(PushSetupError::ClientCertificateExpired { at: self.valid_until })
        } else {
            Ok(())
        }
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        now > self.valid_until
    }

    pub(super) fn identity(&self) -> &ClientIdentity {
        &self.identity
    }
}

impl fmt::Debug for ApnsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsCertificate")
            .field("valid_from", &self.valid_from)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p12_keystore::{Certificate, KeyStoreEntry, PrivateKeyChain};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair() -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["Apple Push Services".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        (params.self_signed(&key).unwrap(), key)
    }

    fn pem(key: &KeyPair) -> SecretText {
        SecretText::new(key.serialize_pem())
    }

    #[test]
    fn a_certificate_counts_from_its_first_second_to_its_last() {
        let (certificate, key) = pair();
        let read = ApnsCertificate::from_pem(&certificate.pem(), &pem(&key)).unwrap();
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let last: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let second = Duration::from_secs(1);
        assert!(read.check(first).is_ok() && read.check(last).is_ok());
        let early = read.check(first.before(second)).unwrap_err();
        assert_eq!(
            early.to_string(),
            "the client certificate is not valid before 2026-01-01T00:00:00.000Z"
        );
        let late = read.check(last.after(second)).unwrap_err();
        assert_eq!(late.to_string(), "the client certificate expired at 2027-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_key_of_another_certificate_is_told_at_once() {
        let ((certificate, _), (_, other)) = (pair(), pair());
        let error = ApnsCertificate::from_pem(&certificate.pem(), &pem(&other)).unwrap_err();
        assert!(matches!(error, PushSetupError::ClientKeyMismatch), "{error:?}");
    }

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused_without_quoting_it() {
        let (certificate, key) = pair();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        for (certificate, key) in
            [(certificate.as_str(), "x"), ("x", key.as_str()), (&key, &certificate), ("", "")]
        {
            let error = ApnsCertificate::from_pem(certificate, &SecretText::new(key.to_owned()));
            let error = error.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("BEGIN"), "{shown}");
        }
    }

    #[test]
    fn a_p12_file_is_read_with_its_password_and_no_other() {
        let (certificate, key) = pair();
        let chain = [Certificate::from_der(certificate.der()).unwrap()];
        let mut store = KeyStore::new();
        let entry = PrivateKeyChain::new(key.serialize_der(), [1], chain);
        store.add_entry("push", KeyStoreEntry::PrivateKeyChain(entry));
        let file = store.writer("swordfish").write().unwrap();
        let open = |password: &str| {
            ApnsCertificate::from_pkcs12(&file, &SecretText::new(password.to_owned()))
        };
        let read = open("swordfish").unwrap();
        assert_eq!(read.identity().chain(), [certificate.der().clone()]);
        assert!(matches!(open("guess").unwrap_err(), PushSetupError::ClientPkcs12));
        let garbage = ApnsCertificate::from_pkcs12(b"PEM?", &SecretText::new(String::new()));
        assert!(matches!(garbage.unwrap_err(), PushSetupError::ClientPkcs12));
    }
}
