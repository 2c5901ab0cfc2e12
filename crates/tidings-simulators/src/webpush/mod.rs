//! A browser and its push service, judging messages as the RFCs say.
//!
//! Sources: RFC 8030 (delivery), RFC 8291 and 8188 (encryption), RFC 8292 (VAPID); answers of push
//! services in use as their senders report them (read 2026-11). It speaks HTTP/2 and HTTP/1.1, as
//! browsers' push services do. [`WebPushControl::subscribe`] plays the browser: it makes the keys and
//! gives what a page would send to its backend. Messages are decrypted, and the ledger has the text.
//!
//! Order of judgement: path, method, subscription, sender, headers, length, decryption, ordered
//! failures, state of the subscription; inferred.
//!
//! # Not simulated
//!
//! - Receipts, deletion of messages, and the browser's own connection: [`WebPushControl::kept_for`]
//!   stands for it.
//! - Rates: 429 comes only for subscriptions set to it. No service publishes numbers.

mod control;
mod device;
mod encryption;
mod headers;
mod refusal;
mod service;
mod subscription;
mod vapid;

use std::net::SocketAddr;
use std::sync::Arc;

pub use control::WebPushControl;
pub use device::{WebPushDeviceState, WebPushFailure};
pub use subscription::{SubscribeOptions, WebPushSubscription};

use crate::transport::{Listener, Server};
use crate::{
    Clock, ConnectionFaults, Ledger, LedgerConfig, ListenConfig, SimulatorError, SimulatorTls,
    system_clock,
};
use service::WebPushService;
use subscription::Subscriptions;
use vapid::Verifier;

/// Whether senders have to name themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VapidRule {
    /// 401 without VAPID, as Google and Apple have it.
    Required,
    /// Only for subscriptions that are restricted to a key, as Mozilla has it.
    WhereRestricted,
}

/// What a [`WebPushSimulator`] knows and allows.
#[derive(Clone)]
pub struct WebPushSimulatorConfig {
    /// Where it listens, and its limits.
    pub listen: ListenConfig,
    /// Its certificate; `None` makes one.
    pub tls: Option<SimulatorTls>,
    /// Whether senders have to name themselves.
    pub vapid: VapidRule,
    /// The longest body, in bytes. 4,096 is what the RFC guarantees; Firefox on Android takes 2,744.
    pub max_body_bytes: usize,
    /// Longer TTLs are shortened to this, in seconds.
    pub max_ttl_secs: u32,
    /// Where in a JSON message the sender's identity of it may stand (JSON pointers).
    pub identity_pointers: Vec<String>,
    /// What the ledger remembers.
    pub ledger: LedgerConfig,
    /// How many subscriptions there may be.
    pub max_subscriptions: usize,
    /// How many of them may have a state of their own.
    pub max_device_states: usize,
    /// The wall clock that VAPID tokens are judged by.
    pub clock: Clock,
}

impl WebPushSimulatorConfig {
    /// VAPID required, identities in `tidings_id` of the message or of its `data`, and defaults for
    /// the rest.
    #[must_use]
    pub fn new() -> Self {
        Self {
            listen: ListenConfig::default(),
            tls: None,
            vapid: VapidRule::Required,
            max_body_bytes: 4_096,
            // Thirty days.
            max_ttl_secs: 2_592_000,
            identity_pointers: ["/tidings_id", "/data/tidings_id", "/tidings/tidings_id"]
                .map(str::to_owned)
                .to_vec(),
            ledger: LedgerConfig::default(),
            max_subscriptions: 100_000,
            max_device_states: 100_000,
            clock: system_clock(),
        }
    }
}

impl Default for WebPushSimulatorConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A running Web Push simulator. Dropping it aborts its tasks; [`stop`](Self::stop) ends them
/// properly.
pub struct WebPushSimulator {
    server: Server,
    tls: SimulatorTls,
    ledger: Arc<Ledger>,
    control: WebPushControl,
}

impl WebPushSimulator {
    /// Listens and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// [`SimulatorError`] if the address is taken or no certificate could be made.
    pub async fn start(config: WebPushSimulatorConfig) -> Result<Self, SimulatorError> {
        let tls = config.tls.map_or_else(SimulatorTls::generate, Ok)?;
        let ledger = Arc::new(Ledger::new(config.ledger, Arc::clone(&config.clock)));
        let listener = Listener::bind(config.listen).await?;
        let origin = format!("https://localhost:{}", listener.address().port());
        let control = WebPushControl::new(
            ConnectionFaults::none(),
            Subscriptions::new(origin.clone(), config.max_subscriptions),
            config.max_device_states,
            Arc::clone(&config.clock),
        );
        let service = WebPushService {
            verifier: Verifier::new(origin),
            vapid: config.vapid,
            max_body_bytes: config.max_body_bytes,
            max_ttl_secs: config.max_ttl_secs,
            identity_pointers: config.identity_pointers,
            control: control.clone(),
            ledger: Arc::clone(&ledger),
            clock: config.clock,
        };
        let server = listener.serve(&tls, control.connections().clone(), service)?;
        Ok(Self { server, tls, ledger, control })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `https://localhost:<port>`, which its certificate is valid for, and the origin of its
    /// endpoints.
    #[must_use]
    pub fn url(&self) -> String {
        self.control.subscriptions().origin().to_owned()
    }

    /// The certificate authority to trust, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.tls.ca_pem()
    }

    /// What it accepted and refused.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The handle that makes it misbehave, and that subscribes.
    #[must_use]
    pub fn control(&self) -> &WebPushControl {
        &self.control
    }

    /// Ends connections politely, gives them two seconds, and ends all tasks.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
