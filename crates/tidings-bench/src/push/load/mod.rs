//! A push client in a process of its own, which pushes as fast as it can: Tidings' own, or the bare limit.
//!
//! It is this program again, under a hidden name, and speaks as the programs of `deploy/peers` do. The
//! first line of its standard input is its [`Settings`]; it pushes until its input ends, and then says
//! what came of it.
#![expect(clippy::print_stdout, reason = "its answer")]

mod bare;
mod ours;

use std::{
    io::{BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::{runtime::Runtime, task::JoinSet};

use super::simulator::Access;

/// The first line of its input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    pub(super) access: Access,
    pub(super) client: Client,
    /// Pushes under way at a time.
    pub(super) in_flight: u32,
    /// Over so many connections.
    pub(super) connections: u32,
    /// Devices that are pushed to in turn.
    pub(super) devices: u64,
    /// What all pushes say.
    pub(super) title: String,
    pub(super) body: String,
}

/// Whose client. Programs of others do not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Client {
    Tidings,
    /// The HTTP/2 library alone.
    Bare,
    Other,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Pushed {
    pub(super) sent: u64,
    pub(super) delivered: u64,
}

/// What is measured.
enum Pusher {
    Ours(Box<ours::Ours>),
    Bare(bare::Bare),
}

impl Pusher {
    /// Sends one push and says whether it was accepted.
    async fn push(&self, worker: u64, number: u64) -> bool {
        match self {
            Self::Ours(ours) => ours.push(number).await,
            Self::Bare(bare) => bare.push(worker, number).await,
        }
    }
}

/// The client's `main`.
///
/// # Errors
///
/// Its settings cannot be read, or it cannot connect.
pub fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let settings: Settings = serde_json::from_str(&line).context("the settings")?;
    let is_over = Arc::new(AtomicBool::new(false));
    let input = Arc::clone(&is_over);
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ended = std::io::stdin().lock().read_to_end(&mut rest).is_ok();
        input.store(true, Ordering::Relaxed);
    });
    let pushed = Runtime::new()?.block_on(push_until(&settings, &is_over))?;
    println!("{}", serde_json::to_string(&pushed)?);
    Ok(())
}

async fn push_until(settings: &Settings, is_over: &Arc<AtomicBool>) -> anyhow::Result<Pushed> {
    let mut background = JoinSet::new();
    let pusher = Arc::new(match settings.client {
        Client::Bare => Pusher::Bare(bare::Bare::connect(settings, &mut background).await?),
        Client::Tidings => Pusher::Ours(Box::new(ours::Ours::new(settings)?)),
        Client::Other => anyhow::bail!("this is no program of others"),
    });
    let (sent, delivered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    for worker in 0..u64::from(settings.in_flight) {
        let (pusher, is_over) = (Arc::clone(&pusher), Arc::clone(is_over));
        let (sent, delivered) = (Arc::clone(&sent), Arc::clone(&delivered));
        workers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if pusher.push(worker, number).await {
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    let [sent, delivered] = [sent, delivered].map(|it| it.load(Ordering::Relaxed));
    Ok(Pushed { sent, delivered })
}
