//! The loop: sockets, timers, orders.
#![expect(clippy::print_stdout, reason = "the answers to orders")]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, BufRead, Read, Write},
    sync::mpsc::{self, Receiver, TryRecvError},
    time::Duration,
};

use anyhow::Context;
use jsonwebtoken::EncodingKey;
use mio::{Events, Interest, Poll, Token, Waker, event::Event};
use tidings_core::retry::{RetryDecision, RetryPolicy};

use super::{
    Order, Protocol, Settings, Status,
    client::{Client, Stage, connect},
    frames::{self, first_frame, push_masked},
    mint, now_us,
    oracle::{Arrival, Oracle},
    schedule::mix,
    speech::Heard,
};

/// Connections that are opened at once; those that come back do not wait for it.
const OPENING: usize = 128;
/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;
/// How long a client gathers acknowledgements, as the JavaScript client does.
const ACK_US: u64 = 100_000;
/// How long connecting and being welcomed may take together, as in the Rust client.
const WELCOME_US: u64 = 15_000_000;
/// How often a slow client reads.
const SIP_US: u64 = 250_000;
/// How the JavaScript client comes back.
const BACKOFF: RetryPolicy = RetryPolicy { max_attempts: u32::MAX, base_ms: 500, cap_ms: 30_000 };
const WAKE: Token = Token(usize::MAX);

/// What a client does later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    Connect,
    /// The welcome should have come on the connection with this number.
    Welcomed(u32),
    Leave,
    Sip,
}

/// Leaving and coming back.
#[derive(Debug, Clone, Copy)]
struct Blink {
    every_us: u64,
    offline_us: u64,
}

/// The generator.
pub(super) struct Driver {
    settings: Settings,
    key: EncodingKey,
    upgrade: String,
    poll: Poll,
    orders: Receiver<String>,
    clients: Vec<Client>,
    /// Clients that were told to open.
    opened: usize,
    wanted: usize,
    opening: usize,
    live: u32,
    oracle: Oracle,
    buffer: Vec<u8>,
    timers: BinaryHeap<Reverse<(u64, usize, Later)>>,
    acks: VecDeque<(u64, usize)>,
    blink: Option<Blink>,
    sip_bytes: usize,
    random: u64,
    cut: u64,
    refused: u64,
    trouble: Option<String>,
}

impl Driver {
    pub(super) fn new(settings: Settings) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (sender, orders) = mpsc::sync_channel(16);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() || waker.wake().is_err() {
                    return;
                }
            }
            // The end of the input is an order too: the loop sees the channel closed.
            drop(sender);
            let _ended = waker.wake().is_ok();
        });
        Ok(Self {
            key: EncodingKey::from_secret(settings.secret.as_bytes()),
            upgrade: settings.protocol.upgrade(),
            poll,
            orders,
            clients: (0..settings.clients).map(|_| Client::new()).collect(),
            opened: 0,
            wanted: 0,
            opening: 0,
            live: 0,
            oracle: Oracle::new(&settings)?,
            buffer: vec![0; BUFFER],
            timers: BinaryHeap::new(),
            acks: VecDeque::new(),
            blink: None,
            sip_bytes: 0,
            random: now_us(),
            cut: 0,
            refused: 0,
            trouble: None,
            settings,
        })
    }

    pub(super) fn run(mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.pause()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.context("epoll")?,
            }
            for event in &events {
                match event.token() {
                    WAKE if !self.obey_all()? => return Ok(()),
                    WAKE => {}
                    Token(client) => self.ready(client, event),
                }
            }
            self.tick();
            while self.opening < OPENING && self.opened < self.wanted {
                self.opened += 1;
                self.connect(self.opened - 1);
            }
        }
    }

    /// How long nothing is to be done.
    fn pause(&self) -> Option<Duration> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let ack = self.acks.front().map(|(at, _)| *at);
        let next = timer.into_iter().chain(ack).min()?;
        Some(Duration::from_micros(next.saturating_sub(now_us())))
    }

    /// Carries out the orders that are there; says whether more may come.
    fn obey_all(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.orders.try_recv() {
                Ok(line) => {
                    let order = serde_json::from_str(&line).context("an order")?;
                    self.obey(order);
                    println!("{}", serde_json::to_string(&self.status())?);
                    io::stdout().flush()?;
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Open { clients } => self.wanted = (clients as usize).min(self.clients.len()),
            Order::Measure(schedule) => self.oracle.measure(schedule),
            Order::Fresh => self.oracle.freshen(),
            Order::Forget => self.oracle.forget(),
            Order::Blink { every_ms: 0, .. } => self.blink = None,
            Order::Blink { every_ms, offline_ms } => {
                let blink = Blink { every_us: every_ms * 1000, offline_us: offline_ms * 1000 };
                self.blink = Some(blink);
                for client in 0..self.opened {
                    let at = now_us() + self.random_below(blink.every_us);
                    self.timers.push(Reverse((at, client, Later::Leave)));
                }
            }
            Order::Move { address } => self.settings.address = address,
            Order::Slow { clients, bytes_per_s } => self.slow(clients as usize, bytes_per_s),
            Order::Look => {}
        }
    }

    fn slow(&mut self, clients: usize, bytes_per_s: u32) {
        self.sip_bytes = (u64::from(bytes_per_s) * SIP_US / 1_000_000) as usize;
        for client in 0..self.opened {
            let was = std::mem::replace(&mut self.clients[client].slow, client < clients);
            if client < clients {
                let at = now_us() + self.random_below(SIP_US);
                self.timers.push(Reverse((at, client, Later::Sip)));
            } else if was {
                self.read(client, true);
            }
        }
    }

    fn status(&self) -> Status {
        let caught_up = self.clients.iter().filter(|client| client.is_caught_up()).count();
        let mut status = Status {
            live: self.live,
            caught_up: u32::try_from(caught_up).unwrap_or(u32::MAX),
            cut: self.cut,
            refused: self.refused,
            trouble: self.trouble.clone(),
            ..Status::default()
        };
        self.oracle.write(&mut status);
        status
    }

    /// A random number below `bound`.
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random = mix(self.random);
        self.random % bound.max(1)
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = now_us();
        while let Some(Reverse((at, client, later))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.do_later(client, later, now);
        }
        while let Some((at, client)) = self.acks.front().copied() {
            if at > now {
                break;
            }
            self.acks.pop_front();
            let state = &mut self.clients[client];
            state.ack_due = false;
            if state.stage == Stage::Live
                && let Some(ack) = self.settings.protocol.ack(state.last)
            {
                self.say(client, frames::TEXT, ack.as_bytes());
            }
        }
    }

    fn do_later(&mut self, client: usize, later: Later, now: u64) {
        let state = &mut self.clients[client];
        match later {
            Later::Connect if state.stage == Stage::Off => self.connect(client),
            Later::Connect => {}
            Later::Welcomed(generation) => {
                let waits = !matches!(state.stage, Stage::Off | Stage::Live);
                if waits && state.generation == generation {
                    self.ended(client, "no welcome in time");
                }
            }
            Later::Leave => {
                let Some(blink) = self.blink else { return };
                if state.stage == Stage::Live {
                    state.begun_us = 0;
                    self.hang_up(client);
                    let back = now + blink.offline_us;
                    self.timers.push(Reverse((back, client, Later::Connect)));
                }
                self.timers.push(Reverse((now + blink.every_us, client, Later::Leave)));
            }
            Later::Sip if state.slow => {
                self.sip(client);
                self.timers.push(Reverse((now + SIP_US, client, Later::Sip)));
            }
            Later::Sip => {}
        }
    }

    fn connect(&mut self, client: usize) {
        let narrow = client < self.settings.narrow as usize;
        let begun = connect(self.settings.address, narrow).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(client), interest)?;
            Ok(stream)
        });
        let state = &mut self.clients[client];
        if !state.resumes {
            self.opening += 1;
        }
        state.generation = state.generation.wrapping_add(1);
        state.begun_us = now_us();
        state.stage = Stage::Connecting;
        let deadline =
            Reverse((state.begun_us + WELCOME_US, client, Later::Welcomed(state.generation)));
        match begun {
            Ok(stream) => {
                state.stream = Some(stream);
                self.timers.push(deadline);
            }
            Err(error) => self.ended(client, &format!("connect: {error}")),
        }
    }

    /// Closes without a word.
    fn hang_up(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.stage == Stage::Live {
            self.live -= 1;
        }
        if !state.resumes && state.stage != Stage::Off {
            // It was one of those that are opened for the first time.
            self.opening = self.opening.saturating_sub(1);
        }
        state.stage = Stage::Off;
        state.held = Vec::new();
        state.unsent = Vec::new();
        // Closing takes it out of epoll.
        drop(state.stream.take());
    }

    /// The connection is over; the client comes back as the SDK does.
    fn ended(&mut self, client: usize, why: &str) {
        let was_live = self.clients[client].stage == Stage::Live;
        *(if was_live { &mut self.cut } else { &mut self.refused }) += 1;
        self.trouble = Some(why.to_owned());
        self.hang_up(client);
        let thousandths = self.random_below(1000);
        let state = &mut self.clients[client];
        state.failures = state.failures.saturating_add(1);
        #[expect(clippy::cast_precision_loss, reason = "below a thousand")]
        let random = thousandths as f64 / 1000.0;
        let lost_us = *state.lost_us.get_or_insert_with(now_us);
        let away = Duration::from_micros(now_us().saturating_sub(lost_us));
        let wait = match (state.asked_ms.take(), BACKOFF.after_loss(state.failures, away, random)) {
            // The server has spread its clients already.
            (Some(asked_ms), _) => Duration::from_millis(asked_ms),
            (None, RetryDecision::After(wait)) => wait,
            (None, RetryDecision::GiveUp) => return,
        };
        let at = now_us() + u64::try_from(wait.as_micros()).unwrap_or_default();
        self.timers.push(Reverse((at, client, Later::Connect)));
    }

    fn ready(&mut self, client: usize, event: &Event) {
        let Some(stream) = &self.clients[client].stream else { return };
        if self.clients[client].stage == Stage::Connecting {
            match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) => {
                    self.clients[client].stage = Stage::Upgrading;
                    let upgrade = std::mem::take(&mut self.upgrade);
                    self.send(client, upgrade.as_bytes());
                    self.upgrade = upgrade;
                }
                (Ok(Some(error)), _) | (Err(error), _) => {
                    return self.ended(client, &format!("connect: {error}"));
                }
                // Not yet.
                (Ok(None), Err(_)) => return,
            }
        }
        if event.is_writable() && !self.clients[client].unsent.is_empty() {
            let unsent = std::mem::take(&mut self.clients[client].unsent);
            self.send(client, &unsent);
        }
        let state = &self.clients[client];
        if event.is_readable() && !(state.slow && state.stage == Stage::Live) {
            self.read(client, event.is_read_closed());
        }
    }

    fn say(&mut self, client: usize, opcode: u8, payload: &[u8]) {
        self.random = mix(self.random);
        let [mask, _] = [self.random.to_be_bytes(), [0; 8]].map(|it| [it[0], it[1], it[2], it[3]]);
        let mut frame = Vec::with_capacity(payload.len() + 8);
        push_masked(opcode, payload, mask, &mut frame);
        self.send(client, &frame);
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        let state = &mut self.clients[client];
        let Some(stream) = &mut state.stream else { return };
        let mut sent = 0;
        while state.unsent.is_empty() && sent < bytes.len() {
            match stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.ended(client, &format!("write: {error}")),
            }
        }
        state.unsent.extend_from_slice(&bytes[sent..]);
    }

    /// Reads what is there. epoll tells of news only: a short read says that all was read, unless the
    /// other side has closed, whose end has to be read too.
    fn read(&mut self, client: usize, to_the_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(stream) = &mut self.clients[client].stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.ended(client, "the connection ended"),
                Ok(count) => {
                    self.take_in(client, &buffer[..count]);
                    if count < buffer.len() && !to_the_end {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.ended(client, &format!("read: {error}")),
            }
        }
        self.buffer = buffer;
    }

    /// Reads a little.
    fn sip(&mut self, client: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(stream) = &mut self.clients[client].stream {
            match stream.read(&mut buffer[..self.sip_bytes.clamp(1, BUFFER)]) {
                Ok(0) => self.ended(client, "the connection ended"),
                Ok(count) => self.take_in(client, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.ended(client, &format!("read: {error}")),
            }
        }
        self.buffer = buffer;
    }

    fn take_in(&mut self, client: usize, bytes: &[u8]) {
        let mut held = std::mem::take(&mut self.clients[client].held);
        let data = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        let at_us = now_us();
        let mut used = 0;
        while let Some(size) = self.understand(client, &data[used..], at_us) {
            used += size;
        }
        let state = &mut self.clients[client];
        if state.stage != Stage::Off {
            state.held = data[used..].to_vec();
        }
    }

    /// Deals with what stands first, and returns its size if it is complete.
    fn understand(&mut self, client: usize, data: &[u8], at_us: u64) -> Option<usize> {
        match self.clients[client].stage {
            Stage::Off | Stage::Connecting => return None,
            Stage::Upgrading => return self.upgraded(client, data, at_us),
            Stage::Greeting | Stage::Live => {}
        }
        let Ok(frame) = first_frame(data) else {
            self.ended(client, "a frame that is not understood");
            return None;
        };
        let frame = frame?;
        match frame.opcode {
            frames::TEXT | frames::BINARY => {
                // Centrifugo puts several messages into a frame.
                let text = frame.payload.split(|byte| *byte == b'\n').filter(|it| !it.is_empty());
                for message in text {
                    let heard = self.settings.protocol.hear(message);
                    self.heard(client, message, heard, at_us);
                }
            }
            frames::PING => self.say(client, frames::PONG, frame.payload),
            frames::CLOSE => {
                let why = match *frame.payload {
                    [high, low, ref reason @ ..] => format!(
                        "closed: {} {}",
                        u16::from_be_bytes([high, low]),
                        String::from_utf8_lossy(reason)
                    ),
                    _ => "closed".to_owned(),
                };
                self.ended(client, &why);
            }
            _ => {}
        }
        Some(frame.size)
    }

    fn upgraded(&mut self, client: usize, data: &[u8], at_us: u64) -> Option<usize> {
        let end = data.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&data[..end]);
        if !head.starts_with("HTTP/1.1 101") {
            let lower = head.to_ascii_lowercase();
            let wait = lower
                .split_once("retry-after:")
                .and_then(|(_, rest)| rest.split("\r\n").next()?.trim().parse::<u64>().ok());
            let why = head.lines().next().unwrap_or_default().to_owned();
            self.clients[client].asked_ms = wait.map(|secs| secs * 1000);
            self.ended(client, &why);
            return None;
        }
        let state = &mut self.clients[client];
        state.stage = Stage::Greeting;
        let last = state.resumes.then_some(state.last);
        let user = user_name(client);
        let token = mint(&self.key, &user, self.settings.inboxes).unwrap_or_default();
        match self.settings.protocol.hello(&token, last) {
            Some(hello) => self.say(client, frames::TEXT, hello.as_bytes()),
            None => self.welcome(client, 0, at_us),
        }
        Some(end)
    }

    fn heard(&mut self, client: usize, message: &[u8], heard: Heard, at_us: u64) {
        match heard {
            Heard::Welcome { head } => self.welcome(client, head, at_us),
            Heard::Notification { seq, event } => {
                let user = u32::try_from(client).unwrap_or(u32::MAX);
                let text_bytes = message.len();
                let arrival = Arrival { user, seq, event, text_bytes, at_us };
                let state = &mut self.clients[client];
                state.last = self.oracle.arrive(state.last, arrival);
                if !state.ack_due && self.settings.protocol == Protocol::Tidings {
                    state.ack_due = true;
                    self.acks.push_back((at_us + ACK_US, client));
                }
                self.note_caught_up(client, at_us);
            }
            Heard::AreYouThere => {
                self.say(client, frames::TEXT, self.settings.protocol.alive().as_bytes());
            }
            Heard::Bye { retry_ms } => self.clients[client].asked_ms = Some(retry_ms),
            Heard::Nothing => {}
            Heard::Refusal => {
                let why = format!("refused: {}", String::from_utf8_lossy(message));
                self.ended(client, &why);
            }
        }
    }

    fn welcome(&mut self, client: usize, head: u64, at_us: u64) {
        let state = &mut self.clients[client];
        self.live += 1;
        state.stage = Stage::Live;
        state.failures = 0;
        state.lost_us = None;
        state.head = head;
        self.oracle.connect_us.saturating_record(at_us.saturating_sub(state.begun_us).max(1));
        if !std::mem::replace(&mut state.resumes, true) {
            // From now on: what was there before is not asked for.
            state.last = head;
            self.opening = self.opening.saturating_sub(1);
        }
        if state.is_caught_up() {
            // It missed nothing.
            state.begun_us = 0;
        }
    }

    fn note_caught_up(&mut self, client: usize, at_us: u64) {
        let state = &mut self.clients[client];
        if state.begun_us != 0 && state.is_caught_up() {
            let took = at_us.saturating_sub(state.begun_us);
            state.begun_us = 0;
            self.oracle.replay_us.saturating_record(took.max(1));
        }
    }
}

/// The name of the user that a client is.
fn user_name(client: usize) -> String {
    super::super::story::user_name(client as u64)
}
