//! An FCM (HTTP v1) and its OAuth token endpoint, judging as Google documents them.
//!
//! Sources: Firebase "Send a message using FCM HTTP v1", the REST reference of
//! `projects.messages` and `ErrorCode`; Google "Using OAuth 2.0 for server to server applications";
//! answers recorded by senders in public (read 2026-11). Order of judgement: path, bearer token,
//! project, JSON, message, ordered failures, device; inferred.
//!
//! # Not simulated
//!
//! - Limits of collapsible messages, of topics and of their subscriptions.

mod control;
mod device;
mod message;
mod oauth;
mod quota;
mod refusal;
mod schema;
mod service;
mod validate;

use std::net::SocketAddr;
use std::sync::Arc;

pub use control::FcmControl;
pub use device::{FcmDeviceState, FcmFailure};
pub use oauth::ServiceAccount;
pub use quota::FcmQuota;

use crate::transport::{Listener, Server};
use crate::{
    Clock, ConnectionFaults, FcmCredentials, Ledger, LedgerConfig, ListenConfig, SimulatorError,
    SimulatorTls, system_clock,
};
use oauth::TokenEndpoint;
use service::FcmService;

/// What an [`FcmSimulator`] knows and allows.
#[derive(Clone)]
pub struct FcmSimulatorConfig {
    /// Where it listens, and its limits.
    pub listen: ListenConfig,
    /// Its certificate; `None` makes one.
    pub tls: Option<SimulatorTls>,
    /// The Firebase project.
    pub project_id: String,
    /// The account that may send through it.
    pub account: ServiceAccount,
    /// The key of `data` that holds the sender's identity of a message.
    pub identity_key: String,
    /// Token endpoints besides its own that assertions may be made for: some clients know only
    /// `https://oauth2.googleapis.com/token`.
    pub further_audiences: Vec<String>,
    /// How long access tokens live, in seconds.
    pub access_token_ttl_secs: u32,
    /// How many messages it takes.
    pub quota: FcmQuota,
    /// What the ledger remembers.
    pub ledger: LedgerConfig,
    /// How many devices may have a state of their own.
    pub max_device_states: usize,
    /// The wall clock that assertions and access tokens are judged by.
    pub clock: Clock,
}

impl FcmSimulatorConfig {
    /// The project of `credentials`, identities in `data.tidings_id`, and defaults for the rest.
    #[must_use]
    pub fn new(credentials: &FcmCredentials) -> Self {
        Self {
            listen: ListenConfig::default(),
            tls: None,
            project_id: credentials.project_id.clone(),
            account: ServiceAccount::from(credentials),
            identity_key: "tidings_id".to_owned(),
            further_audiences: Vec::new(),
            access_token_ttl_secs: 3_599,
            quota: FcmQuota::default(),
            ledger: LedgerConfig::default(),
            max_device_states: 100_000,
            clock: system_clock(),
        }
    }
}

/// A running FCM simulator. Dropping it aborts its tasks; [`stop`](Self::stop) ends them properly.
pub struct FcmSimulator {
    server: Server,
    tls: SimulatorTls,
    ledger: Arc<Ledger>,
    control: FcmControl,
}

impl FcmSimulator {
    /// Listens and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// [`SimulatorError`] if the address is taken, the account's key is not an RSA public key, or no
    /// certificate could be made.
    pub async fn start(config: FcmSimulatorConfig) -> Result<Self, SimulatorError> {
        let tls = config.tls.map_or_else(SimulatorTls::generate, Ok)?;
        let ledger = Arc::new(Ledger::new(config.ledger, Arc::clone(&config.clock)));
        let listener = Listener::bind(config.listen).await?;
        let port = listener.address().port();
        let own = ["localhost", "127.0.0.1"].map(|host| format!("https://{host}:{port}/token"));
        let audiences = own.into_iter().chain(config.further_audiences).collect();
        let endpoint =
            TokenEndpoint::new(&config.account, audiences, config.access_token_ttl_secs)?;
        let endpoint = Arc::new(endpoint);
        let control = FcmControl::new(
            ConnectionFaults::none(),
            config.max_device_states,
            Arc::clone(&endpoint),
            config.quota,
        );
        let service = FcmService {
            project_id: config.project_id,
            identity_key: config.identity_key,
            endpoint,
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

    /// `https://localhost:<port>`, which its certificate is valid for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }

    /// Where access tokens are had: `token_uri` of a service-account file, `aud` of an assertion.
    /// The same with `127.0.0.1` for the host is taken, too.
    #[must_use]
    pub fn token_uri(&self) -> String {
        format!("{}/token", self.url())
    }

    /// The certificate authority to trust, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.tls.ca_pem()
    }

    /// What it accepted and refused: messages, not requests for access tokens.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The handle that makes it misbehave.
    #[must_use]
    pub fn control(&self) -> &FcmControl {
        &self.control
    }

    /// Sends GOAWAY on every connection, gives them two seconds, and ends all tasks.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
