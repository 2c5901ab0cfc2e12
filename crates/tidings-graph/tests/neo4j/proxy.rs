//! A proxy before the server that stops a commit, or the answer to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A `COMMIT` message of Bolt, in its one chunk.
const COMMIT: &[u8] = &[0x00, 0x02, 0xb0, 0x12, 0x00, 0x00];

/// What becomes of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does not reach the server.
    Lost,
    /// It does, but the answer does not come back.
    Unanswered,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    lost: AtomicBool,
    unanswered: AtomicBool,
    caught: watch::Sender<bool>,
    cut: watch::Sender<u64>,
}

/// Ends with its owner.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            lost: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            caught: watch::Sender::new(false),
            cut: watch::Sender::new(0),
        });
        let mut accepting = JoinSet::new();
        let own = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, Arc::clone(&own)));
            }
        });
        Self { address, shared, _accepting: accepting }
    }

    /// Holds the next commit, or its answer, until the connections are cut.
    pub(crate) fn hold(&self, fate: Fate) {
        self.shared.caught.send_replace(false);
        let flag = if fate == Fate::Lost { &self.shared.lost } else { &self.shared.unanswered };
        flag.store(true, Ordering::SeqCst);
    }

    /// Waits until a commit is held.
    pub(crate) async fn caught(&self) {
        let mut caught = self.shared.caught.subscribe();
        let held = caught.wait_for(|it| *it);
        tokio::time::timeout(Duration::from_secs(60), held).await.unwrap().unwrap();
    }

    /// Ends all connections; new ones are let through.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|it| *it += 1);
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let Ok(mut server) = TcpStream::connect(shared.server).await else { return };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_held = false;
    loop {
        tokio::select! {
            _ = cut.changed() => return,
            read = client.read(&mut up), if !is_held => {
                let Ok(read @ 1..) = read else { return };
                // The driver sends it alone, after all answers.
                if up[..read].ends_with(COMMIT) {
                    let is_lost = shared.lost.swap(false, Ordering::SeqCst);
                    is_held = is_lost || shared.unanswered.swap(false, Ordering::SeqCst);
                    if is_held {
                        shared.caught.send_replace(true);
                    }
                    if is_lost {
                        continue;
                    }
                }
                if server.write_all(&up[..read]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down), if !is_held => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
