//! Tidings tells people what happened: the server library and the one binary.
//!
//! `wiring` builds a node out of its parts as the configuration says; `supervisor` owns its tasks and
//! stops them in order; `http` is the API; `commands` holds what the binary can do.

pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
mod edge_lines;
pub mod follow_notices;
pub mod http;
pub mod recommendations;
pub mod retention;
pub mod revocations;
pub mod supervisor;
pub mod telemetry;
mod websocket;
pub mod wiring;
