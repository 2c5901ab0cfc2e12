//! The load generator: a process of its own, one thread on epoll, some two hundred bytes for each client.
//!
//! It is this program again, under a hidden name. The first line of its standard input is its
//! [`Settings`], each further line an [`Order`]; every order is answered with a [`Status`]. It ends with
//! its input, so that none is left behind.

mod client;
mod driver;
mod frames;
mod oracle;
mod orders;
mod schedule;
mod speech;
mod token;

use std::io::BufRead;

use anyhow::Context;

pub(super) use self::{
    frames::{FIXED_ACCEPT, text_frame},
    orders::{Inboxes, Order, Protocol, Settings, Status},
    schedule::recipient,
    token::mint,
};
pub(crate) use self::{
    orders::Percentiles,
    schedule::{Schedule, now_us},
};

/// The generator's `main`.
///
/// # Errors
///
/// Its orders cannot be read, or the system refuses it something.
pub fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let settings: Settings = serde_json::from_str(&line).context("the settings")?;
    driver::Driver::new(settings)?.run()
}
