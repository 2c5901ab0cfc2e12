//! Live sessions: every notification on every open screen, in order, without holes.
//!
//! The store is the truth and a broadcast is a hint. A session knows the `seq` that its client needs
//! next; a broadcast that is that one is sent, an older one is dropped, a newer one makes the session
//! read from the store what is between. So nothing that a queue loses is lost to the client.

mod acks;
mod handler;
mod hear;
mod mailbox;
mod pace;
mod pool;
mod protocol;
mod session;
mod socket;

pub use acks::{AckFlusher, AckLog};
pub use handler::{
    RealtimeConfig, SessionAuthenticator, SessionIdentity, SessionRefused, WebSocketHandler,
};
pub use pace::Pace;
pub use pool::{ConnectionPool, PoolFull};
pub use protocol::CloseCode;
pub use socket::{Incoming, SessionSocket, SocketClosed};
