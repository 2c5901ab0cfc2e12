//! A wire between a client and a simulator that can be counted on, and cut off.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards connections until it is dropped.
pub(crate) struct Wire {
    address: SocketAddr,
    made: Arc<AtomicUsize>,
    /// Connections with a number up to this carry nothing any more, and nobody is told.
    frozen: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// A wire to what listens at `url`.
    pub(crate) async fn to(url: &str) -> Self {
        let target = url.rsplit_once('/').unwrap().1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (made, frozen) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(forward_all(listener, target, Arc::clone(&made), frozen.subscribe()));
        Self { address, made, frozen, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Connections made so far.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Lets all connections that were made so far fall silent, in both directions.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(self.made());
    }
}

async fn forward_all(
    listener: TcpListener,
    target: String,
    made: Arc<AtomicUsize>,
    frozen: watch::Receiver<usize>,
) {
    let mut running = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let number = made.fetch_add(1, Ordering::SeqCst) + 1;
        running.spawn(forward(near, target.clone(), number, frozen.clone()));
    }
}

async fn forward(
    mut near: TcpStream,
    target: String,
    number: usize,
    mut frozen: watch::Receiver<usize>,
) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let (mut near_in, mut near_out) = near.split();
    let (mut far_in, mut far_out) = far.split();
    tokio::select! {
        _ = copy(&mut near_in, &mut far_out) => {}
        _ = copy(&mut far_in, &mut near_out) => {}
        Ok(()) = async { frozen.wait_for(|frozen| *frozen >= number).await.map(drop) } => {
            std::future::pending::<()>().await;
        }
    }
}
