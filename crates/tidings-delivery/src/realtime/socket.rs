//! What a session needs of a WebSocket, whoever speaks the protocol.

use std::future::Future;

use super::protocol::CloseCode;

/// What came from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text frame.
    Text(String),
    /// A binary frame, which this protocol has no use for.
    Binary,
    /// A sign of life on the level of WebSocket: ping or pong, answered by the library.
    Alive,
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct SocketClosed;

/// One WebSocket connection.
pub trait SessionSocket: Send {
    /// The next frame; [`SocketClosed`] when there will be none. Dropping the future loses nothing.
    fn receive(&mut self) -> impl Future<Output = Result<Incoming, SocketClosed>> + Send;

    /// Sends a text frame, and waits until the connection takes it. When the future is dropped, the
    /// frame is sent or not; whatever is sent after it begins a frame of its own.
    fn send(&mut self, text: &str) -> impl Future<Output = Result<(), SocketClosed>> + Send;

    /// Closes with a code and a reason of at most 123 bytes.
    fn close(self, code: CloseCode, reason: &str) -> impl Future<Output = ()> + Send;

    /// Says what is still owed to a client after [`SocketClosed`]: the answer to its close, or why it
    /// was cut off.
    fn leave(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        drop(self);
        std::future::ready(())
    }
}
