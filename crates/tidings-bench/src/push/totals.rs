//! What all parts together sent, and what became of it.

use super::simulator::Status;
use crate::{ingest::number, report::Report};

/// Counts of Tidings' own pushes, by who sends and by the ledgers of those who get.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    sent: u64,
    delivered: u64,
    repeated: u64,
    duplicated_identities: u64,
}

impl Totals {
    /// Adds pushes that have to come.
    pub(super) fn expect(&mut self, pushes: u64) {
        self.sent += pushes;
    }

    /// Adds what a ledger has counted.
    pub(super) fn count(&mut self, status: &Status) {
        self.delivered += status.delivered;
        self.repeated += status.repeated;
        self.duplicated_identities += status.duplicated_identities;
    }

    /// The share of what had to come that came.
    pub(super) fn delivered_share(&self) -> f64 {
        number(self.delivered) / number(self.sent.max(1))
    }

    /// Nothing is lost, and nothing came under two identities: else it is no result.
    pub(super) fn check(&self, part: &str) -> anyhow::Result<()> {
        let (sent, delivered) = (self.sent, self.delivered);
        anyhow::ensure!(delivered == sent, "{part}: {delivered} of {sent} pushes arrived");
        let doubled = self.duplicated_identities;
        anyhow::ensure!(doubled == 0, "{part}: {doubled} pushes came under another identity again");
        Ok(())
    }

    /// Writes them down; with a prefix, those of one part.
    pub(super) fn put(&self, prefix: &str, report: &mut Report) {
        for (name, count) in [
            ("sent", self.sent),
            ("delivered", self.delivered),
            ("lost", self.sent.saturating_sub(self.delivered)),
            ("repeated_under_one_identity", self.repeated),
            ("duplicated_identities", self.duplicated_identities),
        ] {
            report.put(&format!("{prefix}{name}"), number(count));
        }
    }

    /// Adds those of a part.
    pub(super) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.duplicated_identities += other.duplicated_identities;
    }
}
