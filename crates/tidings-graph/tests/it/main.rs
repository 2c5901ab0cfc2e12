//! The embedded graph against the contract of its port, and against the world.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod agree;
mod contract;
mod crash;
mod damage;
mod harness;
mod recommend;
mod reopen;
mod upgrade;
