//! The core as its users see it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says where it stood, and prints its seed"
)]

/// What the fuzz target checks too.
#[path = "../../../../fuzz/check.rs"]
mod check;
mod decoder;
