//! Push services. What each option means stands in `config/tidings.default.toml`.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings_core::{device::Environment, retry::RetryPolicy};
use tidings_delivery::dispatcher::DispatcherConfig;

use super::{check::Problems, secret::Secret};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSection {
    pub devices_per_user_max: u64,
    pub concurrency: usize,
    pub lease_ms: u64,
    pub request_timeout_ms: u64,
    pub retry: RetryPolicy,
    pub breaker: BreakerSection,
    pub apns: ApnsSection,
    pub fcm: FcmSection,
    pub webpush: WebPushSection,
    pub apps: PushAppsSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerSection {
    pub failures: u32,
    pub window: u32,
    pub open_base_ms: u64,
    pub open_cap_ms: u64,
}

/// Further credentials beside those of `push.apns`, `push.fcm` and `push.webpush`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PushAppsSection {
    pub apns: Vec<ApnsSection>,
    pub fcm: Vec<FcmSection>,
    pub webpush: Vec<WebPushSection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApnsSection {
    pub name: String,
    pub apps: BTreeSet<String>,
    pub environment: Environment,
    pub key_file: PathBuf,
    pub key_id: String,
    pub team_id: String,
    pub certificate_file: PathBuf,
    pub certificate_key_file: PathBuf,
    pub certificate_password: Secret,
    pub endpoint: String,
    pub ca_file: PathBuf,
    pub connections: u32,
    pub outage_wait_ms: u64,
}

impl Default for ApnsSection {
    fn default() -> Self {
        Self {
            name: "apns".to_owned(),
            apps: BTreeSet::new(),
            environment: Environment::Production,
            key_file: PathBuf::new(),
            key_id: String::new(),
            team_id: String::new(),
            certificate_file: PathBuf::new(),
            certificate_key_file: PathBuf::new(),
            certificate_password: Secret::default(),
            endpoint: String::new(),
            ca_file: PathBuf::new(),
            connections: 4,
            outage_wait_ms: 900_000,
        }
    }
}

impl ApnsSection {
    /// Whether it has anything to send with.
    #[must_use]
    pub fn is_set(&self) -> bool {
        is_set(&self.key_file) || is_set(&self.certificate_file)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FcmSection {
    pub name: String,
    pub apps: BTreeSet<String>,
    pub service_account_file: PathBuf,
    pub endpoint: String,
    pub ca_file: PathBuf,
    pub connections: u32,
    pub per_minute: u32,
    pub ramp_ms: u64,
}

impl Default for FcmSection {
    fn default() -> Self {
        Self {
            name: "fcm".to_owned(),
            apps: BTreeSet::new(),
            service_account_file: PathBuf::new(),
            endpoint: String::new(),
            ca_file: PathBuf::new(),
            connections: 4,
            per_minute: 600_000,
            ramp_ms: 60_000,
        }
    }
}

impl FcmSection {
    /// Whether it has anything to send with.
    #[must_use]
    pub fn is_set(&self) -> bool {
        is_set(&self.service_account_file)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebPushSection {
    pub name: String,
    pub apps: BTreeSet<String>,
    pub key_file: PathBuf,
    pub subject: String,
    pub hosts: Vec<String>,
    pub allow_loopback: bool,
    pub ca_file: PathBuf,
    pub payload_bytes: usize,
}

impl Default for WebPushSection {
    fn default() -> Self {
        Self {
            name: "webpush".to_owned(),
            apps: BTreeSet::new(),
            key_file: PathBuf::new(),
            subject: String::new(),
            hosts: Vec::new(),
            allow_loopback: false,
            ca_file: PathBuf::new(),
            payload_bytes: 3_993,
        }
    }
}

impl WebPushSection {
    /// Whether it has anything to send with.
    #[must_use]
    pub fn is_set(&self) -> bool {
        is_set(&self.key_file)
    }
}

impl PushSection {
    /// All APNs credentials that are set, with the option that each stands in.
    #[must_use]
    pub fn all_apns(&self) -> Vec<(String, &ApnsSection)> {
        set("apns", &self.apns, &self.apps.apns, ApnsSection::is_set)
    }

    /// All FCM projects that are set, with the option that each stands in.
    #[must_use]
    pub fn all_fcm(&self) -> Vec<(String, &FcmSection)> {
        set("fcm", &self.fcm, &self.apps.fcm, FcmSection::is_set)
    }

    /// All VAPID keys that are set, with the option that each stands in.
    #[must_use]
    pub fn all_webpush(&self) -> Vec<(String, &WebPushSection)> {
        set("webpush", &self.webpush, &self.apps.webpush, WebPushSection::is_set)
    }
}

/// The first, if it is set, and the others whether they are or not: who writes an entry means it.
fn set<'a, T>(
    kind: &str,
    first: &'a T,
    others: &'a [T],
    is_set: fn(&T) -> bool,
) -> Vec<(String, &'a T)> {
    let first = is_set(first).then(|| (format!("push.{kind}"), first));
    let others = others.iter().enumerate();
    let others = others.map(|(index, it)| (format!("push.apps.{kind}[{index}]"), it));
    first.into_iter().chain(others).collect()
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

pub(super) fn check(push: &PushSection, problems: &mut Problems) {
    problems.range("push.devices_per_user_max", push.devices_per_user_max, 1..=1_000_000);
    problems.range("push.concurrency", push.concurrency, 1..=100_000);
    problems.range("push.lease_ms", push.lease_ms, 1_000..=3_600_000);
    problems.range("push.request_timeout_ms", push.request_timeout_ms, 100..=60_000);
    problems.range("push.retry.max_attempts", push.retry.max_attempts, 1..=1_000);
    let least = DispatcherConfig::least_lease(Duration::from_millis(push.request_timeout_ms));
    if Duration::from_millis(push.lease_ms) < least {
        problems.add(
            "push.lease_ms",
            format!(
                "is {}, and has to be at least {} with a push.request_timeout_ms of {}: a push \
                 waits for its turn, is sent and settled under one lease",
                push.lease_ms,
                least.as_millis(),
                push.request_timeout_ms
            ),
        );
    }
    let breaker = &push.breaker;
    problems.range("push.breaker.window", breaker.window, 1..=64);
    problems.range("push.breaker.failures", breaker.failures, 1..=breaker.window.max(1));
    problems.range("push.breaker.open_base_ms", breaker.open_base_ms, 100..=3_600_000);
    let cap = breaker.open_base_ms..=3_600_000;
    problems.range("push.breaker.open_cap_ms", breaker.open_cap_ms, cap);
    for (option, apns) in push.all_apns() {
        check_apns(&option, apns, problems);
    }
    for (option, fcm) in push.all_fcm() {
        check_fcm(&option, fcm, problems);
    }
    for (option, webpush) in push.all_webpush() {
        check_webpush(&option, webpush, problems);
    }
    check_names(push, problems);
}

fn check_apns(option: &str, apns: &ApnsSection, problems: &mut Problems) {
    let of = |name| format!("{option}.{name}");
    let (by_key, by_certificate) = (is_set(&apns.key_file), is_set(&apns.certificate_file));
    if by_key == by_certificate {
        let problem = "set either key_file, or certificate_file";
        problems.add(&of("key_file"), problem);
    }
    for (name, value) in [("key_id", &apns.key_id), ("team_id", &apns.team_id)] {
        if by_key && value.len() != 10 {
            problems.add(&of(name), "has 10 characters, as shown in your Apple developer account");
        }
    }
    check_endpoint(&of("endpoint"), &apns.endpoint, problems);
    problems.range(&of("connections"), apns.connections, 1..=64);
    problems.range(&of("outage_wait_ms"), apns.outage_wait_ms, 0..=86_400_000);
}

fn check_fcm(option: &str, fcm: &FcmSection, problems: &mut Problems) {
    let of = |name| format!("{option}.{name}");
    if !fcm.is_set() {
        problems.add(&of("service_account_file"), "is empty");
    }
    check_endpoint(&of("endpoint"), &fcm.endpoint, problems);
    problems.range(&of("connections"), fcm.connections, 1..=64);
    problems.range(&of("per_minute"), fcm.per_minute, 60..=600_000_000);
    problems.range(&of("ramp_ms"), fcm.ramp_ms, 0..=3_600_000);
}

fn check_webpush(option: &str, webpush: &WebPushSection, problems: &mut Problems) {
    let of = |name| format!("{option}.{name}");
    if !webpush.is_set() {
        problems.add(&of("key_file"), "is empty; `tidings keys vapid` makes a key");
    }
    if !["mailto:", "https://"].iter().any(|it| webpush.subject.starts_with(it)) {
        let problem = "has to be how push services reach you: mailto:… or https://…";
        problems.add(&of("subject"), problem);
    }
    problems.range(&of("payload_bytes"), webpush.payload_bytes, 512..=3_993);
}

fn check_endpoint(option: &str, endpoint: &str, problems: &mut Problems) {
    if !endpoint.is_empty() && !endpoint.starts_with("https://") {
        problems.add(option, "has to begin with https://");
    }
}

/// Names tell credentials apart in metrics and the log, and no device may have two of them.
fn check_names(push: &PushSection, problems: &mut Problems) {
    let apns = push.all_apns().into_iter();
    let apns = apns.map(|(at, it)| (at, &it.name, &it.apps, it.environment.as_str()));
    let fcm = push.all_fcm().into_iter().map(|(at, it)| (at, &it.name, &it.apps, "fcm"));
    let webpush = push.all_webpush().into_iter();
    let webpush = webpush.map(|(at, it)| (at, &it.name, &it.apps, "webpush"));
    let (mut names, mut scopes) = (HashSet::new(), HashSet::new());
    for (option, name, apps, kind) in apns.chain(fcm).chain(webpush) {
        if name.is_empty() || name.len() > 64 {
            problems.add(&format!("{option}.name"), "has 1 to 64 characters");
        }
        if !names.insert(name) {
            let problem = format!("is {name:?}, as that of another credential");
            problems.add(&format!("{option}.name"), problem);
        }
        let all = BTreeSet::from([String::new()]);
        for app in if apps.is_empty() { &all } else { apps } {
            if !scopes.insert((kind, app.clone())) {
                let problem = match app.as_str() {
                    "" => {
                        "is empty, as that of another credential: one of them has to name its apps"
                            .to_owned()
                    }
                    app => format!("names {app:?}, as another credential does"),
                };
                problems.add(&format!("{option}.apps"), problem);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::DEFAULT_TOML, *};
    use crate::config::Config;

    #[test]
    fn an_entry_of_a_list_has_the_defaults_of_its_section() {
        let defaults: Config = toml::from_str(DEFAULT_TOML).unwrap();
        assert_eq!(defaults.push.apns, ApnsSection::default());
        assert_eq!(defaults.push.fcm, FcmSection::default());
        assert_eq!(defaults.push.webpush, WebPushSection::default());
    }
}
