//! Whatever bytes arrive as an event: `cargo +nightly fuzz run decode`.
#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
