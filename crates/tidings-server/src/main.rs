//! The one binary.

use std::process::ExitCode;

use clap::Parser;
use tidings_server::{cli::Cli, commands};
use tikv_jemallocator::Jemalloc;

/// Batches come and go by the megabyte on several threads; the system's allocator keeps much of it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command line tool")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
