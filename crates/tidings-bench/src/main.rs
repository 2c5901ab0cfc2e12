//! `cargo xtask bench NAME`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tidings_bench::{
    demo, graph,
    ingest::{self, Length},
    push, realtime, recommend,
    report::Report,
};
use tikv_jemallocator::Jemalloc;

/// The node's allocator: the push clients and the bare limits are measured as they run there.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Measures Tidings beside bare limits and peers, in the same run.
#[derive(Debug, Parser)]
#[command(name = "tidings-bench", version)]
struct Cli {
    /// What to measure.
    bench: Bench,
    /// One short round: to see that it runs, not to quote.
    #[arg(long)]
    quick: bool,
    /// Write the result to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure these parts only; for `ingest`, `realtime`, `push`, `graph` and `recommend`.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// How often contenders of `realtime` and `push` take turns, instead of three times.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bench {
    /// The whole embedded path, HTTP to screens, beside the bare limit of the store.
    Demo,
    /// Kafka and HTTP to durable notifications, beside bare limits and peers.
    Ingest,
    /// Live sessions: what they cost and how fast they are told, beside a bare floor and a peer.
    Realtime,
    /// Pushes to APNs and FCM, beside a bare HTTP/2 client and peers, and while the services fail.
    Push,
    /// The social graph, embedded and over HTTP.
    Graph,
    /// Whom to follow: what it costs, and how good it is beside other methods.
    Recommend,
    /// The embedded engine of `graph`, which starts it.
    #[value(hide = true)]
    GraphEngine,
    /// Makes the model that is built into the recommender; `cargo xtask train-recommender` starts it.
    #[value(hide = true)]
    RecommendTrain,
    /// The load generator of `realtime`, which starts it.
    #[value(hide = true)]
    RealtimeLoad,
    /// The bare floor of `realtime`, which starts it.
    #[value(hide = true)]
    RealtimeFloor,
    /// A push service of `push`, which starts it.
    #[value(hide = true)]
    PushSimulator,
    /// A push client of `push`, which starts it.
    #[value(hide = true)]
    PushLoad,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let length = if cli.quick { Length::Quick } else { Length::Full };
    let report: Report = match cli.bench {
        Bench::Demo => demo::run(cli.quick)?,
        Bench::Ingest => ingest::run(length, &parts(&cli.only)?)?,
        Bench::Realtime => realtime::run(length, cli.rounds, &parts(&cli.only)?)?,
        Bench::Push => push::run(length, cli.rounds, &parts(&cli.only)?)?,
        Bench::Graph => graph::run(length, &parts(&cli.only)?)?,
        Bench::Recommend => recommend::run(length, &parts(&cli.only)?)?,
        Bench::GraphEngine => return graph::engine(),
        Bench::RecommendTrain => return recommend::train(),
        Bench::PushSimulator => return push::simulator(),
        Bench::PushLoad => return push::load(),
        Bench::RealtimeLoad => return realtime::load(),
        Bench::RealtimeFloor => return realtime::floor(),
    };
    report.print();
    if let Some(file) = &cli.json {
        report.write(file).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

/// Parts by their names: each bench has its own.
fn parts<P: ValueEnum>(names: &[String]) -> anyhow::Result<Vec<P>> {
    let part = |name: &String| {
        P::from_str(name, true).map_err(|_| {
            let known: Vec<_> =
                P::value_variants().iter().filter_map(P::to_possible_value).collect();
            let known: Vec<_> = known.iter().map(|part| part.get_name()).collect();
            anyhow::anyhow!("there is no part {name:?} here, but {}", known.join(", "))
        })
    };
    names.iter().map(part).collect()
}
