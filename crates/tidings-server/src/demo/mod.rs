//! `tidings demo`: the whole product on a real follow graph, with nothing to set up.
//!
//! It starts a node of its own (a process, as in production) and the APNs and FCM simulators, imports
//! the graph, opens live sessions for some users and registers a phone for everyone else. Then it
//! sends a believable stream of events, and counts what the screens saw: the sessions and simulators,
//! not the server, say what arrived, in which order, and how long it took. A page of the node shows
//! screens to play with.

mod display;
mod graph;
mod hints;
mod node;
mod page;
mod phones;
mod sessions;
mod stage;
mod story;
mod stream;
mod tally;

pub use graph::DemoGraph;
pub(crate) use page::routes as page;
pub use stage::run;
pub use story::{Story, StoryEvent};
pub use tally::{Delivered, LatencyMs, Summary};
