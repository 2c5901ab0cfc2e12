//! How fast something stores a backlog, and what it uses for it.

use std::time::{Duration, Instant};

use anyhow::bail;
use tidings_client::Api;

use super::bench::Bench;
use crate::{limit::rate, process, report::median};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(40);
/// How long nothing may be stored before the run is given up.
const STALLED: Duration = Duration::from_secs(90);
/// How often the run says how far it is.
const SAY: Duration = Duration::from_secs(15);

/// Whose CPU is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    /// The process that stores, with its children.
    pub(super) pid: u32,
    /// PostgreSQL, with all its processes.
    pub(super) postmaster: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Cpu {
    own: Duration,
    postgres: Duration,
}

impl Watched {
    fn cpu(self) -> Cpu {
        let own = process::tree(self.pid).values().map(|usage| usage.cpu).sum();
        Cpu { own, postgres: self.postgres_cpu() }
    }

    /// What PostgreSQL has used since it was started.
    pub(super) fn postgres_cpu(self) -> Duration {
        self.postmaster.map_or(Duration::ZERO, process::cpu_of_tree)
    }
}

/// How many records a node has stored: positions are moved in the transaction of the rows.
pub(super) async fn offsets_of(api: &Api) -> anyhow::Result<u64> {
    let offsets = api.offsets().await?;
    Ok(u64::try_from(offsets.iter().filter_map(|it| it.next_offset).sum::<i64>())?)
}

/// A count as a value of a report.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Microseconds of CPU per event.
pub(super) fn us_per_event(cpu: Duration, events: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / number(events)
}

/// What one run did. Rates and CPU are from the first rows that were seen stored to the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) events_per_s: f64,
    pub(super) cpu_us_per_event: f64,
    pub(super) postgres_cpu_us_per_event: f64,
    /// From the begin of the measurement to the first rows.
    pub(super) first_after: Duration,
    /// The most memory that the process ever had, in bytes; of the last look.
    pub(super) peak_rss_bytes: u64,
}

impl Run {
    pub(super) fn peak_rss(&self) -> f64 {
        number(self.peak_rss_bytes)
    }
}

/// The median of a value of some runs.
pub(super) fn median_of(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    median(runs.iter().map(value).collect())
}

/// Waits until `stored` says `events`.
pub(super) async fn measure(
    bench: &Bench,
    name: &str,
    events: u64,
    watched: Watched,
    mut stored: impl AsyncFnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<Run> {
    let begun = Instant::now();
    let mut first: Option<(Instant, u64, Cpu)> = None;
    let (mut last, mut moved, mut said) = (0, begun, begun);
    loop {
        let count = stored().await?;
        let now = Instant::now();
        if count > last {
            (last, moved) = (count, now);
        }
        if first.is_none() && count > 0 {
            first = Some((now, count, watched.cpu()));
        }
        if count >= events
            && let Some((from, before, cpu)) = first
        {
            let run = settle(name, watched, (from, before, cpu), count, now - begun)?;
            bench.say(format_args!(
                "{name}: {:.0} events/s, {:.1} us CPU of its own and {:.1} us of PostgreSQL per event",
                run.events_per_s, run.cpu_us_per_event, run.postgres_cpu_us_per_event
            ));
            return Ok(run);
        }
        if now - moved > STALLED {
            bail!("{name}: stopped at {last} of {events} events");
        }
        if now - said > SAY {
            said = now;
            bench.say(format_args!("{name}: {last} of {events} events"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn settle(
    name: &str,
    watched: Watched,
    (from, before, cpu): (Instant, u64, Cpu),
    count: u64,
    since_begin: Duration,
) -> anyhow::Result<Run> {
    let (took, after) = (from.elapsed(), watched.cpu());
    if count == before {
        bail!("{name}: all events came at once: the backlog is too small to measure");
    }
    let per_event = |before_cpu: Duration, after_cpu: Duration| {
        us_per_event(after_cpu.saturating_sub(before_cpu), count - before)
    };
    Ok(Run {
        events_per_s: rate(count - before, took),
        cpu_us_per_event: per_event(cpu.own, after.own),
        postgres_cpu_us_per_event: per_event(cpu.postgres, after.postgres),
        first_after: since_begin.saturating_sub(took),
        peak_rss_bytes: process::peak_rss_bytes(watched.pid).unwrap_or_default(),
    })
}
