//! Claims pushes that have fallen due, sends them, and settles what came of them.
//!
//! ```text
//!             claim (lease)               route, send                  settle (batches)
//! store ────────────────────► dispatcher ─────────────► one task per ─────────────────► store
//!    ▲  next_due, wake, poll      │                       push              settler
//!    └────────────────────────────┘
//! ```
//!
//! Nothing is held here that the store does not know: a dispatcher that dies between sending and
//! settling leaves leases that end, and the same push goes out again under the same identity.

mod alarm;
mod claim;
mod config;
mod decide;
mod job;
mod lanes;
mod settle;

pub use claim::{DispatcherHandle, PushDispatcher};
pub use config::DispatcherConfig;
pub use lanes::{
    BreakerConfig, BreakerState, BrowserVendor, Lane, LaneHealth, LaneLimits, LaneScope, PushLanes,
    RefusedPart,
};
