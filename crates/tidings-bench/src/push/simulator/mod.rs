//! A push service: one of Tidings' simulators in a process of its own.
//!
//! It is this program again, under a hidden name. The first line of its standard input is its
//! [`Settings`], answered with how to get in; each further line is an [`Order`], answered with a
//! [`Status`]. It ends with its input, so that none is left behind.
#![expect(clippy::print_stdout, reason = "its answers")]

mod book;
mod orders;
mod vendor;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::Runtime,
};

pub(super) use self::orders::{Access, Faults, Order, Service, Settings, Status};
use self::vendor::Vendor;

/// The simulator's `main`.
///
/// # Errors
///
/// Its orders cannot be read, or the system refuses it something.
pub fn main() -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(serve());
    // A thread that reads standard input cannot be ended.
    runtime.shutdown_background();
    outcome
}

async fn serve() -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let line = lines.next_line().await?.context("the settings")?;
    let settings = serde_json::from_str(&line).context("the settings")?;
    let (mut vendor, access) = Vendor::start(settings).await?;
    answer(&access)?;
    while let Some(line) = lines.next_line().await? {
        let order = serde_json::from_str(&line).context("an order")?;
        answer(&vendor.obey(order).await?)?;
    }
    Ok(())
}

fn answer(answer: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(std::io::stdout().flush()?)
}
