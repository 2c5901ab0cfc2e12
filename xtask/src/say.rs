//! Prints for the person at the terminal.

use std::fmt::Display;
use std::io::Write;

/// Prints one line.
///
/// A closed pipe or a terminal that went away is not an error here: the services must still be
/// stopped after nobody reads any more, where `println!` would panic.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
