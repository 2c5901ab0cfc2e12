//! The cache, around the embedded engine, against Redis. Needs `cargo xtask services up redis`, and the
//! program `redis-server`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where it stood"
)]

mod around;
mod contract;
mod exactness;
mod faults;
mod redis;
mod rules;
mod scene;
