//! Sets the stage, runs the stream, takes everything down again.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tempfile::TempDir;
use tidings_client::Api;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    display::Display,
    graph::DemoGraph,
    hints,
    node::{DemoNode, NodeFiles},
    page,
    phones::{Phones, Quotas},
    sessions::{EVENT_PREFIX, Sessions},
    story::Story,
    stream::{self, Stream},
    tally::{Summary, Tally},
};
use crate::cli::DemoArgs;

/// How long a bounded run without `--seconds` or `--events` lasts.
const USUAL_SECONDS: u64 = 30;
/// How long the stream runs at full rate when nothing bounds it; then it slows down and goes on.
const BUSY_SECONDS: u64 = 60;
/// How long the last notifications may take to their screens.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the demo and says by its exit code whether every notification arrived once.
///
/// # Errors
///
/// Whatever keeps the demo from running: a port in use, a graph that cannot be read, a node that
/// ends.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut display = Display::new(args.json);
    let mut stage = Stage::set(&args, &mut display).await?;
    let start = Instant::now();
    let outcome = stage.play(&args, &mut display).await;
    let elapsed = start.elapsed();
    display.end_live();
    let (asked_to_stop, summary) = match outcome {
        Ok(ending) => (ending == Ending::AskedTo, stage.summary().await),
        Err(error) => (true, Err(error)),
    };
    if let (true, false, Ok(summary)) = (args.keep, asked_to_stop, &summary) {
        display.result(summary, elapsed)?;
        stage.keep(&display).await?;
    }
    let unexpected = stage.tally.unexpected();
    let unreadable = stage.tally.unreadable_arrivals();
    let refused = stage.tally.failed_requests();
    let node_log = stage.log.clone();
    let taken_down = stage.take_down().await;
    let summary = summary.with_context(|| format!("the node's log is {}", node_log.display()))?;
    taken_down?;
    if asked_to_stop || !args.keep {
        display.result(&summary, elapsed)?;
    }
    if refused > 0 {
        display.say(&format!("{refused} events were not answered with 2xx."));
    }
    if unexpected > 0 {
        display.say(&format!("{unexpected} notifications arrived at someone else."));
    }
    if unreadable > 0 {
        display.say(&format!("{unreadable} arrivals could not be read."));
    }
    let clean = summary.holes + summary.duplicates + unexpected + unreadable == 0;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why the stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It came to its bound.
    Complete,
    /// Somebody wants the demo to end.
    AskedTo,
}

/// Everything that runs during the demo.
struct Stage {
    graph: Arc<DemoGraph>,
    tally: Arc<Tally>,
    node: DemoNode,
    phones: Phones,
    sessions: Sessions,
    api: Api,
    online: Vec<bool>,
    /// Notifications that were in the inboxes before the stream.
    stored_before: u64,
    log: PathBuf,
    /// Removed at the end, unless the user named a directory.
    _dir: Option<TempDir>,
}

impl Stage {
    async fn set(args: &DemoArgs, display: &mut Display) -> anyhow::Result<Self> {
        let graph = Arc::new(DemoGraph::load(&args.graph)?);
        display.say(&format!(
            "Follow graph {}: {} users, {} follows.",
            graph.name,
            graph.users.len(),
            graph.follows.len()
        ));
        let (path, dir) = match &args.data_dir {
            Some(path) => {
                std::fs::create_dir_all(path).context("the data directory cannot be made")?;
                (path.clone(), None)
            }
            None => {
                let dir = tempfile::Builder::new().prefix("tidings-demo-").tempdir()?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let tally = Arc::new(Tally::new()?);
        let quotas = if args.rate == 0 { Quotas::Lifted } else { Quotas::AsGoogle };
        let phones = Phones::start(&path, quotas, Arc::clone(&tally)).await?;
        let listen = free_address(args.listen)?;
        let log = path.join("node.log");
        let online = choose_online(&graph, args.online, args.seed);
        let people = page::people(&graph, &online);
        let node = start_node(&path, &log, listen, &phones, &people).await?;
        let address = node.address();
        display.say(&format!("Node on http://{address}, data and log in {}.", path.display()));
        display.say(&format!("A page to look at: http://{address}/demo"));

        let url = format!("http://{address}");
        let api = Api::new(&url, None)?;
        import(&api, &graph, display).await?;
        phones.register(&api, &graph, &online, display).await?;
        let stored_before =
            if args.data_dir.is_some() { stream::stored(&api, &graph).await? } else { 0 };
        let sessions = Sessions::open(&url, &graph, &online, &tally, display).await?;
        Ok(Self {
            graph,
            tally,
            node,
            phones,
            sessions,
            api,
            online,
            stored_before,
            log,
            _dir: dir,
        })
    }

    /// Runs the stream and waits for the last notifications.
    async fn play(&mut self, args: &DemoArgs, display: &mut Display) -> anyhow::Result<Ending> {
        let bounded = args.seconds.is_some() || args.events.is_some();
        if !bounded && !args.json {
            for line in hints::lines(self.node.address(), &self.graph, &self.online) {
                display.say(&line);
            }
        }
        let usual = Some(USUAL_SECONDS).filter(|_| args.json && !bounded);
        let stop = CancellationToken::new();
        let run = format!("{EVENT_PREFIX}{}", run_number());
        let story = Story::new(Arc::clone(&self.graph), args.seed, &run);
        let slow_down = (!bounded && !args.json).then_some(Duration::from_secs(BUSY_SECONDS));
        let mut stream =
            Stream::new(self.api.clone(), story, Arc::clone(&self.tally), &self.online);
        let sending = stream.run(
            stream::Bounds {
                events: args.events,
                time: args.seconds.or(usual).map(Duration::from_secs),
                rate: args.rate,
                slow_down,
            },
            stop.clone(),
        );
        tokio::pin!(sending);
        display.say("streaming events");
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tokio::select! {
                result = &mut sending => { result?; break }
                _ = interrupt.recv() => stop.cancel(),
                _ = terminate.recv() => stop.cancel(),
                _ = tick.tick() => {
                    self.node.check()?;
                    self.tally.forget_complete(Duration::from_secs(30));
                    display.update(&self.tally.summary(self.node.rss_bytes().unwrap_or_default()));
                }
            }
        }
        display.end_live();
        display.say("waiting for the last screens");
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.tally.missing() > 0 && Instant::now() < deadline {
            display.update(&self.tally.summary(self.node.rss_bytes().unwrap_or_default()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(if stop.is_cancelled() { Ending::AskedTo } else { Ending::Complete })
    }

    /// Leaves everything running for people to look at, until one of them has seen enough.
    async fn keep(&mut self, display: &Display) -> anyhow::Result<()> {
        let page = format!("http://{}/demo", self.node.address());
        display.say(&format!("The stream is over. {page} stays until Ctrl-C."));
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = tick.tick() => self.node.check()?,
            }
        }
    }

    /// The final count: what is stored is read from the inboxes, as their users would.
    async fn summary(&self) -> anyhow::Result<Summary> {
        let rss_bytes = self.node.rss_bytes().context("the node is gone")?;
        let mut summary = self.tally.summary(rss_bytes);
        let stored = stream::stored(&self.api, &self.graph).await? - self.stored_before;
        // An answer that promised more than the inboxes hold is a hole, whoever was told.
        summary.holes += summary.stored.saturating_sub(stored);
        summary.stored = stored;
        Ok(summary)
    }

    async fn take_down(self) -> anyhow::Result<()> {
        self.sessions.close().await;
        let stopped = self.node.stop().await;
        self.phones.stop().await;
        stopped
    }
}

/// Tells runs over the same data directory apart.
fn run_number() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a name for a run, not a decision")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The wished address, or a free port beside it when that one is taken.
fn free_address(wished: SocketAddr) -> anyhow::Result<SocketAddr> {
    if !wished.ip().is_loopback() {
        bail!("the demo has no keys and listens on a loopback address only, not on {wished}");
    }
    match std::net::TcpListener::bind(wished) {
        Ok(_) => Ok(wished),
        Err(_) => Ok(SocketAddr::new(wished.ip(), 0)),
    }
}

async fn start_node(
    dir: &Path,
    log: &Path,
    listen: SocketAddr,
    phones: &Phones,
    people: &[String],
) -> anyhow::Result<DemoNode> {
    let config = dir.join("tidings.toml");
    // An answer counts who was told with the event: nearly everyone's followers fit its transaction.
    let toml = format!(
        "[server]\nlisten = \"{listen}\"\n\n[store]\ndata_dir = {:?}\n\n[fan_out]\npage = 10000\n\n\
         [log]\nformat = \"human\"\n\n{}",
        dir.join("data"),
        phones.config()
    );
    std::fs::write(&config, toml).context("the node's configuration cannot be written")?;
    let address = dir.join("address");
    // Left behind by an earlier run in the same directory, if at all.
    let _absent = std::fs::remove_file(&address).is_err();
    DemoNode::start(&NodeFiles { config: &config, log, address: &address, people }).await
}

async fn import(api: &Api, graph: &DemoGraph, display: &Display) -> anyhow::Result<()> {
    const CHUNK: usize = 20_000;
    let bar = display.bar("importing follows", graph.follows.len() as u64);
    for chunk in graph.follows.chunks(CHUNK) {
        api.import_edges(graph.import_lines(chunk)).await.context("the import failed")?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    Ok(())
}

fn choose_online(graph: &DemoGraph, count: usize, seed: u64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..graph.users.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut online = vec![false; graph.users.len()];
    for user in order.into_iter().take(count) {
        online[user] = true;
    }
    online
}
