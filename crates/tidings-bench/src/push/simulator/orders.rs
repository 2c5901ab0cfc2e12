//! What the simulator's process is told, and what it answers.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::realtime::{Percentiles, Schedule};

/// Which push service it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::push) enum Service {
    Apns,
    Fcm,
}

impl Service {
    pub(in crate::push) fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }
}

/// The first line of its input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::push) struct Settings {
    pub(in crate::push) service: Service,
    /// How long each answer is held back.
    pub(in crate::push) latency_ms: u64,
    /// Where its certificate and the credentials of its clients go.
    pub(in crate::push) dir: PathBuf,
    /// Events that it may get; each is followed by its number. Zero: pushes are only counted.
    pub(in crate::push) events: u64,
    /// The devices with these numbers are gone.
    pub(in crate::push) gone: Vec<u64>,
}

/// How a client gets in: its first answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::push) struct Access {
    pub(in crate::push) service: Service,
    pub(in crate::push) url: String,
    pub(in crate::push) ca_file: PathBuf,
    pub(in crate::push) topic: String,
    /// Of APNs; empty for FCM.
    pub(in crate::push) key_file: PathBuf,
    pub(in crate::push) key_id: String,
    pub(in crate::push) team_id: String,
    /// Of FCM; empty for APNs.
    pub(in crate::push) account_file: PathBuf,
}

/// Each further line. Every order is answered with a [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::push) enum Order {
    /// Nothing: how are things?
    Look,
    /// From now on these faults.
    Misbehave(Faults),
    /// Ends all connections and refuses new ones, until it is told to serve.
    Refuse,
    /// Serves again, at the same address and with the same credentials.
    Serve,
    /// Says how late the events of a range were accepted.
    Latency { schedule: Schedule, first: u64, end: u64 },
}

/// Faults; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::push) struct Faults {
    /// The share of pushes that are answered with 503.
    pub(in crate::push) unavailable_share: f64,
    /// GOAWAY after so many requests on a connection; zero: never.
    pub(in crate::push) go_away_after: u64,
    /// A connection is cut this often, in milliseconds; zero: never.
    pub(in crate::push) kill_every_ms: u64,
}

/// How things are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::push) struct Status {
    /// Pushes accepted.
    pub(in crate::push) accepted: u64,
    /// Different ones of them: events if they are followed, else identities.
    pub(in crate::push) delivered: u64,
    /// Pushes that were accepted once more under the same identity.
    pub(in crate::push) repeated: u64,
    /// Pushes that were accepted once more under another identity.
    pub(in crate::push) duplicated_identities: u64,
    /// Pushes of no event, or that nobody has counted: a fault of the bench.
    pub(in crate::push) strange: u64,
    /// Refusals by reason.
    pub(in crate::push) refused: BTreeMap<String, u64>,
    /// From due to accepted, in microseconds; after [`Order::Latency`] only.
    pub(in crate::push) latency: Percentiles,
}

impl Status {
    /// Fails unless every push that was accepted is known, and counted once.
    pub(in crate::push) fn check(&self) -> anyhow::Result<()> {
        let Self { accepted, delivered, repeated, duplicated_identities, strange, .. } = *self;
        anyhow::ensure!(
            strange == 0 && accepted == delivered + repeated + duplicated_identities,
            "the ledger and the events do not agree: {self:?}"
        );
        Ok(())
    }
}
