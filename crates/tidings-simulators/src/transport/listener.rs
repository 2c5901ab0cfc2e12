//! The accept loop and its owner.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Service, connection};
use crate::{ConnectionFaults, SimulatorError, SimulatorTls};

/// How long [`Server::stop`] waits for connections to end by themselves.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The pause after a failed accept, which in practice means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a simulator listens, and the limits of its transport.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Address; port 0 takes any free one.
    pub address: SocketAddr,
    /// Connections served at a time; further ones wait in the kernel's accept queue.
    pub max_connections: usize,
    /// Streams that an HTTP/2 connection may have open at a time (`SETTINGS_MAX_CONCURRENT_STREAMS`);
    /// APNs has a lower limit until it trusts the client.
    pub max_concurrent_streams: u32,
}

impl Default for ListenConfig {
    /// A free port on `127.0.0.1`, 1,024 connections of 1,000 streams.
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            max_connections: 1_024,
            max_concurrent_streams: 1_000,
        }
    }
}

/// A bound socket that serves nothing yet.
pub(crate) struct Listener {
    config: ListenConfig,
    socket: TcpListener,
    address: SocketAddr,
}

/// What every connection of a server shares.
pub(super) struct Shared<S> {
    pub(super) acceptor: TlsAcceptor,
    pub(super) service: S,
    pub(super) faults: ConnectionFaults,
    pub(super) max_concurrent_streams: u32,
    pub(super) stop: CancellationToken,
}

/// A running server; dropping it without [`stop`](Self::stop) aborts its tasks.
pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Listener {
    pub(crate) async fn bind(config: ListenConfig) -> Result<Self, SimulatorError> {
        let failed = |source| SimulatorError::Listen { address: config.address, source };
        let socket = TcpListener::bind(config.address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { config, socket, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn serve<S: Service>(
        self,
        tls: &SimulatorTls,
        faults: ConnectionFaults,
        service: S,
    ) -> Result<Server, SimulatorError> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            acceptor: tls.acceptor(S::PROTOCOLS, S::CLIENT_CERTIFICATES)?,
            service,
            faults,
            max_concurrent_streams: self.config.max_concurrent_streams,
            stop: stop.clone(),
        });
        let address = self.address;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_all(self.socket, self.config.max_connections, shared));
        Ok(Server { address, stop, tasks })
    }
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends GOAWAY everywhere and waits two seconds for the connections to end; then cuts them.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        // Past the grace the set is dropped, which aborts what is left.
        if timeout(STOP_GRACE, self.tasks.join_next()).await.is_err() {
            tracing::debug!("connections of a simulator were cut");
        }
    }
}

async fn accept_all<S: Service>(
    socket: TcpListener,
    max_connections: usize,
    shared: Arc<Shared<S>>,
) {
    let mut connections = JoinSet::new();
    // The oldest first. Those that have ended are left out when a new one comes.
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    let mut orders = shared.faults.orders();
    let mut kill_every = orders.borrow_and_update().kill_every;
    let mut kill_at = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            Ok(()) = orders.changed() => {
                let ordered = orders.borrow_and_update().kill_every;
                if ordered != kill_every {
                    kill_every = ordered;
                    kill_at = Instant::now() + ordered.unwrap_or_default();
                }
            }
            () = sleep_until(kill_at), if kill_every.is_some() => {
                kill_at += kill_every.unwrap_or_default();
                handles.retain(|handle| !handle.is_finished());
                if let Some(oldest) = handles.pop_front() {
                    oldest.abort();
                }
            }
            accepted = socket.accept(), if connections.len() < max_connections => match accepted {
                Ok((tcp, _)) => {
                    handles.retain(|handle| !handle.is_finished());
                    handles.push_back(connections.spawn(connection::serve(tcp, Arc::clone(&shared))));
                }
                Err(error) => {
                    tracing::warn!(%error, "a simulator could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        tracing::error!(%error, "a connection of a simulator ended in a panic");
    }
}
