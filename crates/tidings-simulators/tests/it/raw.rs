//! An HTTP/2 client that shows every frame, for what a proper client hides.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::apns::Fixture;
use crate::client::tls;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GO_AWAY: u8 = 7;

/// One frame as it came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

impl Frame {
    pub(crate) fn is_ack(&self) -> bool {
        self.kind == SETTINGS && self.flags & 1 == 1
    }

    /// `SETTINGS_MAX_CONCURRENT_STREAMS`, if that is in it.
    pub(crate) fn stream_limit(&self) -> Option<u32> {
        let settings = self.payload.chunks_exact(6).filter(|_| self.kind == SETTINGS);
        settings.filter(|it| it[..2] == [0, 3]).map(|it| (&it[2..]).get_u32()).next()
    }

    /// Last stream, error code and debug data of GOAWAY.
    pub(crate) fn go_away(&self) -> (u32, u32, String) {
        assert_eq!(self.kind, GO_AWAY, "{self:?}");
        let mut payload = self.payload.clone();
        let (last, code) = (payload.get_u32(), payload.get_u32());
        (last, code, String::from_utf8(payload.to_vec()).unwrap())
    }
}

/// One connection.
pub(crate) struct Raw {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
    next_stream: u32,
}

impl Raw {
    /// Sends the preface and acknowledges nothing by itself.
    pub(crate) async fn connect(apns: &Fixture) -> Self {
        Self::connect_to(apns.simulator.address(), apns.simulator.ca_pem()).await
    }

    pub(crate) async fn connect_to(address: std::net::SocketAddr, ca_pem: &str) -> Self {
        let stream = tls(address, ca_pem, &["h2"]).await.unwrap();
        let mut raw = Self { stream, received: BytesMut::new(), next_stream: 1 };
        raw.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.write(SETTINGS, 0, 0, b"").await;
        raw
    }

    /// Sends a request in two frames and returns its stream.
    pub(crate) async fn send(&mut self, request: &Request<()>, body: &str) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut block = BytesMut::new();
        literal(&mut block, ":method", request.method().as_str());
        literal(&mut block, ":scheme", "https");
        literal(&mut block, ":authority", "localhost");
        literal(&mut block, ":path", request.uri().path());
        for (name, value) in request.headers() {
            literal(&mut block, name.as_str(), value.to_str().unwrap());
        }
        self.write(HEADERS, 0x4, stream, &block).await;
        self.write(0, 0x1, stream, body.as_bytes()).await;
        stream
    }

    pub(crate) async fn acknowledge_settings(&mut self) {
        self.write(SETTINGS, 1, 0, b"").await;
    }

    pub(crate) async fn answer_ping(&mut self, ping: &Frame) {
        self.write(6, 1, 0, &ping.payload).await;
    }

    /// The next frame; none if the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.read()).await.expect("a frame in time")
    }

    /// The next frame for which `wanted` holds; others are dropped.
    pub(crate) async fn wait_for(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection lives");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// The next head of an answer or reset of a stream.
    pub(crate) async fn next_answer(&mut self) -> Frame {
        self.wait_for(|frame| [HEADERS, RST_STREAM].contains(&frame.kind)).await
    }

    /// Reads on from `frame` to the end of a stream.
    pub(crate) async fn drain_answer(&mut self, frame: Frame) {
        let mut frame = frame;
        while frame.stream == 0 || frame.flags & 1 == 0 {
            frame = self.next().await.expect("the connection lives");
            assert_ne!(frame.stream_limit(), Some(1), "too early");
        }
    }

    /// Whether the connection ends, whatever comes before.
    pub(crate) async fn ends(&mut self) -> bool {
        while self.next().await.is_some() {}
        true
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, rest @ ..] = &self.received[..] {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                if rest.len() >= 4 + length {
                    let (kind, flags) = (*kind, *flags);
                    self.received.advance(5);
                    let stream = self.received.get_u32();
                    let payload = self.received.split_to(length).freeze();
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        // The other side may have closed: the reader finds out.
        drop(self.stream.write_all(&frame).await);
        drop(self.stream.flush().await);
    }
}

/// A header without indexing and without Huffman code (RFC 7541, section 6.2.2).
fn literal(block: &mut BytesMut, name: &str, value: &str) {
    block.put_u8(0);
    for text in [name, value] {
        match text.len() {
            short @ 0..127 => block.put_u8(u8::try_from(short).unwrap()),
            long => {
                block.put_u8(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    block.put_u8(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.put_u8(u8::try_from(rest).unwrap());
            }
        }
        block.put_slice(text.as_bytes());
    }
}
