//! How far a long command is.

use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Draws on a terminal only.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// Of `total` units, if that is known: bytes of a file, or edges of a graph.
    pub(super) fn new(total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{spinner} {wide_bar} {percent}%  {msg}  {elapsed} gone, {eta} to go",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed} gone"),
        };
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, begun: Instant::now() }
    }

    /// `edges` are done, and `position` of the units.
    pub(super) fn set(&self, position: u64, edges: u64) {
        self.bar.set_position(position);
        self.bar.set_message(format!(
            "{} edges, {}/s",
            HumanCount(edges),
            HumanCount(self.rate(edges))
        ));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// What a command says when it is done.
    pub(super) fn summary(&self, edges: u64) -> String {
        let secs = self.begun.elapsed().as_secs_f64();
        format!("{} edges in {secs:.1} s ({}/s)", HumanCount(edges), HumanCount(self.rate(edges)))
    }

    fn rate(&self, edges: u64) -> u64 {
        let millis = self.begun.elapsed().as_millis().max(1);
        u64::try_from(u128::from(edges) * 1_000 / millis).unwrap_or(u64::MAX)
    }
}
