//! A stream between TLS and the HTTP/2 library that does to frames what the library cannot.
//!
//! The library fixes the stream limit before its handshake and sends GOAWAY without debug data. APNs
//! moves the limit of a live connection and gives its reason in GOAWAY. So this wrapper knows the
//! 9-byte frame header (RFC 9113, section 4.1), puts SETTINGS and GOAWAY frames of its own between
//! those of the library, and keeps the acknowledgement of such SETTINGS to itself, because the
//! library takes one that it did not ask for as an error.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Length (3), type (1), flags (1), stream id (4).
const HEADER_BYTES: usize = 9;
const SETTINGS: u8 = 0x4;
const GO_AWAY: u8 = 0x7;
const ACK: u8 = 0x1;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
/// What a client sends first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Read from the peer at a time.
const READ_BYTES: usize = 16 << 10;
/// Frames that were ordered and not sent yet. A client that does not read cannot make it grow: an
/// order above it is dropped, and the next one holds the newer limit.
const MAX_QUEUED_BYTES: usize = 16 << 10;

/// Orders for one connection's frames; shared with its [`FrameTap`].
#[derive(Debug, Clone)]
pub(super) struct FrameOrders {
    shared: Arc<Mutex<Ordered>>,
}

#[derive(Debug)]
struct Ordered {
    /// Whole frames that go out before the next one of the library.
    frames: BytesMut,
    /// Whose SETTINGS the coming acknowledgements are for, in order; `true` for ours.
    acks: VecDeque<bool>,
    /// The limit that the first SETTINGS frame of the library names in place of its own.
    first_limit: u32,
    /// Replaces the debug data of the library's GOAWAY frames.
    go_away_data: Vec<u8>,
    /// The last stream of a GOAWAY frame that was sent; it may not rise again.
    last_stream: u32,
}

impl FrameOrders {
    /// `first_limit` is the stream limit that the connection begins with.
    pub(super) fn new(first_limit: u32) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Ordered {
                frames: BytesMut::new(),
                acks: VecDeque::new(),
                first_limit,
                go_away_data: Vec::new(),
                last_stream: u32::MAX >> 1,
            })),
        }
    }

    /// Sends SETTINGS with this limit of concurrent streams before the library's next frame.
    pub(super) fn limit_streams(&self, limit: u32) {
        let mut ordered = self.lock();
        if ordered.frames.len() > MAX_QUEUED_BYTES {
            return;
        }
        put_header(&mut ordered.frames, 6, SETTINGS);
        ordered.frames.put_u16(MAX_CONCURRENT_STREAMS);
        ordered.frames.put_u32(limit);
        // The library's own first SETTINGS went out with the handshake, so the order holds.
        ordered.acks.push_back(true);
    }

    /// Sends GOAWAY: streams above `last_stream` were and will not be processed.
    pub(super) fn go_away(&self, last_stream: u32, code: h2::Reason, data: &[u8]) {
        let mut ordered = self.lock();
        ordered.last_stream = ordered.last_stream.min(last_stream);
        data.clone_into(&mut ordered.go_away_data);
        let last_stream = ordered.last_stream;
        put_go_away(&mut ordered.frames, last_stream, code.into(), data);
    }

    /// Gives the GOAWAY frames that the library will send this debug data.
    pub(super) fn set_go_away_data(&self, data: &[u8]) {
        data.clone_into(&mut self.lock().go_away_data);
    }

    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ordered {
    /// The frame that goes out instead of `frame`, a SETTINGS or GOAWAY frame of the library.
    fn rewrite(&mut self, frame: &[u8]) {
        let (header, payload) = frame.split_at(HEADER_BYTES);
        if header[3] == GO_AWAY && payload.len() >= 8 {
            let (mut last, mut code) = (&payload[..4], &payload[4..8]);
            self.last_stream = self.last_stream.min(last.get_u32());
            put_go_away(&mut self.frames, self.last_stream, code.get_u32(), &self.go_away_data);
            return;
        }
        self.frames.extend_from_slice(header);
        if header[4] & ACK != 0 {
            return;
        }
        self.acks.push_back(false);
        for setting in payload.chunks_exact(6) {
            let (mut id, mut value) = setting.split_at(2);
            let (id, value) = (id.get_u16(), value.get_u32());
            self.frames.put_u16(id);
            let limit = if id == MAX_CONCURRENT_STREAMS { self.first_limit } else { value };
            self.frames.put_u32(limit);
        }
    }
}

fn put_header(frames: &mut BytesMut, payload_bytes: usize, kind: u8) {
    // Only frames of this module: their payloads are below 2^24 bytes.
    frames.put_uint(payload_bytes as u64, 3);
    frames.put_u8(kind);
    frames.put_u8(0);
    frames.put_u32(0);
}

fn put_go_away(frames: &mut BytesMut, last_stream: u32, code: u32, data: &[u8]) {
    put_header(frames, 8 + data.len(), GO_AWAY);
    frames.put_u32(last_stream);
    frames.put_u32(code);
    frames.extend_from_slice(data);
}

/// The length of the payload that a header announces.
fn payload_bytes(header: &[u8]) -> usize {
    usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2])
}

/// Follows frames through chunks of bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Of the payload (or preface) still to come.
    left: usize,
}

impl Position {
    fn at_boundary(self) -> bool {
        self.header_bytes == 0 && self.left == 0
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEADER_BYTES - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..self.header_bytes + taken]
                .copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if self.header_bytes == HEADER_BYTES {
                self.left = payload_bytes(&self.header);
                self.header_bytes = 0;
            }
        }
    }

    /// How many of `bytes` may pass before a frame of one of `kinds`, or before a header that is not
    /// complete.
    fn until(mut self, bytes: &[u8], kinds: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            if self.left == 0 && self.header_bytes == 0 {
                if rest.len() < HEADER_BYTES || kinds.contains(&rest[3]) {
                    break;
                }
                self.left = HEADER_BYTES + payload_bytes(rest);
            }
            if self.header_bytes > 0 {
                let taken = (HEADER_BYTES - self.header_bytes).min(rest.len());
                self.advance(&rest[..taken]);
                passed += taken;
                continue;
            }
            let skipped = self.left.min(rest.len());
            self.left -= skipped;
            passed += skipped;
        }
        passed
    }
}

/// The wrapper around the stream of one connection.
pub(super) struct FrameTap<S> {
    inner: S,
    orders: FrameOrders,
    /// Where the library's frames stand on the way out.
    outgoing: Position,
    /// A frame of the library that is to be rewritten, or the header of one that is not known yet.
    captured: BytesMut,
    /// Frames taken from the orders, on their way out.
    sending: BytesMut,
    incoming: Position,
    received: BytesMut,
}

impl<S> FrameTap<S> {
    pub(super) fn new(inner: S, orders: FrameOrders) -> Self {
        Self {
            inner,
            orders,
            outgoing: Position::default(),
            captured: BytesMut::new(),
            sending: BytesMut::new(),
            incoming: Position { left: PREFACE_BYTES, ..Position::default() },
            received: BytesMut::new(),
        }
    }

    /// Takes bytes of a frame that must not pass as it is; returns how many.
    fn capture(&mut self, bytes: &[u8]) -> usize {
        let wanted = match self.captured.len() {
            have if have < HEADER_BYTES => HEADER_BYTES,
            _ => HEADER_BYTES + payload_bytes(&self.captured),
        };
        let taken = (wanted - self.captured.len()).min(bytes.len());
        self.captured.extend_from_slice(&bytes[..taken]);
        if self.captured.len() >= HEADER_BYTES {
            let whole = HEADER_BYTES + payload_bytes(&self.captured);
            let ours = [SETTINGS, GO_AWAY].contains(&self.captured[3]);
            if !ours {
                // Only its header came apart: let it through, and the rest of it after it.
                self.sending.extend_from_slice(&self.captured);
                self.outgoing.advance(&self.captured);
                self.captured.clear();
            } else if self.captured.len() == whole {
                let mut ordered = self.orders.lock();
                ordered.rewrite(&self.captured);
                self.captured.clear();
            }
        }
        taken
    }
}

impl<S: AsyncWrite + Unpin> FrameTap<S> {
    /// Sends what was ordered, if a frame of the library has just ended.
    fn poll_send_ordered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.sending.is_empty() {
                let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.sending))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sending.advance(sent);
            }
            if !self.outgoing.at_boundary() || !self.captured.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut ordered = self.orders.lock();
            if ordered.frames.is_empty() {
                return Poll::Ready(Ok(()));
            }
            std::mem::swap(&mut self.sending, &mut ordered.frames);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameTap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        ready!(tap.poll_send_ordered(cx))?;
        if !tap.captured.is_empty() {
            return Poll::Ready(Ok(tap.capture(bytes)));
        }
        let passing = tap.outgoing.until(bytes, &[SETTINGS, GO_AWAY]);
        if passing == 0 {
            return Poll::Ready(Ok(tap.capture(bytes)));
        }
        let sent = ready!(Pin::new(&mut tap.inner).poll_write(cx, &bytes[..passing]))?;
        tap.outgoing.advance(&bytes[..sent]);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        ready!(tap.poll_send_ordered(cx))?;
        Pin::new(&mut tap.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        ready!(tap.poll_send_ordered(cx))?;
        Pin::new(&mut tap.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameTap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        loop {
            let passing = tap.incoming.until(&tap.received, &[SETTINGS]);
            if passing > 0 {
                let given = passing.min(buf.remaining());
                buf.put_slice(&tap.received[..given]);
                tap.incoming.advance(&tap.received[..given]);
                tap.received.advance(given);
                return Poll::Ready(Ok(()));
            }
            // What is left is nothing, part of a header, or SETTINGS.
            if tap.received.len() >= HEADER_BYTES {
                let is_ack = tap.received[4] & ACK != 0 && payload_bytes(&tap.received) == 0;
                if is_ack && tap.orders.lock().acks.pop_front() == Some(true) {
                    tap.received.advance(HEADER_BYTES);
                    continue;
                }
                let whole = HEADER_BYTES + payload_bytes(&tap.received);
                let given = whole.min(tap.received.len()).min(buf.remaining());
                buf.put_slice(&tap.received[..given]);
                tap.incoming.advance(&tap.received[..given]);
                tap.received.advance(given);
                return Poll::Ready(Ok(()));
            }
            tap.received.reserve(READ_BYTES);
            let inner = Pin::new(&mut tap.inner);
            if ready!(poll_read_buf(inner, cx, &mut tap.received))? == 0 {
                // The end: what is left of a frame goes to the library, which knows what to make of
                // it.
                let given = tap.received.len().min(buf.remaining());
                buf.put_slice(&tap.received[..given]);
                tap.received.advance(given);
                return Poll::Ready(Ok(()));
            }
        }
    }
}
