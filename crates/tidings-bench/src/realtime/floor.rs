//! The bare floor: epoll, the least of a WebSocket, and nothing else.
//!
//! It is this program again, under a hidden name. It says its address on standard output; each line of
//! its standard input is a notification for everyone. A socket that cannot take a frame at once ends
//! the run: what is compared is writing, not queueing.
#![expect(clippy::print_stdout, reason = "its address")]

use std::{
    io::{self, BufRead, Read, Write},
    sync::mpsc::{self, Receiver, TryRecvError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};

use super::load::{FIXED_ACCEPT, text_frame};

const LISTENER: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);
/// Every connection is pinged this often …
const HEARTBEAT: Duration = Duration::from_secs(25);
/// … a part of them at a time.
const PARTS: u32 = 100;
/// A ping without a payload (RFC 6455).
const PING: [u8; 2] = [0x89, 0];

struct Connection {
    stream: TcpStream,
    is_open: bool,
}

/// The floor's `main`.
///
/// # Errors
///
/// The system refuses it something, or a socket is full.
pub fn main() -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let orders = read_orders(Waker::new(poll.registry(), WAKE)?);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let (mut part, mut pinged) = (0, Instant::now());
    loop {
        let pause = (HEARTBEAT / PARTS).saturating_sub(pinged.elapsed());
        match poll.poll(&mut events, Some(pause)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled.context("epoll")?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut connections)?,
                WAKE if !fan_out_all(&orders, &mut connections)? => return Ok(()),
                WAKE => {}
                Token(at) => read(&mut connections, at, &mut buffer)?,
            }
        }
        if pinged.elapsed() >= HEARTBEAT / PARTS {
            pinged = Instant::now();
            part = (part + 1) % PARTS as usize;
            for connection in connections.iter_mut().skip(part).step_by(PARTS as usize).flatten() {
                if connection.is_open {
                    write_whole(&mut connection.stream, &PING)?;
                }
            }
        }
    }
}

fn read_orders(waker: Waker) -> Receiver<String> {
    let (sender, orders) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() || waker.wake().is_err() {
                return;
            }
        }
        drop(sender);
        let _ended = waker.wake().is_ok();
    });
    orders
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> anyhow::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let token = Token(connections.len());
                poll.registry().register(&mut stream, token, Interest::READABLE)?;
                connections.push(Some(Connection { stream, is_open: false }));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        }
    }
}

/// Reads what is there. What an open connection says is of no interest.
fn read(
    connections: &mut [Option<Connection>],
    at: usize,
    buffer: &mut [u8],
) -> anyhow::Result<()> {
    let Some(slot) = connections.get_mut(at) else { return Ok(()) };
    while let Some(connection) = slot {
        match connection.stream.read(buffer) {
            Ok(0) => *slot = None,
            // The request is one small write on loopback: it comes whole.
            Ok(count) if !connection.is_open && buffer[..count].ends_with(b"\r\n\r\n") => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                     connection: Upgrade\r\nsec-websocket-accept: {FIXED_ACCEPT}\r\n\r\n"
                );
                write_whole(&mut connection.stream, answer.as_bytes())?;
                connection.is_open = true;
            }
            Ok(_) if !connection.is_open => bail!("a request in parts"),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => *slot = None,
        }
    }
    Ok(())
}

/// Fans out what was asked for; says whether more may come.
fn fan_out_all(
    orders: &Receiver<String>,
    connections: &mut [Option<Connection>],
) -> anyhow::Result<bool> {
    loop {
        match orders.try_recv() {
            Ok(text) => {
                let frame = text_frame(text.as_bytes());
                for connection in connections.iter_mut().flatten().filter(|it| it.is_open) {
                    write_whole(&mut connection.stream, &frame)?;
                }
            }
            Err(TryRecvError::Empty) => return Ok(true),
            Err(TryRecvError::Disconnected) => return Ok(false),
        }
    }
}

fn write_whole(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    let count = stream.write(bytes).context("a socket is full or gone")?;
    if count < bytes.len() {
        bail!("a socket took {count} of {} bytes", bytes.len());
    }
    Ok(())
}
