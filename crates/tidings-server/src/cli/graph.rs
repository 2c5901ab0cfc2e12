//! `tidings graph`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::NodeArgs;

/// What can be done with the social graph.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    tidings graph import follows.ndjson.zst           one JSON object per line\n  \
    tidings graph import follows.csv                  columns follower,followee[,at]\n  \
    tidings graph import soc-Epinions1.txt.gz         an edge list of snap.stanford.edu\n  \
    zcat big.gz | tidings graph import - --from-line 4000001\n  \
    tidings graph export graph.ndjson.zst             all follows, blocks and mutes\n  \
    tidings graph stats                               how many there are\n  \
    tidings graph erase u_7                           every edge of a user, for good")]
pub enum GraphCommand {
    /// Import follows, blocks and mutes from a file.
    #[command(after_help = "Formats, told apart by the first line:\n\n  \
        NDJSON   {\"follower\": \"u_1\", \"followee\": \"u_2\", \"at\": \"2026-11-01T12:00:00Z\"}\n           \
        {\"blocker\": \"u_1\", \"blocked\": \"u_2\"}\n           \
        {\"muter\": \"u_1\", \"muted\": \"u_2\"}\n  \
        CSV      follower,followee,at\n           \
        u_1,u_2,2026-11-01T12:00:00Z\n  \
        list     # a comment\n           \
        u_1 u_2\n\n\
Edges without a time get that of the import. Gzip and zstd are recognised by their content.\n\
Importing again is harmless, and nobody is notified. When it stops, it says at which line to\n\
go on.")]
    Import(ImportArgs),
    /// Export every follow, block and mute as NDJSON, which an import takes.
    #[command(
        after_help = "A name that ends in .gz or .zst is packed so. When it stops, it says with which \
        --cursor to go on; what was\nwritten before stays, and the rest is added to it."
    )]
    Export {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Write to this file instead of standard output. It must not be there yet; with --cursor it is
        /// added to.
        #[arg(value_name = "FILE")]
        out: Option<PathBuf>,
        /// Go on here, as an export that stopped has said.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Print how large the graph is.
    Stats {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Erase a user: every follow, block and mute, in both directions. It cannot be undone.
    Erase {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// The user.
        #[arg(value_name = "USER")]
        user: String,
    },
}

/// How a file of edges is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// By the first line.
    Auto,
    /// A JSON object per line.
    Ndjson,
    /// Comma-separated values under a line of names.
    Csv,
    /// Two ids per line, divided by white space.
    List,
}

/// Flags of `tidings graph import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The file; - reads standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = TextFormat::Auto, value_name = "FORMAT")]
    pub format: TextFormat,
    /// Every follow is one in both directions.
    #[arg(long)]
    pub undirected: bool,
    /// Go on at this line, counted from 1.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub from_line: u64,
    /// Edges that are sent at a time (1 to 100000).
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
}
