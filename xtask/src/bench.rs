//! `cargo xtask bench`: builds what is measured, then hands over to `tidings-bench`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::process::{cargo, cargo_target_dir, run};
use crate::services::{Guard, Service, Wipe, answering, down, up};
use crate::test::lock_machine;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// The whole embedded path, HTTP to screens.
    Demo,
    /// Kafka and HTTP to durable notifications.
    Ingest,
    /// Live sessions.
    Realtime,
    /// Pushes to APNs and FCM.
    Push,
    /// The social graph.
    Graph,
    /// Whom to follow.
    Recommend,
}

impl Bench {
    fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Ingest => "ingest",
            Self::Realtime => "realtime",
            Self::Push => "push",
            Self::Graph => "graph",
            Self::Recommend => "recommend",
        }
    }

    /// The servers that it runs against.
    fn services(self) -> &'static [Service] {
        match self {
            Self::Demo | Self::Realtime | Self::Push | Self::Recommend => &[],
            Self::Ingest => &[Service::Postgres, Service::Kafka],
            Self::Graph => &[Service::Neo4j, Service::Redis],
        }
    }
}

/// Whether figures are wanted or only a proof that the bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Full,
    Quick,
}

/// Runs `bench`, with its servers; those that were not up before are stopped again.
pub(crate) fn bench(
    bench: Bench,
    length: Length,
    only: Option<&str>,
    rounds: Option<u32>,
    json: Option<&Path>,
) -> Result<()> {
    let packages = ["--package", "tidings-server", "--package", "tidings-bench"];
    run(cargo(["build", "--release", "--bins"]).args(packages))?;
    let mut command = Command::new(cargo_target_dir()?.join("release/tidings-bench"));
    command.arg(bench.name());
    if length == Length::Quick {
        command.arg("--quick");
    }
    if let Some(parts) = only {
        command.arg("--only").arg(parts);
    }
    if let Some(rounds) = rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(file) = json {
        command.arg("--json").arg(file);
    }
    let services = bench.services();
    if services.is_empty() {
        return run(&mut command);
    }
    let _one_at_a_time = lock_machine()?;
    let running = answering(services);
    let ours: Vec<Service> =
        services.iter().copied().filter(|service| !running.contains(service)).collect();
    let guard = Guard::start(&ours)?;
    let measured = up(services).and_then(|()| run(&mut command));
    let stopped = down(&ours, Wipe::Keep);
    guard.dismiss()?;
    // What failed first is what the reader needs to know.
    measured.and(stopped)
}
