//! Tidings tells people what happened: the server library and the one binary.
//!
//! `wiring` builds a node out of its parts as the configuration says; `supervisor` owns its tasks and
//! stops them in order; `http` is the API; `commands` holds what the binary can do.

pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod http;
pub mod supervisor;
pub mod telemetry;
pub mod wiring;

use std::fmt;

/// Shows an error with all its causes, on one line.
pub fn error_chain<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl fmt::Display + 'a {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}
