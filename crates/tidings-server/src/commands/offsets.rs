//! `tidings offsets`.

use super::{dlq::connect, print};
use crate::cli::OffsetsCommand;

pub(super) async fn run(command: OffsetsCommand) -> anyhow::Result<()> {
    match command {
        OffsetsCommand::List { node, json } => {
            let offsets = connect(&node)?.offsets().await?;
            if json {
                return print(&format!("{}\n", serde_json::to_string(&offsets)?));
            }
            for offset in offsets {
                print(&line(&offset))?;
            }
            Ok(())
        }
        OffsetsCommand::Set { node, topic, partition, offset, reset: _ } => {
            let moved = connect(&node)?.put_offset(&topic, partition, offset).await?;
            print(&line(&moved))
        }
    }
}

fn line(offset: &tidings_client::Offset) -> String {
    let next = offset.next_offset.map_or_else(|| "not read yet".to_owned(), |it| it.to_string());
    format!("{}/{}  {next}  (taken over {} times)\n", offset.topic, offset.partition, offset.epoch)
}
