//! `tidings recommend`.

use std::path::PathBuf;

use clap::Args;

use super::NodeArgs;

/// Flags of `tidings recommend`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidings recommend u_7 --explain                       whom u_7 may want to follow, and why\n  \
    tidings recommend --all --out lists.ndjson.zst        a list for everyone who follows somebody\n  \
    tidings recommend --all --out lists.ndjson --after u_7   go on after that user\n  \
    tidings recommend --all --notify                      tell everyone, once a week\n\n\
Lines are {\"user\": \"u_7\", \"recommendations\": [...]}.\n\n\
A notification has the type people_to_follow, and the first three with their reasons in its\n\
data. Running it again in the same week (ISO 8601, UTC) tells nobody twice. As a line of cron,\n\
with a key that has graph:read and events:write:\n\n  \
    0 9 * * 1  TIDINGS_KEY=tdk_... tidings recommend --all --notify")]
pub struct RecommendArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The users.
    #[arg(value_name = "USER", required_unless_present = "all", conflicts_with = "all")]
    pub users: Vec<String>,
    /// Everyone who follows somebody.
    #[arg(long)]
    pub all: bool,
    /// How many for each (1 to 100); `recommendations.limit` of the node unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub limit: Option<u16>,
    /// With reasons.
    #[arg(long)]
    pub explain: bool,
    /// Write to this file instead of standard output; .gz and .zst are packed so. It must not be there
    /// yet; with --after it is added to.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Go on after this user, as a command that stopped has said.
    #[arg(long, value_name = "USER", requires = "all")]
    pub after: Option<String>,
    /// Tell each user with a notification, instead of printing the lists; with --out do both.
    #[arg(long)]
    pub notify: bool,
    /// The title of the notification (1 to 256 bytes).
    #[arg(
        long,
        default_value = "People you may want to follow",
        value_name = "TEXT",
        requires = "notify"
    )]
    pub title: String,
    /// Lists that are asked for at once (1 to 64).
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub concurrency: u8,
}
