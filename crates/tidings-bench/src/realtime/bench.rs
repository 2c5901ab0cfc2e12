//! What the parts have in common: rounds, waiting, and what a run may not do.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::time::sleep;

use super::{
    generator::Generator,
    load::{Order, Status},
};
use crate::{ingest::Node, process, report::Report};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// More of a core than this, and the generator may be what is measured.
const BUSY: f64 = 0.8;

/// Waits until the generator's status is as wanted.
pub(super) async fn until(
    generator: &mut Generator,
    what: &str,
    patience: Duration,
    is_so: impl Fn(&Status) -> bool,
) -> anyhow::Result<Status> {
    let begun = Instant::now();
    loop {
        let status = generator.ask(&Order::Look).await?;
        if is_so(&status) {
            return Ok(status);
        }
        if begun.elapsed() > patience {
            bail!("not within {patience:?}: {what}; the clients say {status:?}");
        }
        sleep(LOOK).await;
    }
}

/// Opens clients until there are so many, and waits until all are welcome.
pub(super) async fn open(generator: &mut Generator, clients: u32) -> anyhow::Result<Status> {
    generator.ask(&Order::Open { clients }).await?;
    let patience = Duration::from_secs(120);
    until(generator, "all sessions are open", patience, |it| it.live == clients).await
}

/// A run that lost, doubled, misplaced or mistook anything is an error, not a result.
pub(super) fn check(status: &Status, expected: u64) -> anyhow::Result<()> {
    let Status { arrived, doubled, misplaced, strange, .. } = *status;
    ensure!(
        arrived == expected && doubled + misplaced + strange == 0,
        "of {expected} notifications {arrived} arrived; {doubled} came twice, {misplaced} out of \
         order, {strange} are not known"
    );
    Ok(())
}

/// The same, where no session may end either.
pub(super) fn check_calm(status: &Status, expected: u64) -> anyhow::Result<()> {
    ensure!(status.cut == 0, "{} sessions ended: {:?}", status.cut, status.trouble);
    check(status, expected)
}

/// The CPU of some processes over a span.
pub(super) struct Span {
    pids: [u32; 2],
    cpu: [Duration; 2],
    begun: Instant,
}

/// Cores that were used: 1 is one core all the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    pub(super) node: f64,
    pub(super) generator: f64,
}

impl Span {
    pub(super) fn begin(node: u32, generator: u32) -> Self {
        let pids = [node, generator];
        Self { pids, cpu: pids.map(cpu), begun: Instant::now() }
    }

    pub(super) fn end(&self) -> Cores {
        let took = self.begun.elapsed().as_secs_f64();
        let used = |index: usize| {
            let used = cpu(self.pids[index]).saturating_sub(self.cpu[index]);
            used.as_secs_f64() / took
        };
        Cores { node: used(0), generator: used(1) }
    }
}

fn cpu(pid: u32) -> Duration {
    process::usage(pid).unwrap_or_default().cpu
}

/// Writes down what the generator used, and says if it was too busy to be believed.
pub(super) fn put_cores(
    bench: &crate::ingest::Bench,
    report: &mut Report,
    prefix: &str,
    cores: Cores,
) {
    report.put(&format!("{prefix}node_cores"), cores.node);
    report.put(&format!("{prefix}generator_cores"), cores.generator);
    if cores.generator > BUSY {
        bench.say(format_args!(
            "{prefix}: the generator used {:.0} % of a core, and may be what was measured",
            cores.generator * 100.0
        ));
    }
}

/// How often a node has read inboxes for sessions, and how many of these it has welcomed.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreReads {
    reads: f64,
    welcomes: f64,
}

impl StoreReads {
    pub(super) async fn of(node: &Node) -> anyhow::Result<Self> {
        Ok(Self {
            reads: node.counter("tidings_realtime_store_reads_total").await?,
            welcomes: node.counter("tidings_realtime_welcomes_total").await?,
        })
    }

    /// What came after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { reads: self.reads - earlier.reads, welcomes: self.welcomes - earlier.welcomes }
    }

    pub(super) fn per_welcome(self) -> f64 {
        self.reads / self.welcomes
    }
}

/// Milliseconds of microseconds.
pub(crate) fn millis(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}
