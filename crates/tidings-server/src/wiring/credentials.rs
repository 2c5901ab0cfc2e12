//! The credentials that a node pushes with: read, and read again while it runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use tidings_core::{clock::Clock, device::Platform, ports::PushProvider};
use tidings_delivery::{
    dispatcher::{BreakerConfig, BrowserVendor, Lane, LaneLimits, LaneScope, PushLanes},
    push::{
        ApnsAuth, ApnsCertificate, ApnsClient, ApnsConfig, ConnectionConfig, FcmClient, FcmConfig,
        SecretText, VapidKey, WebPushClient, WebPushConfig,
    },
};

use crate::config::{ApnsSection, FcmSection, PushSection, WebPushSection};

/// The credentials of a node, and a lane for each.
pub(crate) struct Credentials {
    lanes: Arc<PushLanes>,
    clock: Arc<dyn Clock>,
    current: Mutex<Vec<Setup>>,
}

/// A credential as it was read, and its lanes.
struct Setup {
    /// Of everything that it was made of.
    digest: [u8; 32],
    lanes: Vec<Arc<Lane>>,
}

impl Credentials {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { lanes: Arc::default(), clock, current: Mutex::default() }
    }

    pub(super) fn lanes(&self) -> Arc<PushLanes> {
        Arc::clone(&self.lanes)
    }

    /// Reads all credentials and their files. One that is as before keeps its connections and what is
    /// known of its push service. Says how many are new or changed.
    ///
    /// # Errors
    ///
    /// The first that cannot be set up; then everything stays as it was.
    pub(crate) fn read(&self, section: &PushSection) -> anyhow::Result<usize> {
        let apns = section.all_apns().into_iter().map(|(at, it)| (at, Credential::Apns(it)));
        let fcm = section.all_fcm().into_iter().map(|(at, it)| (at, Credential::Fcm(it)));
        let webpush = section.all_webpush().into_iter();
        let webpush = webpush.map(|(at, it)| (at, Credential::WebPush(it)));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut setups, mut changed) = (Vec::new(), 0);
        for (option, credential) in apns.chain(fcm).chain(webpush) {
            let failed = || format!("{option} cannot be set up");
            let files = credential.read_files().with_context(failed)?;
            let digest = digest(&credential, &files, section);
            if let Some(old) = current.iter().find(|setup| setup.digest == digest) {
                setups.push(Setup { digest, lanes: old.lanes.clone() });
                continue;
            }
            let client = credential.client(&files, section, &self.clock).with_context(failed)?;
            setups.push(Setup { digest, lanes: credential.lanes(&client, section) });
            changed += 1;
        }
        self.lanes.replace(setups.iter().flat_map(|setup| setup.lanes.iter().cloned()).collect());
        *current = setups;
        Ok(changed)
    }
}

/// Of everything that a credential is made of, secrets included; nothing can be read from it.
fn digest(credential: &Credential<'_>, files: &Files, section: &PushSection) -> [u8; 32] {
    let mut digest = Sha256::new();
    let PushSection { concurrency, request_timeout_ms, breaker, .. } = section;
    digest.update(format!("{credential:?} {concurrency} {request_timeout_ms} {breaker:?}"));
    if let Credential::Apns(it) = credential {
        digest.update(it.certificate_password.expose());
    }
    for content in files.0.iter().flatten() {
        digest.update(content.len().to_le_bytes());
        digest.update(content);
    }
    digest.finalize().into()
}

/// A credential in the configuration.
#[derive(Debug, Clone, Copy)]
enum Credential<'a> {
    Apns(&'a ApnsSection),
    Fcm(&'a FcmSection),
    WebPush(&'a WebPushSection),
}

/// What the files of a credential hold, in their order; nothing for those that are not set.
struct Files([Option<Vec<u8>>; 3]);

impl Files {
    /// The text of a file that is set.
    fn text(&self, index: usize) -> anyhow::Result<Option<String>> {
        let content = self.0.get(index).and_then(Option::as_ref);
        let text = content.map(|it| String::from_utf8(it.clone())).transpose();
        // The cause would show what the file holds.
        text.map_err(|_| anyhow::anyhow!("a file of the credential is not text"))
    }

    fn bytes(&self, index: usize) -> &[u8] {
        self.0.get(index).and_then(Option::as_deref).unwrap_or_default()
    }

    fn secret(&self, index: usize) -> anyhow::Result<SecretText> {
        Ok(SecretText::new(self.text(index)?.unwrap_or_default()))
    }
}

impl Credential<'_> {
    fn read_files(&self) -> anyhow::Result<Files> {
        let none = PathBuf::new();
        let paths = match self {
            Self::Apns(it) if it.certificate_file.as_os_str().is_empty() => {
                [&it.ca_file, &it.key_file, &none]
            }
            Self::Apns(it) => [&it.ca_file, &it.certificate_file, &it.certificate_key_file],
            Self::Fcm(it) => [&it.ca_file, &it.service_account_file, &none],
            Self::WebPush(it) => [&it.ca_file, &it.key_file, &none],
        };
        let mut files = Files([None, None, None]);
        for (path, file) in paths.into_iter().zip(&mut files.0) {
            *file = read_if_set(path)?;
        }
        Ok(files)
    }

    fn client(
        &self,
        files: &Files,
        section: &PushSection,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Arc<dyn PushProvider>> {
        let connection = |connections_max| ConnectionConfig {
            request_timeout_ms: section.request_timeout_ms,
            connections_max,
            ..ConnectionConfig::default()
        };
        let clock = Arc::clone(clock);
        Ok(match self {
            Self::Apns(it) => {
                let mut config = ApnsConfig::new(apns_auth(it, files)?);
                config.environment = it.environment;
                config.endpoint = Some(it.endpoint.clone()).filter(|it| !it.is_empty());
                config.ca_pem = files.text(0)?;
                config.outage_wait_ms = it.outage_wait_ms;
                config.connection = connection(it.connections);
                Arc::new(ApnsClient::new(config, clock)?)
            }
            Self::Fcm(it) => {
                let mut config = FcmConfig::new(files.secret(1)?);
                if !it.endpoint.is_empty() {
                    config.endpoint.clone_from(&it.endpoint);
                }
                config.ca_pem = files.text(0)?;
                config.connection = connection(it.connections);
                Arc::new(FcmClient::new(config, clock)?)
            }
            Self::WebPush(it) => {
                let key = vapid_key(files)?;
                let mut config = WebPushConfig::new(key, &it.subject);
                config.allowed_hosts.clone_from(&it.hosts);
                config.allow_loopback = it.allow_loopback;
                config.ca_pem = files.text(0)?;
                config.max_plaintext_bytes = it.payload_bytes;
                config.request_timeout_ms = section.request_timeout_ms;
                Arc::new(WebPushClient::new(config, clock)?)
            }
        })
    }

    fn lanes(&self, client: &Arc<dyn PushProvider>, section: &PushSection) -> Vec<Arc<Lane>> {
        let breaker = BreakerConfig {
            failures: section.breaker.failures,
            window: section.breaker.window,
            open_base: Duration::from_millis(section.breaker.open_base_ms),
            open_cap: Duration::from_millis(section.breaker.open_cap_ms),
            ..BreakerConfig::default()
        };
        let limits =
            LaneLimits { concurrency: section.concurrency, breaker, ..LaneLimits::default() };
        let lane = |name: &str, scope, limits| {
            Arc::new(Lane::new(name, scope, Arc::clone(client), limits))
        };
        match self {
            Self::Apns(it) => {
                let (apps, environment) = (it.apps.clone(), it.environment);
                let scope = LaneScope { apps, environment, ..LaneScope::all(Platform::Apns) };
                vec![lane(&it.name, scope, limits)]
            }
            Self::Fcm(it) => {
                let scope = LaneScope { apps: it.apps.clone(), ..LaneScope::all(Platform::Fcm) };
                let per_s = Some((it.per_minute / 60).max(1));
                let ramp = Duration::from_millis(it.ramp_ms);
                vec![lane(&it.name, scope, LaneLimits { per_s, ramp, ..limits })]
            }
            Self::WebPush(it) => {
                let lanes = BrowserVendor::ALL.into_iter().map(|vendor| {
                    let (apps, vendor_only) = (it.apps.clone(), Some(vendor));
                    let all = LaneScope::all(Platform::WebPush);
                    let scope = LaneScope { apps, vendor: vendor_only, ..all };
                    let name = format!("{}/{}", it.name, vendor.as_str());
                    lane(&name, scope, limits.clone())
                });
                lanes.collect()
            }
        }
    }
}

fn apns_auth(section: &ApnsSection, files: &Files) -> anyhow::Result<ApnsAuth> {
    if section.certificate_file.as_os_str().is_empty() {
        let (key_id, team_id) = (section.key_id.clone(), section.team_id.clone());
        return Ok(ApnsAuth::Token { key_pem: files.secret(1)?, key_id, team_id });
    }
    let is_pem = files.bytes(1).starts_with(b"-----BEGIN ") || files.0[2].is_some();
    let certificate = if is_pem {
        let pem = files.text(1)?.unwrap_or_default();
        // Without a file of its own the key stands beside the certificate.
        let key = if files.0[2].is_some() { 2 } else { 1 };
        ApnsCertificate::from_pem(&pem, &files.secret(key)?)?
    } else {
        let password = SecretText::new(section.certificate_password.expose().to_owned());
        ApnsCertificate::from_pkcs12(files.bytes(1), &password)?
    };
    Ok(ApnsAuth::Certificate(certificate))
}

/// PEM, or base64url as `tidings keys vapid` and others write it.
fn vapid_key(files: &Files) -> anyhow::Result<VapidKey> {
    let text = files.text(1)?.unwrap_or_default();
    let secret = SecretText::new(text.trim().to_owned());
    let is_pem = text.trim_start().starts_with("-----BEGIN ");
    Ok(if is_pem { VapidKey::from_pem(&secret)? } else { VapidKey::from_base64url(&secret)? })
}

fn read_if_set(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let content = std::fs::read(path);
    content.map(Some).with_context(|| format!("{} cannot be read", path.display()))
}
