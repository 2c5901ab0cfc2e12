//! `tidings dlq`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use tidings_client::{Api, ApiError, DeadLetter};

use super::{print, tail::printable};
use crate::cli::{DlqCommand, NodeArgs};

/// Letters that are read at a time.
const PAGE: usize = 500;

pub(super) async fn run(command: DlqCommand) -> anyhow::Result<()> {
    match command {
        DlqCommand::List { node, limit, json } => list(&connect(&node)?, limit, json).await,
        DlqCommand::Show { node, id } => {
            let letter = connect(&node)?.dead_letter(id).await?;
            print(&format!("{letter:#}\n"))
        }
        DlqCommand::Replay { node, ids, all, event } => {
            let api = connect(&node)?;
            let ids = if all { all_ids(&api).await? } else { ids };
            replay(&api, &ids, event.as_deref()).await
        }
        DlqCommand::Drop { node, ids, all } => {
            let api = connect(&node)?;
            let ids = if all { all_ids(&api).await? } else { ids };
            let progress = progress(ids.len());
            for id in &ids {
                let dropped = api.drop_dead_letter(*id).await;
                dropped.with_context(|| format!("dead letter {id} was not removed"))?;
                progress.inc(1);
            }
            progress.finish_and_clear();
            println!("{} removed", ids.len());
            Ok(())
        }
    }
}

pub(super) fn connect(node: &NodeArgs) -> Result<Api, ApiError> {
    Api::new(&node.url, node.key.as_deref())
}

async fn list(api: &Api, limit: usize, json: bool) -> anyhow::Result<()> {
    let mut cursor = None;
    let mut left = limit;
    while left > 0 {
        let page = api.dead_letters(left.min(PAGE), cursor.as_deref()).await?;
        left -= page.items.len().min(left);
        for letter in &page.items {
            let line = if json { as_json(letter)? } else { as_line(letter) };
            print(&line)?;
        }
        cursor = page.next;
        if cursor.is_none() || left == 0 {
            if !json {
                eprintln!("{} in all", page.total);
            }
            break;
        }
    }
    Ok(())
}

fn as_json(letter: &DeadLetter) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(letter)?))
}

fn as_line(letter: &DeadLetter) -> String {
    let place = match (&letter.topic, letter.partition, letter.offset) {
        (Some(topic), Some(partition), Some(offset)) => format!("{topic}/{partition}@{offset}"),
        _ => letter.origin.clone(),
    };
    let DeadLetter { id, stage, reason, at, .. } = letter;
    format!("{id:>8}  {at}  {stage:<6}  {}  {}\n", printable(&place), printable(reason))
}

async fn all_ids(api: &Api) -> anyhow::Result<Vec<u64>> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let page = api.dead_letters(PAGE, cursor.as_deref()).await?;
        ids.extend(page.items.iter().map(|letter| letter.id));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

/// Oldest first, which is the order in which they came.
async fn replay(api: &Api, ids: &[u64], event: Option<&Path>) -> anyhow::Result<()> {
    let event = match event {
        Some(_) if ids.len() != 1 => bail!("--event goes with exactly one dead letter"),
        Some(file) => {
            let json = std::fs::read_to_string(file);
            Some(json.with_context(|| format!("{} cannot be read", file.display()))?)
        }
        None => None,
    };
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let progress = progress(ids.len());
    let mut refused = 0;
    for id in &ids {
        match patiently(api, *id, event.as_deref()).await {
            Ok(()) => {}
            Err(error @ ApiError::Refused { status: 404 | 409 | 422 | 400, .. }) => {
                refused += 1;
                progress.suspend(|| eprintln!("{id}: {error}"));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("dead letter {id} was not replayed"));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!("{} replayed, {refused} refused and kept", ids.len() - refused);
    if refused > 0 && refused == ids.len() {
        bail!("not one dead letter could be replayed");
    }
    Ok(())
}

/// A node that is busy is asked again, as often as it takes a short fault to pass.
async fn patiently(api: &Api, id: u64, event: Option<&str>) -> Result<(), ApiError> {
    const ATTEMPTS: u32 = 10;
    for _ in 1..ATTEMPTS {
        match api.replay_dead_letter(id, event.map(str::to_owned)).await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
            }
            answer => return answer.map(drop),
        }
    }
    api.replay_dead_letter(id, event.map(str::to_owned)).await.map(drop)
}

fn progress(letters: usize) -> ProgressBar {
    // Draws on a terminal only.
    ProgressBar::new(u64::try_from(letters).unwrap_or(u64::MAX))
}
