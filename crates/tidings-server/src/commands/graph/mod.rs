//! `tidings graph`.

mod export;
mod import;
pub(super) mod input;
pub(super) mod progress;

use std::time::Duration;

use anyhow::Context;
use tidings_client::{Api, ApiError, GraphSize};
use tidings_core::ids::UserId;

use super::{dlq::connect, print};
use crate::cli::GraphCommand;

/// How often a node is asked while it is busy or away.
const ATTEMPTS: u32 = 10;

pub(super) async fn run(command: GraphCommand) -> anyhow::Result<()> {
    match command {
        GraphCommand::Import(args) => import::run(args).await,
        GraphCommand::Export { node, out, cursor } => {
            export::run(&connect(&node)?, out.as_deref(), cursor).await
        }
        GraphCommand::Stats { node, json } => stats(&connect(&node)?, json).await,
        GraphCommand::Erase { node, user } => {
            let user = UserId::new(&user).context("USER is not a user id")?;
            let api = connect(&node)?;
            let removed = patiently(async || api.erase_from_graph(&user).await).await;
            let removed = removed.context("some edges may be gone; erase again")?;
            print(&format!("{removed} edges removed\n"))
        }
    }
}

async fn stats(api: &Api, json: bool) -> anyhow::Result<()> {
    let size = api.graph_size().await?;
    if json {
        return print(&format!("{}\n", serde_json::to_string(&size)?));
    }
    let GraphSize { users, follows, blocks, mutes } = size;
    let mut text = String::new();
    for (name, count) in
        [("users", users), ("follows", follows), ("blocks", blocks), ("mutes", mutes)]
    {
        text.push_str(&format!("{name:<8} {count:>14}\n"));
    }
    print(&text)
}

/// A node that is busy is asked again, as often as it takes a short fault to pass: everything here may be
/// repeated.
pub(super) async fn patiently<T>(
    ask: impl AsyncFn() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
            }
            answer => return answer,
        }
    }
    ask().await
}
