//! An APNs that judges pushes as Apple documents it.
//!
//! Sources: Apple developer documentation, "Sending notification requests to APNs", "Handling
//! notification responses from APNs" and "Establishing a token-based connection to APNs" (read
//! 2026-11). Order of judgement: path, method, provider token, headers, payload, ordered failures,
//! device. Apple does not document an order; this one is inferred.
//!
//! Streams: one until the first request with a valid provider token, then as many as configured;
//! one again after a run of errors or when a token is refused ([`StreamTrust`]). What is opened above
//! that gets `REFUSED_STREAM`, also while the client has not heard of the limit. GOAWAY carries
//! Apple's JSON, `{"reason":"Shutdown"}` unless a test names another.
//!
//! Clients authenticate with provider tokens or with a certificate that [`ApnsCertificate::issue`]
//! made; one that is out of date or of another authority fails in the handshake.
//!
//! # Not simulated
//!
//! - Broadcast channels.
//! - Rates: `TooManyRequests` comes only for devices set to it. Apple names no numbers.
//! - Wallet's and location's own rules beyond topics.

mod certificate;
mod connection;
mod control;
mod device;
mod headers;
mod payload;
mod push_type;
mod reason;
mod service;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

pub use certificate::{ApnsCertificate, ApnsCertificateRequest};
pub use connection::StreamTrust;
pub use control::ApnsControl;
pub use device::ApnsDeviceState;
pub use reason::{ApnsFailure, ApnsReason};
pub use token::ProviderKey;

use crate::transport::{Listener, Server};
use crate::{
    ApnsCredentials, Clock, ConnectionFaults, Ledger, LedgerConfig, ListenConfig, SimulatorError,
    SimulatorTls, system_clock,
};
use service::ApnsService;
use token::Verifier;

/// Apple's two worlds: keys, certificates and device tokens belong to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApnsEnvironment {
    /// `api.push.apple.com`.
    Production,
    /// `api.sandbox.push.apple.com`; its answers have an `apns-unique-id`.
    Sandbox,
}

/// What an [`ApnsSimulator`] knows and allows.
#[derive(Clone)]
pub struct ApnsSimulatorConfig {
    /// Where it listens, and its limits.
    pub listen: ListenConfig,
    /// Its certificate; `None` makes one.
    pub tls: Option<SimulatorTls>,
    /// Signing keys that are registered, of any number of teams.
    pub keys: Vec<ProviderKey>,
    /// Bundle ids that may be pushed to; the suffixes of push types are added by the simulator.
    pub topics: Vec<String>,
    /// Which of Apple's worlds it plays.
    pub environment: ApnsEnvironment,
    /// How far connections are trusted.
    pub trust: StreamTrust,
    /// What the ledger remembers.
    pub ledger: LedgerConfig,
    /// How many devices may have a state of their own.
    pub max_device_states: usize,
    /// The wall clock that provider tokens are judged by.
    pub clock: Clock,
}

impl ApnsSimulatorConfig {
    /// One key, one bundle id, and defaults for the rest.
    #[must_use]
    pub fn new(credentials: &ApnsCredentials, topic: &str) -> Self {
        Self {
            listen: ListenConfig::default(),
            tls: None,
            keys: vec![ProviderKey::from(credentials)],
            topics: vec![topic.to_owned()],
            environment: ApnsEnvironment::Production,
            trust: StreamTrust::default(),
            ledger: LedgerConfig::default(),
            max_device_states: 100_000,
            clock: system_clock(),
        }
    }
}

/// A running APNs simulator. Dropping it aborts its tasks; [`stop`](Self::stop) ends them properly.
pub struct ApnsSimulator {
    server: Server,
    tls: SimulatorTls,
    ledger: Arc<Ledger>,
    control: ApnsControl,
}

impl ApnsSimulator {
    /// Listens and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// [`SimulatorError`] if the address is taken, a registered key is not a P-256 public key, or no
    /// certificate could be made.
    pub async fn start(config: ApnsSimulatorConfig) -> Result<Self, SimulatorError> {
        let tls = config.tls.map_or_else(SimulatorTls::generate, Ok)?;
        let ledger = Arc::new(Ledger::new(config.ledger, Arc::clone(&config.clock)));
        let control = ApnsControl::new(
            ConnectionFaults::none(),
            config.max_device_states,
            Arc::clone(&config.clock),
        );
        let service = ApnsService {
            verifier: Verifier::new(&config.keys, config.environment)?,
            topics: config.topics,
            environment: config.environment,
            trust: config.trust,
            control: control.clone(),
            ledger: Arc::clone(&ledger),
            clock: config.clock,
        };
        let listener = Listener::bind(config.listen).await?;
        let server = listener.serve(&tls, control.connections().clone(), service)?;
        Ok(Self { server, tls, ledger, control })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `https://localhost:<port>`, which its certificate is valid for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address().port())
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

    /// The handle that makes it misbehave.
    #[must_use]
    pub fn control(&self) -> &ApnsControl {
        &self.control
    }

    /// Sends GOAWAY on every connection, gives them two seconds, and ends all tasks.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
