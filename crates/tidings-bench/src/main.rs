//! `cargo xtask bench NAME`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tidings_bench::{
    demo,
    ingest::{self, Length, Part},
    report::Report,
};

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
    /// Measure these parts only; for `ingest`.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bench {
    /// The whole embedded path, HTTP to screens, beside the bare limit of the store.
    Demo,
    /// Kafka and HTTP to durable notifications, beside bare limits and peers.
    Ingest,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let report: Report = match cli.bench {
        Bench::Demo => demo::run(cli.quick)?,
        Bench::Ingest => {
            let length = if cli.quick { Length::Quick } else { Length::Full };
            ingest::run(length, &cli.only)?
        }
    };
    report.print();
    if let Some(file) = &cli.json {
        report.write(file).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}
