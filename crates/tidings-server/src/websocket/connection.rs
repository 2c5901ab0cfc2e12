//! One WebSocket connection on a bare TCP stream.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tidings_delivery::realtime::{CloseCode, Incoming, SessionSocket, SocketClosed};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    close::{Close, Violation},
    decode::{Decoder, Heard},
    encode::{self, Head},
};

/// Bytes that are read at a time, into the stack: between reads a connection owns no room for them.
const READ_BYTES: usize = 4096;

/// Bytes that were read and are not used up, and what they began.
#[derive(Debug)]
struct Inbound {
    decoder: Decoder,
    bytes: Vec<u8>,
    used: usize,
}

impl Inbound {
    fn new(decoder: Decoder, bytes: Vec<u8>) -> Box<Self> {
        Box::new(Self { decoder, bytes, used: 0 })
    }
}

/// Bytes that the kernel did not take yet.
#[derive(Debug, Default)]
struct Outbound {
    bytes: Vec<u8>,
    written: usize,
    /// The payload of the newest ping, if it is not answered. Older ones need no answer (RFC 6455,
    /// section 5.5.3), so that a peer that pings and does not read costs no more than one.
    pinged: Option<Vec<u8>>,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy)]
enum Parting {
    /// The peer closed, and hears the same back.
    Answer(Close),
    /// The peer broke the rules.
    Violation(Violation),
}

/// One WebSocket connection. At rest it is its stream and four words: the boxes are made when a frame
/// does not fit into one read or one write, and go when it is done.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    max_message_bytes: usize,
    inbound: Option<Box<Inbound>>,
    outbound: Option<Box<Outbound>>,
    parting: Option<Box<Parting>>,
}

impl Connection {
    /// A connection on `stream`, of which `ahead` was read already.
    pub(crate) fn new(stream: TcpStream, ahead: &[u8], max_message_bytes: usize) -> Self {
        let inbound = (!ahead.is_empty())
            .then(|| Inbound::new(Decoder::new(max_message_bytes), ahead.to_vec()));
        Self { stream, max_message_bytes, inbound, outbound: None, parting: None }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketClosed>> {
        if self.parting.is_some() {
            return Poll::Ready(Err(SocketClosed));
        }
        // What is owed to the peer goes out also while nothing is sent; if it cannot, it wakes us.
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(Err(SocketClosed));
        }
        match ready!(self.poll_hear(cx)) {
            Ok(Some(heard)) => Poll::Ready(self.hear(heard, cx)),
            Ok(None) => Poll::Ready(Err(SocketClosed)),
            Err(violation) => {
                let code = violation.code().to_string();
                metrics::counter!("tidings_realtime_violations_total", "code" => code).increment(1);
                self.parting = Some(Box::new(Parting::Violation(violation)));
                Poll::Ready(Err(SocketClosed))
            }
        }
    }

    /// What the peer says next; `None` at the end of the stream.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Heard>, Violation>> {
        if let Some(mut inbound) = self.inbound.take() {
            let mut input = &inbound.bytes[inbound.used..];
            let heard = inbound.decoder.next(&mut input)?;
            let left = input.len();
            if left > 0 {
                inbound.used = inbound.bytes.len() - left;
            } else {
                (inbound.bytes, inbound.used) = (Vec::new(), 0);
            }
            if left > 0 || !inbound.decoder.is_at_rest() {
                self.inbound = Some(inbound);
            }
            if heard.is_some() {
                return Poll::Ready(Ok(heard));
            }
        }
        loop {
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).is_err() {
                return Poll::Ready(Ok(None));
            }
            let mut input = read.filled();
            if input.is_empty() {
                return Poll::Ready(Ok(None));
            }
            let mut inbound = self.inbound.take();
            let mut fresh = Decoder::new(self.max_message_bytes);
            let decoder = inbound.as_mut().map_or(&mut fresh, |inbound| &mut inbound.decoder);
            let heard = decoder.next(&mut input)?;
            if !input.is_empty() || !decoder.is_at_rest() {
                let mut kept = inbound.unwrap_or_else(|| Inbound::new(fresh, Vec::new()));
                kept.bytes = input.to_vec();
                self.inbound = Some(kept);
            }
            if heard.is_some() {
                return Poll::Ready(Ok(heard));
            }
        }
    }

    fn hear(&mut self, heard: Heard, cx: &mut Context<'_>) -> Result<Incoming, SocketClosed> {
        match heard {
            Heard::Text(text) => Ok(Incoming::Text(text)),
            Heard::Binary => Ok(Incoming::Binary),
            Heard::Pong => Ok(Incoming::Alive),
            Heard::Ping(payload) => {
                self.outbound.get_or_insert_default().pinged = Some(payload);
                match self.poll_flush(cx) {
                    Poll::Ready(Err(_)) => Err(SocketClosed),
                    _ => Ok(Incoming::Alive),
                }
            }
            Heard::Close(close) => {
                self.parting = Some(Box::new(Parting::Answer(close)));
                Err(SocketClosed)
            }
        }
    }

    /// Writes what is owed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outbound) = &mut self.outbound {
            let rest = &outbound.bytes[outbound.written..];
            if !rest.is_empty() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
                outbound.written += written;
                continue;
            }
            match outbound.pinged.take() {
                Some(payload) => {
                    outbound.bytes.clear();
                    outbound.written = 0;
                    encode::pong(&payload, &mut outbound.bytes);
                }
                None => self.outbound = None,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as much of a frame as the kernel takes, and keeps the rest. Nothing else may be owed.
    fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<io::Result<()>> {
        let parts = [IoSlice::new(head), IoSlice::new(body)];
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &parts))?;
        if written < head.len() + body.len() {
            let head_left = &head[written.min(head.len())..];
            let body_left = &body[written.saturating_sub(head.len())..];
            let bytes = [head_left, body_left].concat();
            self.outbound = Some(Box::new(Outbound { bytes, ..Outbound::default() }));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a frame whole. Cancel-safe: a frame that was begun is finished before anything else.
    async fn send_frame(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut is_begun = false;
        poll_fn(move |cx| {
            ready!(self.poll_flush(cx))?;
            if !is_begun {
                ready!(self.poll_begin(cx, head, body))?;
                is_begun = true;
            }
            self.poll_flush(cx)
        })
        .await
    }

    async fn send_close(&mut self, close: Close, reason: &str) -> io::Result<()> {
        let mut frame = Vec::new();
        encode::close(close, reason, &mut frame);
        self.send_frame(&frame, &[]).await
    }

    /// Says that nothing more is sent, and reads what is still coming. A socket that is closed with
    /// bytes unread is reset, and a reset may take from the peer what it has not read: the close.
    async fn end(mut self) {
        if poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await.is_err() {
            return;
        }
        loop {
            let mut count = 0;
            let read = poll_fn(|cx| {
                let mut space = [MaybeUninit::uninit(); READ_BYTES];
                let mut read = ReadBuf::uninit(&mut space);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
                count = read.filled().len();
                Poll::Ready(io::Result::Ok(()))
            });
            if read.await.is_err() || count == 0 {
                return;
            }
        }
    }
}

impl SessionSocket for Connection {
    async fn receive(&mut self) -> Result<Incoming, SocketClosed> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    async fn send(&mut self, text: &str) -> Result<(), SocketClosed> {
        let head = Head::text(text.len());
        self.send_frame(head.as_bytes(), text.as_bytes()).await.map_err(|_| SocketClosed)
    }

    async fn close(mut self, code: CloseCode, reason: &str) {
        if self.send_close(Close::Code(code.code()), reason).await.is_err() {
            return;
        }
        // The peer answers with a close of its own; what it had sent before is of no use now.
        while let Ok(Some(heard)) = poll_fn(|cx| self.poll_hear(cx)).await {
            if matches!(heard, Heard::Close(_)) {
                break;
            }
        }
        self.end().await;
    }

    async fn leave(mut self) {
        let said = match self.parting.take().as_deref() {
            Some(Parting::Answer(close)) => self.send_close(*close, "").await,
            Some(Parting::Violation(violation)) => {
                self.send_close(Close::Code(violation.code()), violation.reason()).await
            }
            // The stream broke, or ended without a close.
            None => return,
        };
        if said.is_ok() {
            self.end().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Connection::new(server, &[], 65_536), client)
    }

    /// A frame of a client, whose mask is nothing.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = 0x80 | u8::try_from(payload.len()).unwrap();
        [&[first, length, 0, 0, 0, 0][..], payload].concat()
    }

    #[test]
    fn a_connection_at_rest_is_its_stream_and_four_words() {
        assert_eq!(size_of::<Connection>(), size_of::<TcpStream>() + 4 * size_of::<usize>());
    }

    #[tokio::test]
    async fn after_a_frame_nothing_is_kept() {
        let (mut connection, mut client) = pair().await;
        let two = [frame(0x89, b"a"), frame(0x81, b"text")].concat();
        client.write_all(&[&two[..], &two[..3]].concat()).await.unwrap();
        assert_eq!(connection.receive().await, Ok(Incoming::Alive));
        assert!(connection.inbound.is_some(), "the second frame came with the first");
        assert_eq!(connection.receive().await, Ok(Incoming::Text("text".to_owned())));
        assert!(connection.inbound.is_some(), "a frame has begun");
        client.write_all(&two[3..]).await.unwrap();
        assert_eq!(connection.receive().await, Ok(Incoming::Alive));
        assert_eq!(connection.receive().await, Ok(Incoming::Text("text".to_owned())));
        assert!(connection.inbound.is_none() && connection.outbound.is_none());
    }

    #[tokio::test]
    async fn a_send_that_was_dropped_half_way_does_not_break_the_stream() {
        let (mut connection, mut client) = pair().await;
        // More than the system takes from a client that does not read.
        let long = "x".repeat(32 << 20);
        let is_sent = {
            let mut sending = std::pin::pin!(connection.send(&long));
            let mut cx = Context::from_waker(Waker::noop());
            sending.as_mut().poll(&mut cx).is_ready()
        };
        assert!(!is_sent && connection.outbound.is_some());
        let reading = async move {
            let mut told = vec![0; 10 + long.len() + 8];
            client.read_exact(&mut told).await.unwrap();
            (told, long)
        };
        let ((told, long), ()) =
            tokio::join!(reading, connection.close(CloseCode::TooSlow, "slow"));
        let (text, close) = told.split_at(10 + long.len());
        assert!(text[10..] == *long.as_bytes());
        assert_eq!(close, [&[0x88, 6, 0x11, 0x9c][..], b"slow"].concat());
    }

    #[tokio::test]
    async fn a_stream_that_ends_without_a_close_is_left_alone() {
        let (mut connection, mut client) = pair().await;
        client.shutdown().await.unwrap();
        assert_eq!(connection.receive().await, Err(SocketClosed));
        connection.leave().await;
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert!(told.is_empty());
    }
}
