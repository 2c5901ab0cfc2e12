//! One client: its socket and what it has.

use std::{io, net::SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// `EINPROGRESS`: what a connect that does not wait answers.
const IN_PROGRESS: i32 = 115;
/// A receive buffer that a few notifications fill, in bytes.
const NARROW_BYTES: usize = 4096;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    Off,
    Connecting,
    /// The WebSocket was asked for.
    Upgrading,
    /// The hello was said.
    Greeting,
    Live,
}

/// One client.
pub(super) struct Client {
    pub(super) stream: Option<TcpStream>,
    pub(super) stage: Stage,
    /// It reads slowly.
    pub(super) slow: bool,
    /// An acknowledgement is to be said.
    pub(super) ack_due: bool,
    /// It was welcome before, so it resumes.
    pub(super) resumes: bool,
    /// Attempts since the last welcome.
    pub(super) failures: u32,
    /// When it was lost, by the common clock, if it has not come back.
    pub(super) lost_us: Option<u64>,
    /// Connections so far: tells a timer of this one from one of another.
    pub(super) generation: u32,
    /// The last notification it has.
    pub(super) last: u64,
    /// What was in its inbox when it was welcomed.
    pub(super) head: u64,
    /// When the connection that is still catching up was begun; 0 for none.
    pub(super) begun_us: u64,
    /// What the server asked to wait, in milliseconds.
    pub(super) asked_ms: Option<u64>,
    /// The begin of a frame whose end has not come.
    pub(super) held: Vec<u8>,
    /// What the socket did not take yet.
    pub(super) unsent: Vec<u8>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            stage: Stage::Off,
            slow: false,
            ack_due: false,
            resumes: false,
            failures: 0,
            lost_us: None,
            generation: 0,
            last: 0,
            head: 0,
            begun_us: 0,
            asked_ms: None,
            held: Vec::new(),
            unsent: Vec::new(),
        }
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.stage == Stage::Live && self.last >= self.head
    }
}

/// Begins a connection.
pub(super) fn connect(address: SocketAddr, narrow: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if narrow {
        // Before the connection: the window is agreed on with the first packets.
        socket.set_recv_buffer_size(NARROW_BYTES)?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}
