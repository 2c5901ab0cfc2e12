//! The project's own commands, run as `cargo xtask …`.

mod bench;
mod cli;
mod clients;
mod crash;
mod generate;
mod install;
mod peers;
mod process;
mod push_peers;
mod recommender;
mod say;
mod sdk;
mod services;
mod test;
mod tools;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Xtask::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::say(format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
