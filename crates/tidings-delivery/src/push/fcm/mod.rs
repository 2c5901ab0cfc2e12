//! Firebase Cloud Messaging, HTTP v1.
//!
//! Sources, for all of this module: Firebase "Send a message using FCM HTTP v1", the REST reference
//! of `projects.messages` and `ErrorCode`, "Best practices when sending FCM messages at scale";
//! Google "Using OAuth 2.0 for server to server applications" (read 2026-11).

mod account;
mod client;
mod error;
mod message;
mod oauth;
mod sections;

pub use client::{FcmClient, FcmConfig};
