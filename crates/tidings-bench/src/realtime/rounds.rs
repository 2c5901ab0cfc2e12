//! Contenders in turns, there and back, and the medians of what they did.

use super::target::Contender;
use crate::report::{Report, median};

/// What each contender did in each round.
pub(super) struct Rounds<T>(Vec<(Contender, T)>);

impl<T> Rounds<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// The order of a round.
    pub(super) fn turn(round: u32) -> Vec<Contender> {
        let mut order = Contender::ALL.to_vec();
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    pub(super) fn note(&mut self, who: Contender, did: T) {
        self.0.push((who, did));
    }

    /// The median; `None` for one that did not take part.
    pub(super) fn median(&self, who: Contender, value: impl Fn(&T) -> f64) -> Option<f64> {
        let its = self.0.iter().filter(|(it, _)| *it == who);
        let values: Vec<f64> = its.map(|(_, did)| value(did)).collect();
        Some(values).filter(|it| !it.is_empty()).map(median)
    }

    /// Writes the medians of all down.
    pub(super) fn put(&self, report: &mut Report, name: &str, value: impl Fn(&T) -> f64) {
        for who in Contender::ALL {
            if let Some(median) = self.median(who, &value) {
                report.put(&format!("{}{name}", who.prefix()), median);
            }
        }
    }

    /// Writes down ours over that of each other.
    pub(super) fn compare(&self, report: &mut Report, name: &str, value: impl Fn(&T) -> f64) {
        let Some(ours) = self.median(Contender::Tidings, &value) else { return };
        for who in Contender::ALL {
            let Some(theirs) = self.median(who, &value).filter(|it| *it > 0.0) else { continue };
            match who {
                Contender::Tidings => {}
                Contender::Floor => {
                    report.ratios.of_limit.insert(name.to_owned(), ours / theirs);
                }
                Contender::Centrifugo | Contender::CentrifugoLean => {
                    let name = format!("{}{name}", who.prefix());
                    report.ratios.vs_peer.insert(name, ours / theirs);
                }
            }
        }
    }
}
