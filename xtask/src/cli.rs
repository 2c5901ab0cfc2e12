//! The commands' names, options and help.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::bench::{Bench, Length, bench};
use crate::clients;
use crate::crash::{compare_stores, crash};
use crate::generate::{Mode, generate};
use crate::install::install;
use crate::peers::{Peer, install_peers};
use crate::recommender::train;
use crate::services::{Service, Wipe, down, logs, status, up, watch};
use crate::test::{Services, test};
use crate::tools::{audit, coverage};

/// The project's own commands: tests, real services, benchmarks, generated files.
///
/// Start with `cargo xtask test`. It installs what it needs (as root, on Debian), checks format, lints
/// and docs, starts the real servers, runs every test and stops the servers again.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks everything: format, clippy, docs, and all tests against the real servers.
    ///
    /// Fails at the first step that fails, and stops the servers that it started whatever happens.
    /// Servers that were up before stay up, which makes the next run quicker:
    ///
    ///     cargo xtask services up
    ///     cargo xtask test              # everything
    ///     cargo xtask test replay dead  # only tests with one of these words in their name
    #[command(verbatim_doc_comment)]
    Test(TestArgs),
    /// Installs what building and testing need beyond the Rust toolchain.
    ///
    /// As root on Debian it calls apt-get, and only if something is missing. Otherwise it prints what
    /// to install and fails.
    Install,
    /// Runs the real Kafka, PostgreSQL, Redis and Neo4j on loopback ports of their own.
    ///
    /// Without names, a command is about all four. Data, logs and jars are below `target/services`.
    #[command(subcommand)]
    Services(ServicesCommand),
    /// Regenerates the committed files that come from the code: api/openapi.json and
    /// docs/configuration.md.
    Generate {
        /// Write nothing; fail if a file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Builds Tidings for release and runs one of its benchmarks.
    ///
    /// `cargo xtask bench demo --quick` shows that it works; leave `--quick` out for figures, and leave
    /// the machine alone meanwhile. `ingest` runs against the real Kafka and PostgreSQL, and beside the
    /// programs of `cargo xtask peers` if they are there.
    Bench(BenchArgs),
    /// Kills nodes under load, seed by seed, and checks that nothing is lost and nobody told twice.
    ///
    /// Starts Kafka and PostgreSQL if they are not up. A seed that fails is printed, with how to repeat
    /// it.
    Crash(CrashArgs),
    /// Runs clients of push services that others wrote against `tidings simulate`, which has to be built.
    ///
    /// Installs them below `target/clients` first, from the lock files in `tests/clients`.
    Clients,
    /// Installs the programs that Tidings is measured beside; deploy/peers/README.md tells of them.
    ///
    /// Without names, all. They are below `target/peers`; one that is there already is left alone.
    Peers {
        /// Which peers; none means all.
        #[arg(value_enum, value_name = "PEER")]
        peers: Vec<Peer>,
    },
    /// Trains the model that is built into the recommender; bench/recommend/README.md tells how.
    TrainRecommender {
        /// Graphs besides those that ship: edge lists, gzipped, `:undirected` behind those that are.
        #[arg(value_name = "FILE[:undirected]")]
        graphs: Vec<String>,
        /// Users of each graph.
        #[arg(long, value_name = "N", default_value_t = 1_500)]
        users: u32,
        /// Measure each graph by a model of the others, before and after it has learned from it.
        #[arg(long)]
        test: bool,
    },
    /// Measures test coverage with cargo-llvm-cov; the report is target/llvm-cov/html/index.html.
    ///
    /// The services must be up: `cargo xtask services up`.
    Coverage,
    /// Checks dependencies with cargo-deny: known holes, licences, duplicates, origins.
    Audit,
    /// Stops services when the run that started them ends without doing so; `test` starts it.
    #[command(hide = true)]
    GuardServices(Named),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Neither install nor start nor stop anything: servers are there already, from compose say.
    #[arg(long)]
    no_services: bool,
    /// Run only tests whose name contains one of these; format, clippy and docs are left out then.
    filter: Vec<String>,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Which benchmark.
    #[arg(value_enum, value_name = "NAME")]
    bench: Bench,
    /// A short run that proves the benchmark works; its figures mean little.
    #[arg(long)]
    quick: bool,
    /// Only these parts. Of `ingest`: backlog, steady, http, fanout, memory, faults; of `realtime`: idle,
    /// fanout, latency, blips, recovery, laggards; of `push`: apns, fcm, node, faults, breaker;
    /// of `recommend`: cost, quality.
    #[arg(long, value_name = "PARTS")]
    only: Option<String>,
    /// How often contenders of `realtime` and `push` take turns, instead of three times.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Also write the result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CrashArgs {
    /// How many seeds, each on both stores.
    #[arg(long, default_value_t = 100, value_name = "N")]
    seeds: u64,
    /// The first seed; one from the clock unless given.
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// Instead, send so many events through a node on SQLite and one on PostgreSQL, and compare what
    /// they keep.
    #[arg(long, value_name = "EVENTS", conflicts_with_all = ["seeds", "from"])]
    compare_stores: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum ServicesCommand {
    /// Starts what does not run yet; returns when each has answered a real request.
    ///
    /// The first start fetches Kafka and Neo4j from Maven Central. A service that is up is left alone.
    Up(Named),
    /// Stops services in good order, or kills what does not stop; keeps their data.
    Down {
        #[command(flatten)]
        named: Named,
        /// Remove their data too, so that the next start is from nothing.
        #[arg(long)]
        wipe: bool,
    },
    /// Shows pid, ports and readiness of each; fails if one of them does not answer.
    Status(Named),
    /// Shows the end of the services' logs.
    Logs {
        #[command(flatten)]
        named: Named,
        /// How many lines of each.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u32,
        /// Go on until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// Which services; none means all.
    #[arg(value_enum, value_name = "SERVICE")]
    services: Vec<Service>,
}

impl Named {
    fn or_all(self) -> Vec<Service> {
        if self.services.is_empty() { Service::ALL.to_vec() } else { self.services }
    }
}

/// Does what was asked.
pub(crate) fn run(xtask: Xtask) -> Result<ExitCode> {
    match xtask.command {
        Command::Test(args) => {
            let services = if args.no_services { Services::Theirs } else { Services::Ours };
            test(services, &args.filter)?;
        }
        Command::Install => install()?,
        Command::Services(command) => return run_services(command),
        Command::Generate { check } => {
            generate(if check { Mode::Check } else { Mode::Write })?;
        }
        Command::Bench(args) => {
            let length = if args.quick { Length::Quick } else { Length::Full };
            bench(args.bench, length, args.only.as_deref(), args.rounds, args.json.as_deref())?;
        }
        Command::Crash(CrashArgs { compare_stores: Some(events), .. }) => compare_stores(events)?,
        Command::Crash(args) => crash(args.seeds, args.from)?,
        Command::Clients => clients::test()?,
        Command::Peers { peers } => {
            install_peers(if peers.is_empty() { &Peer::ALL } else { &peers })?;
        }
        Command::TrainRecommender { graphs, users, test } => train(&graphs, users, test)?,
        Command::Coverage => coverage()?,
        Command::Audit => audit()?,
        Command::GuardServices(named) => watch(&named.services)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_services(command: ServicesCommand) -> Result<ExitCode> {
    match command {
        ServicesCommand::Up(named) => up(&named.or_all())?,
        ServicesCommand::Down { named, wipe } => {
            down(&named.or_all(), if wipe { Wipe::Remove } else { Wipe::Keep })?;
        }
        ServicesCommand::Status(named) => {
            if !status(&named.or_all()) {
                return Ok(ExitCode::FAILURE);
            }
        }
        ServicesCommand::Logs { named, lines, follow } => logs(&named.or_all(), lines, follow)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Xtask;

    #[test]
    fn the_command_line_is_consistent() {
        Xtask::command().debug_assert();
    }
}
