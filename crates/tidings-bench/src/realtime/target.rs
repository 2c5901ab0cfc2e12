//! What is measured: Tidings, its peer, and the floor.

use std::{fmt, net::SocketAddr};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin},
};

use super::{
    centrifugo::{self, Centrifugo},
    generator::own_process,
    load::{Inboxes, Protocol, Settings},
    story,
};
use crate::{
    ingest::{Bench, HttpConnection, Node},
    process,
};

/// Signs the tokens of a run. No secret: it is good for processes that end with the run.
pub(super) const TOKEN_SECRET: &str = "bench-0123456789abcdef0123456789abcdef";

/// Whom the bench compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    Tidings,
    /// With what its defaults are.
    Centrifugo,
    /// With the least memory that its open-source edition can be set to.
    CentrifugoLean,
    /// epoll and nothing else.
    Floor,
}

impl Contender {
    pub(super) const ALL: [Self; 4] =
        [Self::Tidings, Self::Centrifugo, Self::CentrifugoLean, Self::Floor];

    /// What the names of its values begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Tidings => "",
            Self::Centrifugo => "centrifugo_",
            Self::CentrifugoLean => "centrifugo_lean_",
            Self::Floor => "floor_",
        }
    }

    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Tidings => Protocol::Tidings,
            Self::Centrifugo | Self::CentrifugoLean => Protocol::Centrifugo,
            Self::Floor => Protocol::Bare,
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tidings => "Tidings",
            Self::Centrifugo => "Centrifugo",
            Self::CentrifugoLean => "Centrifugo, lean",
            Self::Floor => "the floor",
        })
    }
}

/// What a Tidings node is told besides its defaults: tokens that are checked, and room.
pub(super) fn node_toml() -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[auth.tokens]\nhs256_secret = \"{TOKEN_SECRET}\"\n"
    )
}

/// A running contender. Dropping it kills it.
pub(super) enum Target {
    Tidings(Node),
    Centrifugo(Centrifugo),
    Floor { _child: Child, pid: u32, address: SocketAddr, input: ChildStdin },
}

impl Target {
    /// Starts it; `None` if it is not installed.
    pub(super) async fn start(bench: &Bench, who: Contender) -> anyhow::Result<Option<Self>> {
        Ok(match who {
            Contender::Tidings => {
                let dir = bench.folder("node")?;
                Some(Self::Tidings(Node::start_with(&dir, &node_toml()).await?))
            }
            Contender::Centrifugo => {
                Centrifugo::start(bench, centrifugo::DEFAULT).await?.map(Self::Centrifugo)
            }
            Contender::CentrifugoLean => {
                Centrifugo::start(bench, centrifugo::LEAN).await?.map(Self::Centrifugo)
            }
            Contender::Floor => Some(start_floor().await?),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Tidings(node) => node.pid(),
            Self::Centrifugo(peer) => peer.pid(),
            Self::Floor { pid, .. } => *pid,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Tidings(node) => node.address(),
            Self::Centrifugo(peer) => peer.address(),
            Self::Floor { address, .. } => *address,
        }
    }

    pub(super) fn rss_bytes(&self) -> u64 {
        process::usage(self.pid()).unwrap_or_default().rss_bytes
    }

    pub(super) fn settings(
        &self,
        who: Contender,
        clients: u32,
        inboxes: Inboxes,
        events: u64,
    ) -> Settings {
        Settings {
            protocol: who.protocol(),
            address: self.address(),
            secret: TOKEN_SECRET.to_owned(),
            clients,
            inboxes,
            told: clients,
            events,
            narrow: 0,
        }
    }

    /// Tells `users` users of one event.
    pub(super) async fn tell_everyone(&mut self, event: u64, users: u32) -> anyhow::Result<()> {
        match self {
            Self::Tidings(node) => {
                let mut http = HttpConnection::open(node.address(), "").await?;
                let body = story::event(event, 0..u64::from(users));
                let status = http.post("/v1/events", body.as_bytes()).await?;
                ensure!(status < 300, "{status}: {}", http.body());
            }
            Self::Centrifugo(peer) => {
                let mut http = HttpConnection::open(peer.address(), centrifugo::HEADERS).await?;
                let body = format!(
                    r#"{{"channel":"inbox:everyone","data":{}}}"#,
                    story::notification(event)
                );
                let status = http.post("/api/publish", body.as_bytes()).await?;
                ensure!(status < 300 && !http.body().contains("\"error\""), "{}", http.body());
            }
            Self::Floor { input, .. } => {
                input.write_all(format!("{}\n", story::notification(event)).as_bytes()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Tidings(node) => node.stop().await,
            Self::Centrifugo(peer) => peer.stop().await,
            Self::Floor { .. } => Ok(()),
        }
    }
}

async fn start_floor() -> anyhow::Result<Target> {
    let mut child = own_process("realtime-floor")?;
    let pid = child.id().context("the floor ended at once")?;
    let input = child.stdin.take().context("the floor's input")?;
    let output = child.stdout.take().context("the floor's output")?;
    let line = BufReader::new(output).lines().next_line().await?.context("the floor's address")?;
    Ok(Target::Floor { _child: child, pid, address: line.parse()?, input })
}
