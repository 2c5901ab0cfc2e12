//! What the demo shows on the terminal.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the demo talks to a person")]

use std::{
    fmt::Write,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{
    HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use super::tally::Summary;

/// How often plain lines are printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the demo shows its progress: a live line on a terminal, plain lines elsewhere, nothing but
/// the final line with `--json`.
pub(super) struct Display {
    /// Progress goes to standard error with `--json`, so that standard output is one line.
    json: bool,
    terminal: bool,
    live: Option<ProgressBar>,
    last_plain: Instant,
    previous: Option<(Instant, Summary)>,
}

impl Display {
    pub(super) fn new(json: bool) -> Self {
        let terminal = if json { false } else { std::io::stdout().is_terminal() };
        Self { json, terminal, live: None, last_plain: Instant::now(), previous: None }
    }

    /// Prints a line.
    pub(super) fn say(&self, line: &str) {
        match &self.live {
            Some(live) => live.suspend(|| println!("{line}")),
            None if self.json => eprintln!("{line}"),
            None => println!("{line}"),
        }
    }

    /// A progress bar for a known amount of work.
    pub(super) fn bar(&self, what: &str, total: u64) -> ProgressBar {
        let bar = ProgressBar::new(total).with_message(what.to_owned());
        if self.terminal {
            bar.set_draw_target(ProgressDrawTarget::stdout());
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            self.say(&format!("{what}: {}", HumanCount(total)));
        }
        let style = "{msg:<22} [{bar:32}] {human_pos}/{human_len} ({rate}, {eta} left)";
        if let Ok(style) = ProgressStyle::with_template(style) {
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                // Where it cannot be shown there is nobody to see it.
                let _shown = write!(out, "{:.0}/s", state.per_sec()).is_ok();
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        bar
    }

    /// Shows where the stream stands.
    pub(super) fn update(&mut self, summary: &Summary) {
        let now = Instant::now();
        let line = self.line(summary, now);
        if self.terminal {
            let live = self.live.get_or_insert_with(|| {
                let bar = ProgressBar::new_spinner();
                bar.set_draw_target(ProgressDrawTarget::stdout());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                    bar.set_style(style);
                }
                bar
            });
            live.set_message(line);
            live.tick();
        } else if now.duration_since(self.last_plain) >= PLAIN_EVERY {
            self.last_plain = now;
            self.say(&line);
        }
    }

    fn line(&mut self, summary: &Summary, now: Instant) -> String {
        let rate = match self.previous {
            Some((at, before)) if now > at => {
                let events = summary.events.saturating_sub(before.events);
                per_second(events, now.duration_since(at))
            }
            _ => 0.0,
        };
        // A window of at least two seconds keeps the rate readable.
        if self.previous.is_none_or(|(at, _)| now.duration_since(at) >= Duration::from_secs(2)) {
            self.previous = Some((now, *summary));
        }
        let delivered = summary.delivered;
        format!(
            "{rate:.0} events/s | {} stored | screens: {} websocket, {} apns, {} fcm, {} webpush | \
             event to screen p50 {:.1} p95 {:.1} p99 {:.1} ms | node {}",
            HumanCount(summary.stored),
            HumanCount(delivered.websocket),
            HumanCount(delivered.apns),
            HumanCount(delivered.fcm),
            HumanCount(delivered.webpush),
            summary.latency_ms.p50,
            summary.latency_ms.p95,
            summary.latency_ms.p99,
            HumanBytes(summary.rss_bytes),
        )
    }

    /// Takes the live line away.
    pub(super) fn end_live(&mut self) {
        if let Some(live) = self.live.take() {
            live.finish_and_clear();
        }
    }

    /// Prints the result.
    pub(super) fn result(&mut self, summary: &Summary, elapsed: Duration) -> anyhow::Result<()> {
        self.end_live();
        if self.json {
            println!("{}", serde_json::to_string(summary)?);
            return Ok(());
        }
        let delivered = summary.delivered;
        println!("\nWhat the screens saw in {:.1} s:", elapsed.as_secs_f64());
        println!("  events accepted        {}", HumanCount(summary.events));
        println!("  notifications stored   {}", HumanCount(summary.stored));
        println!(
            "  arrived on screens     {} ({} websocket, {} apns, {} fcm, {} webpush)",
            HumanCount(delivered.total()),
            HumanCount(delivered.websocket),
            HumanCount(delivered.apns),
            HumanCount(delivered.fcm),
            HumanCount(delivered.webpush),
        );
        println!("  holes, duplicates      {}, {}", summary.holes, summary.duplicates);
        println!(
            "  event to screen        p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
            summary.latency_ms.p50, summary.latency_ms.p95, summary.latency_ms.p99,
        );
        println!("  memory of the node     {}", HumanBytes(summary.rss_bytes));
        println!(
            "\nWhat stays in the inbox only (likes are of low priority) is stored, not pushed."
        );
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}
