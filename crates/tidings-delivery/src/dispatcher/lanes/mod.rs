//! One lane per push service and credential: what is known of how it fares, and how fast it may go.
//!
//! Lanes have nothing in common but the dispatcher. A service that is down, slow or over its quota
//! holds back what goes to it, in the store, and takes no room from the others:
//!
//! - A [`Breaker`](breaker::Breaker) opens when a service fails or refuses the credential. Meanwhile its
//!   pushes are put back with a later time; a few probes find out when it is over.
//! - A [`Pacer`](pacer::Pacer) spreads sends over time by a rate: a service's quota, or what is left of
//!   it after the service said that it is asked too much.
//! - Places bound the sends that are under way. Whoever would have to wait long for one is put back, too.

mod breaker;
mod lane;
mod meter;
mod pacer;
mod refused;
mod table;
mod vendor;

pub use breaker::{BreakerConfig, BreakerState};
pub(super) use lane::{Admission, Change, LONGEST_ADMISSION, Place};
pub use lane::{Lane, LaneHealth, LaneLimits, LaneScope};
pub use refused::RefusedPart;
pub use table::PushLanes;
pub use vendor::BrowserVendor;
