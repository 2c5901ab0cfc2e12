//! The simulator behind the orders.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_simulators::{
    ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, ConnectionFaults, FcmCredentials,
    FcmSimulator, FcmSimulatorConfig, GoAwayForm, Ledger, LedgerConfig, ListenConfig, SimulatorTls,
    apns::{ApnsDeviceState, ApnsFailure},
    fcm::{FcmDeviceState, FcmFailure, FcmQuota},
};
use tokio::task::JoinSet;

use super::{
    book::{self, Book},
    orders::{Access, Faults, Order, Service, Settings, Status},
};
use crate::push::story::{APP, token};

const TEAM_ID: &str = "BENCHTEAM0";
const KEY_ID: &str = "BENCHKEY00";
const PROJECT: &str = "tidings-bench";
/// Accepted pushes that whoever follows them may be behind.
const FOLLOWED: usize = 65_536;

/// A push service that can be told to go away and to come back.
pub(super) struct Vendor {
    settings: Settings,
    tls: SimulatorTls,
    credentials: Credentials,
    address: SocketAddr,
    faults: Faults,
    running: Option<Simulator>,
    /// Of those that ran before.
    past: Status,
    book: Option<Arc<Mutex<Book>>>,
    /// Each ends with its simulator.
    following: JoinSet<()>,
}

enum Credentials {
    Apns(ApnsCredentials),
    Fcm(FcmCredentials),
}

enum Simulator {
    Apns(ApnsSimulator),
    Fcm(FcmSimulator),
}

impl Vendor {
    pub(super) async fn start(settings: Settings) -> anyhow::Result<(Self, Access)> {
        let credentials = match settings.service {
            Service::Apns => Credentials::Apns(ApnsCredentials::generate(TEAM_ID, KEY_ID)?),
            Service::Fcm => Credentials::Fcm(FcmCredentials::generate(PROJECT)?),
        };
        let book = (settings.events > 0).then(|| Arc::new(Mutex::new(Book::new(settings.events))));
        let mut vendor = Self {
            settings,
            tls: SimulatorTls::generate()?,
            credentials,
            address: ListenConfig::default().address,
            faults: Faults::default(),
            running: None,
            past: Status::default(),
            book,
            following: JoinSet::new(),
        };
        let simulator = vendor.serve().await?;
        let access = vendor.write_access(&simulator)?;
        vendor.running = Some(simulator);
        Ok((vendor, access))
    }

    /// Obeys, and says how things are.
    pub(super) async fn obey(&mut self, order: Order) -> anyhow::Result<Status> {
        let mut latency = None;
        match order {
            Order::Look => {}
            Order::Misbehave(faults) => {
                self.faults = faults;
                if let Some(simulator) = &self.running {
                    simulator.misbehave(&self.settings, faults)?;
                }
            }
            Order::Refuse => {
                if let Some(simulator) = self.running.take() {
                    let ledger = Arc::clone(simulator.ledger());
                    simulator.stop().await;
                    // What is under way is still accepted.
                    add_counts(&mut self.past, &ledger);
                }
            }
            Order::Serve => {
                if self.running.is_none() {
                    self.running = Some(self.serve().await?);
                }
            }
            Order::Latency { schedule, first, end } => latency = Some((schedule, first, end)),
        }
        let mut status = self.past.clone();
        if let Some(simulator) = &self.running {
            add_counts(&mut status, simulator.ledger());
        }
        if let Some(book) = &self.book {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.write_to(&mut status);
            if let Some((schedule, first, end)) = latency {
                status.latency = book.latency(&schedule, first, end)?;
            }
        }
        Ok(status)
    }

    async fn serve(&mut self) -> anyhow::Result<Simulator> {
        let listen = ListenConfig { address: self.address, ..ListenConfig::default() };
        let ledger = LedgerConfig {
            keep_recent: 0,
            subscription_capacity: if self.book.is_some() { FOLLOWED } else { 1 },
            ..LedgerConfig::default()
        };
        let tls = Some(self.tls.clone());
        let simulator = match &self.credentials {
            Credentials::Apns(credentials) => {
                let config = ApnsSimulatorConfig::new(credentials, APP);
                let config = ApnsSimulatorConfig { listen, tls, ledger, ..config };
                Simulator::Apns(ApnsSimulator::start(config).await?)
            }
            Credentials::Fcm(credentials) => {
                let config = FcmSimulatorConfig::new(credentials);
                let quota = FcmQuota::UNLIMITED;
                let config = FcmSimulatorConfig { listen, tls, ledger, quota, ..config };
                Simulator::Fcm(FcmSimulator::start(config).await?)
            }
        };
        self.address = simulator.address();
        simulator.misbehave(&self.settings, self.faults)?;
        for device in &self.settings.gone {
            simulator.remove_device(&token(self.settings.service, *device))?;
        }
        if let Some(book) = &self.book {
            let accepted = simulator.ledger().subscribe();
            self.following.spawn(book::follow(accepted, Arc::clone(book)));
        }
        Ok(simulator)
    }

    fn write_access(&self, simulator: &Simulator) -> anyhow::Result<Access> {
        let write = |name: &str, content: &str| {
            let file = self.settings.dir.join(name);
            write_secret(&file, content)?;
            anyhow::Ok(file)
        };
        let mut access = Access {
            service: self.settings.service,
            url: format!("https://localhost:{}", self.address.port()),
            ca_file: write("ca.pem", self.tls.ca_pem())?,
            topic: APP.to_owned(),
            key_file: PathBuf::new(),
            key_id: KEY_ID.to_owned(),
            team_id: TEAM_ID.to_owned(),
            account_file: PathBuf::new(),
        };
        match (&self.credentials, simulator) {
            (Credentials::Apns(credentials), _) => {
                access.key_file = write("key.p8", &credentials.p8_pem)?;
            }
            (Credentials::Fcm(credentials), Simulator::Fcm(simulator)) => {
                let account = credentials.service_account_json(&simulator.token_uri());
                access.account_file = write("account.json", &account)?;
            }
            (Credentials::Fcm(_), Simulator::Apns(_)) => {}
        }
        Ok(access)
    }
}

/// Nobody else's to read: the habit counts, not the key.
fn write_secret(file: &Path, content: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    std::io::Write::write_all(&mut file, content.as_bytes())
}

/// Adds what a ledger has counted. Where events are followed, their book says more.
fn add_counts(status: &mut Status, ledger: &Ledger) {
    let counts = ledger.counts();
    status.accepted += counts.accepted;
    status.delivered += counts.distinct_identities;
    status.repeated += counts.duplicates;
    status.strange += counts.untracked;
    for (reason, count) in counts.rejected {
        *status.refused.entry(reason.to_owned()).or_default() += count;
    }
}

impl Simulator {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Apns(simulator) => simulator.address(),
            Self::Fcm(simulator) => simulator.address(),
        }
    }

    fn ledger(&self) -> &Arc<Ledger> {
        match self {
            Self::Apns(simulator) => simulator.ledger(),
            Self::Fcm(simulator) => simulator.ledger(),
        }
    }

    fn connections(&self) -> &ConnectionFaults {
        match self {
            Self::Apns(simulator) => simulator.control().connections(),
            Self::Fcm(simulator) => simulator.control().connections(),
        }
    }

    fn misbehave(&self, settings: &Settings, faults: Faults) -> anyhow::Result<()> {
        let share = faults.unavailable_share;
        match self {
            Self::Apns(simulator) => simulator
                .control()
                .set_failure_shares(&[(share, ApnsFailure::ServiceUnavailable)])?,
            Self::Fcm(simulator) => {
                simulator.control().set_failure_shares(&[(
                    share,
                    FcmFailure::Unavailable { retry_after_secs: None },
                )])?;
            }
        }
        let connections = self.connections();
        connections.set_latency(Duration::from_millis(settings.latency_ms));
        connections.set_go_away_after(faults.go_away_after, GoAwayForm::Graceful);
        connections.set_kill_every(Duration::from_millis(faults.kill_every_ms));
        Ok(())
    }

    fn remove_device(&self, token: &str) -> anyhow::Result<()> {
        match self {
            Self::Apns(simulator) => {
                simulator.control().set_device(token, ApnsDeviceState::BadDeviceToken)?;
            }
            Self::Fcm(simulator) => {
                simulator.control().set_device(token, FcmDeviceState::Unregistered)?;
            }
        }
        Ok(())
    }

    async fn stop(self) {
        match self {
            Self::Apns(simulator) => simulator.stop().await,
            Self::Fcm(simulator) => simulator.stop().await,
        }
    }
}
