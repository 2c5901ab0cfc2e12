//! The command line.

mod evaluate;
mod graph;
mod recommend;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    evaluate::EvaluateArgs,
    graph::{GraphCommand, ImportArgs, TextFormat},
    recommend::RecommendArgs,
};

/// Tidings tells people what happened.
///
/// Events come in over HTTP; Tidings works out who should know, keeps every notification in that
/// person's inbox, and gets it onto a screen: over WebSocket when they are online, over APNs or FCM
/// when they are not.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    version = concat!(
        env!("CARGO_PKG_VERSION"), " (", env!("TIDINGS_COMMIT"), ", ", env!("TIDINGS_BUILD"), ")"
    ),
    after_help = "Start here:\n  \
        tidings demo                     see it work on a real social graph, no set-up\n  \
        tidings serve                    run a node on 127.0.0.1:7700, data in ./tidings-data\n  \
        tidings tail --user u_7          watch a user's notifications arrive\n  \
        tidings dlq list                 what could not become notifications, and why\n  \
        tidings deliveries export        what came of every attempt to deliver\n  \
        tidings graph import FILE        bring in who follows whom\n  \
        tidings evaluate FILE            how good recommendations are on your follows\n  \
        tidings recommend USER           whom a user may want to follow\n  \
        tidings config print             every option and its value"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node.
    Serve(ServeArgs),
    /// Run a node with a real follow graph, a stream of events, clients and push simulators.
    Demo(DemoArgs),
    /// Print a user's notifications as they arrive.
    Tail(TailArgs),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Export the log of all attempts to deliver.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// List, replay and drop what could not become notifications.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Import, export and size who follows whom, and erase a user from it.
    #[command(subcommand)]
    Graph(GraphCommand),
    /// Measure how good recommendations are on a graph of yours.
    ///
    /// Some follows are hidden, and should be recommended. What Tidings serves is compared with simple
    /// methods, on the same graph and users.
    #[command(after_long_help = evaluate::HELP)]
    Evaluate(EvaluateArgs),
    /// Say whom users may want to follow, and tell them.
    Recommend(RecommendArgs),
    /// See and move how far Kafka was read.
    #[command(subcommand)]
    Offsets(OffsetsCommand),
    /// Bring the schema of the configured PostgreSQL database up to date.
    #[command(after_help = "Examples:\n  \
        tidings migrate                             with ./tidings.toml\n  \
        tidings migrate --config /etc/tidings.toml\n  \
        TIDINGS__STORE__POSTGRES__URL=postgres://tidings@db/tidings tidings migrate\n\n\
Run it before a new version when store.postgres.migrate_at_start is false. It may be run again, and\n\
by several nodes at once: one upgrades, the others wait.")]
    Migrate(ConfigArgs),
    /// Make server API keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make a token for a user with the configured HS256 secret, for trying things out.
    Token(TokenArgs),
    /// Run stand-ins for APNs, FCM and browsers' push services, which judge like the real ones.
    #[command(after_long_help = simulate_help())]
    Simulate(SimulateArgs),
    /// Print the OpenAPI description of the HTTP API.
    Openapi,
}

/// What `tidings simulate --help` ends with: examples, and the routes of its control.
fn simulate_help() -> String {
    format!(
        "Examples:\n  \
        tidings simulate all                         keys and settings in ./tidings-simulators\n  \
        tidings serve --config tidings-simulators/tidings.toml\n  \
        tidings simulate apns --latency-ms 40 --listen 127.0.0.1:0 --json\n\n\
        Control over HTTP (SERVICE is apns, fcm or webpush):\n\n{}",
        tidings_simulators::control_api::ROUTES
    )
}

/// Which push services are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulatedService {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
    /// A browser and its push service.
    Webpush,
    /// All of them.
    All,
}

/// Flags of `tidings simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Which service.
    pub service: SimulatedService,
    /// Address of the first service; further ones take the ports after it. Port 0 takes free ones.
    #[arg(long, default_value = "127.0.0.1:7711", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of the control. It has no authentication.
    #[arg(long, default_value = "127.0.0.1:7710", value_name = "ADDRESS")]
    pub control: SocketAddr,
    /// Where keys, certificates and settings are written; they are new at each start.
    #[arg(long, default_value = "tidings-simulators", value_name = "DIR")]
    pub out: PathBuf,
    /// How long every answer takes, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub latency_ms: u64,
    /// The bundle id that APNs takes pushes for.
    #[arg(long, default_value = "com.example.app", value_name = "ID")]
    pub topic: String,
    /// FCM's project.
    #[arg(long, default_value = "demo-project", value_name = "ID")]
    pub project: String,
    /// Without FCM's limits of messages a minute, to measure a sender.
    #[arg(long)]
    pub unlimited: bool,
    /// Print one line of JSON when all is up, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
    /// Stop when standard input ends: for a parent process that must not leave it behind.
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML); ./tidings.toml is read if there is one and none is named.
    #[arg(long, short, value_name = "FILE", env = "TIDINGS_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Flags of `tidings serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address to listen on, instead of `server.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Data directory, instead of `store.data_dir`.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Write the address that the node listens on to this file once it is ready.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// Stop when standard input ends: for a parent process that must not leave a node behind.
    #[arg(long)]
    pub stop_with_stdin: bool,
    /// Serve the demo's page under `/demo`, for these users. For `tidings demo`, which starts its node
    /// with it.
    #[arg(long, hide = true, value_name = "IDS", value_delimiter = ',')]
    pub demo_page: Option<Vec<String>>,
}

/// Flags of `tidings demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Follow graph: `small` (wiki-vote, 7,115 users), `medium` (epinions, 75,879 users), or an edge
    /// list file (`follower followee` per line, plain or .gz).
    #[arg(long, default_value = "small", value_name = "GRAPH")]
    pub graph: String,
    /// Events per second; 0 sends as fast as they are accepted, with FCM's quotas lifted.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub rate: u32,
    /// Users with a live session; everyone else has a phone.
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub online: usize,
    /// Stop after this many seconds of events.
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Stop after this many events.
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Print one line of JSON at the end, and nothing else on standard output. Without --seconds or
    /// --events it stops after 30 seconds.
    #[arg(long)]
    pub json: bool,
    /// When the stream is over, keep the node and its page until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Seed of the stream: the same seed tells the same story.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Keep the data here instead of a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the node.
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

/// Flags of `tidings tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// The user.
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// Address of the node.
    #[arg(long, default_value = "http://127.0.0.1:7700", value_name = "URL", env = "TIDINGS_URL")]
    pub url: String,
    /// The user's token; a node without keys takes `user:ID`, which is the default.
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Show what came after this `seq` first; 0 shows the whole inbox.
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
    /// Print each notification as a line of JSON.
    #[arg(long)]
    pub json: bool,
    /// Stop after this many notifications.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is valid, and what is wrong with it.
    Check(ConfigArgs),
    /// Print the configuration as it is in effect, without secrets.
    Print(ConfigArgs),
    /// Print the default file, with a comment on every option.
    Default,
    /// Print the reference in Markdown.
    Docs,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key. It is shown once; the configuration keeps a digest of it.
    Create {
        /// Name of the key, for the log.
        #[arg(long, default_value = "backend", value_name = "NAME")]
        name: String,
        /// What the key may do; may be given many times. All scopes unless given.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Make a VAPID key, which a node reaches browsers with, and print its public half.
    Vapid {
        /// The file that the private key is written to. It must not exist: browsers that subscribed with
        /// the key in it could be reached no more.
        #[arg(long, default_value = "vapid.key", value_name = "FILE")]
        out: PathBuf,
    },
}

/// Which node a command speaks to.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Address of the node.
    #[arg(long, default_value = "http://127.0.0.1:7700", value_name = "URL", env = "TIDINGS_URL")]
    pub url: String,
    /// Server key, if the node has keys.
    #[arg(long, value_name = "KEY", env = "TIDINGS_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    tidings dlq list --limit 10                 the newest ten, with reasons\n  \
    tidings dlq show 17                         everything that is kept of one\n  \
    tidings dlq replay 17 18                    take two in again, as they are\n  \
    tidings dlq replay 17 --event fixed.json    take in this event instead\n  \
    tidings dlq list --json | jq 'select(.topic == \"orders\") | .id' | xargs tidings dlq drop")]
pub enum DlqCommand {
    /// List them, newest first.
    List {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// How many.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Print each as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is kept of one, as JSON.
    Show {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Its number.
        id: u64,
    },
    /// Take them in again; those that succeed are removed.
    Replay {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Their numbers.
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Take in the event in this file instead of the letter's own.
        #[arg(long, value_name = "FILE", conflicts_with = "all")]
        event: Option<PathBuf>,
    },
    /// Remove them.
    Drop {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Their numbers.
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// What can be done with the delivery log.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    tidings deliveries show 0199c3f2-6b1e-7cc1-9d2e-3a4b5c6d7e8f     what became of one notification\n  \
    tidings deliveries export --since 2026-11-01T00:00:00Z --out november.ndjson\n  \
    tidings deliveries export --after 48210 --out november.ndjson    go on in the same file\n  \
    tidings deliveries export --channel apns --outcome failed | jq -r .reason | sort | uniq -c")]
pub enum DeliveriesCommand {
    /// Show the attempts to get one notification onto screens, oldest first.
    Show {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// The notification's id, as inboxes and the answer to an event give it.
        notification: String,
        /// Print each as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write attempts as lines of JSON, in the order in which they were logged. Each has its number; the
    /// end says after which number later ones come.
    Export {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Which attempts.
        #[command(flatten)]
        filter: DeliveryFilterArgs,
        /// Go on after the attempt with this number.
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// Write to this file instead of standard output. It must not be there yet; with --after it is
        /// added to.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which attempts to deliver.
#[derive(Debug, Args)]
pub struct DeliveryFilterArgs {
    /// Those that ended at this time or later (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Those that ended before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Those on this channel: websocket, apns, fcm or webpush.
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// Those with this outcome: delivered, retrying, failed or skipped.
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Those for this user.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
}

/// What can be done with the positions in Kafka.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    tidings offsets list                        how far each partition was stored\n  \
    tidings offsets set --topic events --partition 3 --offset 120000\n  \
    tidings offsets set --topic events --partition 3 --reset\n\n\
Records that are read again tell nobody twice. The topic has to be in kafka.topics of the node.")]
pub enum OffsetsCommand {
    /// List how far each partition was stored.
    List {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Move a partition. Whoever reads it now goes on from there.
    Set {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// The topic.
        #[arg(long)]
        topic: String,
        /// The partition's number.
        #[arg(long)]
        partition: i32,
        /// The first record to be read.
        #[arg(long, required_unless_present = "reset")]
        offset: Option<i64>,
        /// To where a partition begins that was never read (kafka.start).
        #[arg(long, conflicts_with = "offset")]
        reset: bool,
    },
}

/// Flags of `tidings token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The user.
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// How long the token is good for, in seconds.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub ttl: u64,
}
