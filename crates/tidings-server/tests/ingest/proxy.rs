//! A proxy between a node and a server, which cuts, slows, and stops the bytes at a word of the protocol.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use crate::until::DEADLINE;

/// Where a word is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the node to the server.
    Up,
    /// From the server to the node.
    Down,
}

/// A word at which bytes are held.
#[derive(Debug, Clone, Copy)]
struct Trap {
    direction: Direction,
    word: &'static [u8],
    /// Which time it comes, from 1.
    left: u32,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    /// Raised to end all connections of the time.
    cuts: watch::Sender<u64>,
    caught: watch::Sender<bool>,
    /// Raised to let through what is held.
    releases: watch::Sender<u64>,
    delay_ms: AtomicU64,
    trap: Mutex<Option<Trap>>,
}

/// A proxy in front of a server. Ends with its owner.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl FaultProxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            cuts: watch::Sender::new(0),
            caught: watch::Sender::new(false),
            releases: watch::Sender::new(0),
            delay_ms: AtomicU64::new(0),
            trap: Mutex::default(),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _accepting: accepting }
    }

    /// Ends all connections, also those that are held; new ones are let through.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Each piece of data waits so long from now on.
    pub(crate) fn slow_down(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.shared.delay_ms.store(millis, Ordering::Relaxed);
    }

    /// Holds the connection on which `word` comes for the n-th time: what came before it is let
    /// through, the word is not, and nothing after it, until it is released or cut.
    pub(crate) fn hold_at(&self, direction: Direction, word: &'static [u8], nth: u32) {
        self.shared.caught.send_replace(false);
        *self.shared.trap.lock().unwrap() = Some(Trap { direction, word, left: nth });
    }

    /// Lets through what is held.
    pub(crate) fn release(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// Waits until the word has come.
    pub(crate) async fn caught(&self) {
        let mut caught = self.shared.caught.subscribe();
        let held = tokio::time::timeout(DEADLINE, caught.wait_for(|caught| *caught)).await;
        assert!(held.is_ok(), "the word does not come");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (node, _) = accepted.unwrap();
                connections.spawn(serve(node, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until an end closes it or it is cut.
async fn serve(node: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    // Failing to set it makes the proxy slower, no more.
    drop((node.set_nodelay(true), server.set_nodelay(true)));
    let (from_node, to_node) = node.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_node, to_server, Direction::Up, &shared) => {}
        () = carry(from_server, to_node, Direction::Down, &shared) => {}
        _ = cuts.changed() => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    shared: &Shared,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let delay = shared.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let mut piece = &buffer[..read];
        if let Some(place) = shared.trapped(direction, piece) {
            // PostgreSQL's word is the text of a message: five bytes of type and length before it.
            let (before, held) = piece.split_at(place.saturating_sub(5));
            drop(to.write_all(before).await);
            let mut releases = shared.releases.subscribe();
            shared.caught.send_replace(true);
            if releases.changed().await.is_err() {
                return;
            }
            piece = held;
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Where in `piece` the awaited word stands, if it is the one that is waited for.
    ///
    /// A word that is spread over two pieces is missed; the next one will do.
    fn trapped(&self, direction: Direction, piece: &[u8]) -> Option<usize> {
        let mut slot = self.trap.lock().unwrap();
        let trap = slot.as_mut().filter(|trap| trap.direction == direction)?;
        let place = piece.windows(trap.word.len()).position(|it| it == trap.word)?;
        trap.left -= 1;
        if trap.left > 0 {
            return None;
        }
        *slot = None;
        Some(place)
    }
}
