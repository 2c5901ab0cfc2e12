//! A WebSocket client that says whatever a test tells it to, byte by byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Node, PATIENCE};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The configuration of a node that hears its clients as fast as they talk.
pub(crate) const UNPACED: &str = "[realtime]\nframes_per_second = 100000\nframes_burst = 100000";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// A frame: its first byte, and its payload.
    Frame(u8, Vec<u8>),
    /// The stream ended.
    End,
    /// The connection was reset: what was on its way may be lost.
    Reset,
}

/// The client's end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A frame in its shortest form, masked, with `first` as its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => vec![0x80 | short],
        (_, Ok(medium)) => [&[0xfe][..], &medium.to_be_bytes()].concat(),
        _ => [&[0xff][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    with_length(first, &length, payload)
}

/// A frame with these bytes for its mask bit and length.
pub(crate) fn with_length(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [&[first][..], length, &MASK].concat().into_iter().chain(masked).collect()
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// The request of a handshake, without its end.
pub(crate) fn request() -> String {
    "GET /v1/stream HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Protocol: tidings.v1\r\n"
        .to_owned()
}

/// The first frame of a user.
pub(crate) fn hello(user: &str) -> Vec<u8> {
    let hello = json!({"type": "hello", "token": format!("user:{user}")}).to_string();
    frame(TEXT, hello.as_bytes())
}

impl Wire {
    /// A TCP connection on which nothing was said.
    pub(crate) fn connect(node: &Node) -> Self {
        let address = node.url().strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// A connection after its handshake.
    pub(crate) fn open(node: &Node) -> Self {
        let mut wire = Self::connect(node);
        wire.say(format!("{}\r\n", request()).as_bytes());
        let head = wire.hear_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        wire
    }

    /// A session of `user` that is welcome.
    pub(crate) fn welcome(node: &Node, user: &str) -> Self {
        let mut wire = Self::open(node);
        wire.say(&hello(user));
        assert_eq!(wire.hear_json()["type"], "welcome");
        wire
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The head of an HTTP answer.
    pub(crate) fn hear_head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.read_some().is_none(), "{:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The next frame, or the end.
    pub(crate) fn hear(&mut self) -> Told {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                return Told::Frame(first, payload);
            }
            if let Some(end) = self.read_some() {
                assert!(self.read.is_empty(), "the end cuts a frame: {:?}", self.read);
                return end;
            }
        }
    }

    /// The next frame, which has to be a text with JSON.
    pub(crate) fn hear_json(&mut self) -> Value {
        match self.hear() {
            Told::Frame(TEXT, payload) => serde_json::from_slice(&payload).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// The code of the close that has to come next, and after it the end of the stream. `None` for a
    /// close without a code.
    pub(crate) fn hear_close(&mut self) -> Option<u16> {
        let code = match self.hear() {
            Told::Frame(CLOSE, payload) if payload.is_empty() => None,
            Told::Frame(CLOSE, payload) => {
                std::str::from_utf8(&payload[2..]).unwrap();
                Some(u16::from_be_bytes([payload[0], payload[1]]))
            }
            other => panic!("{other:?} is no close"),
        };
        assert_eq!(self.hear(), Told::End);
        code
    }

    /// Says `bytes`, a byte each time that the server says nothing for `pause`, until it closes.
    /// Returns the close code, if there was one.
    pub(crate) fn trickle(&mut self, bytes: &[u8], pause: Duration) -> Option<u16> {
        self.stream.set_read_timeout(Some(pause)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut code = None;
        let mut bytes = bytes.iter().cycle();
        loop {
            assert!(Instant::now() < deadline, "the server is too patient");
            while let Some((first, payload)) = self.take_frame() {
                if first == CLOSE {
                    code = Some(u16::from_be_bytes([payload[0], payload[1]]));
                }
            }
            let mut space = [0; 4096];
            match self.stream.read(&mut space) {
                Ok(0) => return code,
                Ok(count) => self.read.extend(&space[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _refused = self.stream.write_all(&[*bytes.next().unwrap()]).is_err();
                }
                Err(_) => return code,
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = self.read[..] else { return None };
        let (head, length) = match second {
            126 => (4, u16::from_be_bytes(self.read.get(2..4)?.try_into().unwrap()).into()),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let end = head + usize::try_from(length).unwrap();
        let payload = self.read.get(head..end)?.to_vec();
        self.read.drain(..end);
        Some((first, payload))
    }

    /// Reads more, or says how the stream ended.
    fn read_some(&mut self) -> Option<Told> {
        let mut space = [0; 65_536];
        match self.stream.read(&mut space) {
            Ok(0) => Some(Told::End),
            Ok(count) => {
                self.read.extend(&space[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(Told::Reset),
            Err(error) => panic!("{error} after {:?}", self.read),
        }
    }
}
