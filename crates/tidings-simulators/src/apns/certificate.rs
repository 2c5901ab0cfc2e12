//! Certificates of providers: what they may push to, and how the simulator's authority issues them.
//!
//! A certificate from Apple names its topics in extension 1.2.840.113635.100.6.3.6, and its bundle
//! id in the subject, too (`UID`). Extensions .6.3.1 and .6.3.2 mark the sandbox and production.

use std::fmt;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::certificate::X509Certificate;

use super::{ApnsEnvironment, ApnsReason};
use crate::{SimulatorError, SimulatorTls};

const TOPICS: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 6];
const SANDBOX: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 1];
const PRODUCTION: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 2];
/// `UID` of a subject.
const USER_ID: &[u64] = &[0, 9, 2_342, 19_200_300, 100, 1, 1];

const SEQUENCE: u8 = 0x30;
const UTF8_STRING: u8 = 0x0c;
const NULL: [u8; 2] = [0x05, 0x00];

/// What a provider's certificate is to say.
#[derive(Debug, Clone)]
pub struct ApnsCertificateRequest {
    /// The topics; the first is the bundle id.
    pub topics: Vec<String>,
    /// The environment that it is for; `None` is both.
    pub environment: Option<ApnsEnvironment>,
    /// When it ends, in seconds since 1970.
    pub not_after_secs: u64,
}

impl ApnsCertificateRequest {
    /// A certificate for one app in both environments, until 2096.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        let topics = vec![topic.to_owned()];
        Self { topics, environment: None, not_after_secs: 3_976_214_400 }
    }
}

/// A provider's certificate and its key, PEM: what `.p12` files from Apple hold.
#[derive(Clone)]
pub struct ApnsCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub private_key_pem: String,
}

impl ApnsCertificate {
    /// Has a certificate signed by the authority of `tls`, which APNs simulators with the same `tls`
    /// trust.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::KeyMaterial`] if the random source or the library fails.
    pub fn issue(
        tls: &SimulatorTls,
        request: &ApnsCertificateRequest,
    ) -> Result<Self, SimulatorError> {
        let made = |source| SimulatorError::KeyMaterial { what: "APNs certificate", source };
        let bundle = request.topics.first().map(String::as_str).unwrap_or_default();
        let mut params = CertificateParams::default();
        let name = format!("Apple Push Services: {bundle}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::CustomDnType(USER_ID.to_vec()), bundle);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(request.not_after_secs);
        let extension = CustomExtension::from_oid_content;
        params.custom_extensions.push(extension(TOPICS, topics_der(&request.topics)));
        if request.environment != Some(ApnsEnvironment::Production) {
            params.custom_extensions.push(extension(SANDBOX, NULL.to_vec()));
        }
        if request.environment != Some(ApnsEnvironment::Sandbox) {
            params.custom_extensions.push(extension(PRODUCTION, NULL.to_vec()));
        }
        let key = KeyPair::generate().map_err(made)?;
        let certificate = params.signed_by(&key, tls.issuer()).map_err(made)?;
        Ok(Self { certificate_pem: certificate.pem(), private_key_pem: key.serialize_pem() })
    }
}

impl fmt::Debug for ApnsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsCertificate").finish_non_exhaustive()
    }
}

/// Each topic followed by a list of what it is for, as Apple writes it.
fn topics_der(topics: &[String]) -> Vec<u8> {
    let bundle = topics.first().map(String::as_str).unwrap_or_default();
    let list: Vec<u8> = topics
        .iter()
        .flat_map(|topic| {
            let purpose = topic.strip_prefix(bundle).and_then(|rest| rest.strip_prefix('.'));
            let purpose = der(UTF8_STRING, purpose.unwrap_or("app").as_bytes());
            [der(UTF8_STRING, topic.as_bytes()), der(SEQUENCE, &purpose)].concat()
        })
        .collect();
    der(SEQUENCE, &list)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=127) => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            bytes.push(digits.iter().fold(0x80, |count, _| count + 1));
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// What a certificate allows; its signature and dates were judged in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushCertificate {
    pub(super) topics: Vec<String>,
}

impl PushCertificate {
    /// Reads a certificate that is shown to a server of `environment`.
    pub(super) fn read(
        certificate: &CertificateDer<'_>,
        environment: ApnsEnvironment,
    ) -> Result<Self, ApnsReason> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| ApnsReason::BadCertificate)?;
        let extension = |oid: &[u64]| {
            let all = certificate.extensions().iter();
            all.clone().find(|it| it.oid.iter().is_some_and(|arcs| arcs.eq(oid.iter().copied())))
        };
        let (sandbox, production) = (extension(SANDBOX).is_some(), extension(PRODUCTION).is_some());
        let is_for = match environment {
            ApnsEnvironment::Sandbox => sandbox || !production,
            ApnsEnvironment::Production => production || !sandbox,
        };
        if !is_for {
            return Err(ApnsReason::BadCertificateEnvironment);
        }
        let topics = match extension(TOPICS) {
            Some(extension) => topics(extension.value).ok_or(ApnsReason::BadCertificate)?,
            None => Vec::new(),
        };
        if topics.is_empty() { Err(ApnsReason::BadCertificate) } else { Ok(Self { topics }) }
    }
}

/// The strings of the outer list.
fn topics(der: &[u8]) -> Option<Vec<String>> {
    let (_, list) = Any::from_der(der).ok()?;
    if list.tag() != Tag::Sequence {
        return None;
    }
    let mut rest = list.data;
    let mut topics = Vec::new();
    while !rest.is_empty() {
        let (after, entry) = Any::from_der(rest).ok()?;
        if entry.tag() == Tag::Utf8String {
            topics.push(String::from_utf8(entry.data.to_vec()).ok()?);
        }
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::{topics, topics_der};

    #[test]
    fn topics_are_read_as_they_were_written() {
        let bundle = format!("com.example.{}", "a".repeat(120));
        let named =
            vec![bundle.clone(), format!("{bundle}.voip"), format!("{bundle}.complication")];
        assert_eq!(topics(&topics_der(&named)), Some(named));
        assert_eq!(topics(&[0x30, 0x05, 0x0c]), None);
        assert_eq!(topics(b""), None);
    }
}
