//! What the binary can do, one file per command.

mod config;
mod deliveries;
mod dlq;
mod evaluate;
mod graph;
mod keys;
mod migrate;
mod offsets;
mod output;
mod recommend;
mod serve;
mod simulate;
mod tail;
mod token;

use std::{io::Write, process::ExitCode};

use anyhow::Context;

use crate::{
    cli::{Cli, Command},
    demo, http,
};

/// Runs the command that the command line names.
///
/// # Errors
///
/// Whatever ends the command, with its causes.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => block_on(serve::run(args))?,
        Command::Demo(args) => return block_on(demo::run(args)),
        Command::Tail(args) => block_on(tail::run(args))?,
        Command::Config(command) => config::run(&command)?,
        Command::Deliveries(command) => block_on(deliveries::run(command))?,
        Command::Dlq(command) => block_on(dlq::run(command))?,
        Command::Evaluate(args) => block_on(evaluate::run(args))?,
        Command::Graph(command) => block_on(graph::run(command))?,
        Command::Recommend(args) => block_on(recommend::run(args))?,
        Command::Offsets(command) => block_on(offsets::run(command))?,
        Command::Migrate(args) => block_on(migrate::run(args))?,
        Command::Keys(command) => keys::run(&command)?,
        Command::Token(args) => token::run(&args)?,
        Command::Simulate(args) => block_on(simulate::run(args))?,
        Command::Openapi => print(&http::openapi_json()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot start")?
        .block_on(future)
}

/// Prints a long text; a reader that has seen enough may close its end.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("the result cannot be printed"),
    }
}
