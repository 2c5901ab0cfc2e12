//! axum's WebSocket as the socket of a live session.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::StreamExt;
use tidings_delivery::realtime::{CloseCode, Incoming, SessionSocket, SocketClosed};

pub(super) struct AxumSocket(WebSocket);

impl AxumSocket {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self(socket)
    }
}

impl SessionSocket for AxumSocket {
    async fn receive(&mut self) -> Result<Incoming, SocketClosed> {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Ok(Incoming::Text(text.as_str().to_owned())),
            Some(Ok(Message::Binary(_))) => Ok(Incoming::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Incoming::Alive),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(SocketClosed),
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), SocketClosed> {
        self.0.send(Message::Text(Utf8Bytes::from(text))).await.map_err(|_| SocketClosed)
    }

    async fn close(mut self, code: CloseCode, reason: &str) {
        // A close frame has room for 123 bytes of reason (RFC 6455, section 5.5).
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code: code.code(), reason: Utf8Bytes::from(&reason[..end]) };
        // A client that is gone already needs no close.
        let _closed = self.0.send(Message::Close(Some(frame))).await.is_ok();
    }
}
