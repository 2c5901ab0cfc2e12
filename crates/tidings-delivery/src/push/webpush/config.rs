//! Who pushes to browsers, and where to.

use std::time::Duration;

use super::VapidKey;

/// The push services of the large browsers: for [`WebPushConfig::allowed_hosts`].
///
/// Chrome, Edge on Android, Opera, Samsung; Firefox; Edge; Safari.
pub const VENDOR_HOSTS: &[&str] =
    &["googleapis.com", "push.services.mozilla.com", "notify.windows.com", "push.apple.com"];

/// Who pushes to browsers, and where to.
#[derive(Debug, Clone)]
pub struct WebPushConfig {
    /// The key that browsers subscribed to.
    pub vapid_key: VapidKey,
    /// Whom a push service may write to when something is wrong: a `mailto:` or `https:` URL.
    pub subject: String,
    /// Hosts of push services, each with all below it. Any host of the public internet if there are
    /// none: a user's browser then chooses a host that is sent to.
    pub allowed_hosts: Vec<String>,
    /// Whether a simulator on this machine will do. Not for production.
    pub allow_loopback: bool,
    /// Certificates (PEM) to trust besides the system's, for a simulator.
    pub ca_pem: Option<String>,
    /// The longest JSON text, in bytes; longer ones are cut. At most 3,993, which all services have
    /// to take; 2,641 reaches Firefox on Android at its longest.
    pub max_plaintext_bytes: usize,
    /// How long a connection may take to be made, TLS included, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one push may take, waiting for its turn included, in milliseconds.
    pub request_timeout_ms: u64,
    /// Requests under way at a time to one push service, 1 to 65,535. As many connections if the
    /// service does not speak HTTP/2.
    pub requests_per_origin_max: u32,
}

impl WebPushConfig {
    /// Any push service of the public internet, and defaults for the rest.
    #[must_use]
    pub fn new(vapid_key: VapidKey, subject: &str) -> Self {
        Self {
            vapid_key,
            subject: subject.to_owned(),
            allowed_hosts: Vec::new(),
            allow_loopback: false,
            ca_pem: None,
            max_plaintext_bytes: 3_993,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 15_000,
            requests_per_origin_max: 128,
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}
