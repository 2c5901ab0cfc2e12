//! How far a long command is.

use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Draws on a terminal only.
pub(in crate::commands) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    begun: Instant,
}

impl Progress {
    /// Counts edges. Of `total` units, if that is known: bytes of a file, or edges of a graph.
    pub(in crate::commands) fn new(total: Option<u64>) -> Self {
        Self::of("edges", total)
    }

    /// Counts `what`.
    pub(in crate::commands) fn of(what: &'static str, total: Option<u64>) -> Self {
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
        Self { bar, what, begun: Instant::now() }
    }

    /// This many are done, and `position` of the units.
    pub(in crate::commands) fn set(&self, position: u64, done: u64) {
        self.bar.set_position(position);
        self.bar.set_message(format!(
            "{} {}, {}/s",
            HumanCount(done),
            self.what,
            HumanCount(self.rate(done))
        ));
    }

    pub(in crate::commands) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// What a command says when it is done.
    pub(in crate::commands) fn summary(&self, done: u64) -> String {
        let secs = self.begun.elapsed().as_secs_f64();
        let (what, rate) = (self.what, HumanCount(self.rate(done)));
        format!("{} {what} in {secs:.1} s ({rate}/s)", HumanCount(done))
    }

    fn rate(&self, done: u64) -> u64 {
        let millis = self.begun.elapsed().as_millis().max(1);
        u64::try_from(u128::from(done) * 1_000 / millis).unwrap_or(u64::MAX)
    }
}
