//! `tidings evaluate`.
#![expect(clippy::print_stderr, reason = "a command says what it did")]

mod report;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rpds::HashTrieSetSync;
use tidings_core::follow::EdgeKind;
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendationEngine, RecommendedGraph,
    recommend::evaluate::{
        Direction, EvaluateError, Experiment, Follows, FollowsBuilder, HoldOut, Method, Protocol,
        ServedEngine, Summary,
    },
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::spawn_blocking,
};

use super::{
    graph::{
        input::{Input, Wanted},
        progress::Progress,
    },
    print,
};
use crate::{
    cli::{EvaluateArgs, TextFormat},
    edge_lines::LineFormat,
};

/// Edges after which the progress is told.
const TOLD_EDGES: u64 = 10_000;
/// How soon learning notices that it is to stop.
const STOP_SEEN: Duration = Duration::from_millis(50);

pub(super) async fn run(args: EvaluateArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut told_to_stop = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let follows = tokio::select! {
        () = told_to_stop() => bail!("interrupted"),
        follows = read_apart(args.file.clone(), args.undirected) => follows?,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut evaluating = spawn_blocking({
        let (stop, runtime) = (Arc::clone(&stop), Handle::current());
        move || evaluate(&args, &follows, &runtime, &stop)
    });
    let evaluated = tokio::select! {
        evaluated = &mut evaluating => evaluated,
        () = told_to_stop() => {
            // It ends after the users that it ranks for, and takes its temporary directory away.
            stop.store(true, Ordering::Relaxed);
            evaluating.await
        }
    };
    evaluated.context("the evaluation did not come to its end")?
}

async fn read_apart(path: PathBuf, undirected: bool) -> anyhow::Result<Follows> {
    let (sender, received) = oneshot::channel();
    // A thread of its own, and not of the runtime: an interrupted command does not wait for a standard
    // input that is silent.
    let reading = thread::spawn(move || sender.send(read(&path, undirected)).is_ok());
    let follows = received.await.context("the file was not read to its end")?;
    reading.join().map_err(|_| anyhow::anyhow!("the file was not read to its end"))?;
    follows
}

fn evaluate(
    args: &EvaluateArgs,
    follows: &Follows,
    runtime: &Handle,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let hold_out = if args.by_time { HoldOut::Newest } else { HoldOut::Random };
    let protocol = Protocol { seed: args.seed, users: args.users as usize, hold_out };
    let experiment = match Experiment::prepare(follows, protocol) {
        Err(EvaluateError::NoTimes) => bail!(
            "--by-time: not every follow has a time: a third word that is an integer in an edge list, or \
             `at` in CSV and NDJSON"
        ),
        result => {
            result.with_context(|| format!("{} is no graph for this", args.file.display()))?
        }
    };
    let methods = methods(args);
    let mut found = if methods.contains(&Method::Tidings) {
        measure_served(args, follows, &experiment, &methods, runtime, stop)?
    } else {
        measure(&experiment, &methods, None, stop)?
    };
    report::sort(&mut found);
    print(&report::table(experiment.facts(), &found))?;
    if let Some(path) = &args.json {
        let text = report::json(experiment.facts(), hold_out, &found)?;
        std::fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

fn read(path: &Path, undirected: bool) -> anyhow::Result<Follows> {
    let wanted = Wanted {
        format: TextFormat::Auto,
        list: LineFormat::TimedList,
        undirected: false,
        from_line: 1,
        batch_edges: 0,
    };
    let bytes = Arc::new(AtomicU64::new(0));
    let (mut input, total) = Input::open(path, wanted, Arc::clone(&bytes))?;
    let direction = if undirected { Direction::Undirected } else { Direction::Directed };
    let mut follows = FollowsBuilder::new(direction);
    let progress = Progress::new(total);
    let mut edges: u64 = 0;
    while let Some(edge) =
        input.next_edge().with_context(|| format!("{} cannot be read", path.display()))?
    {
        edges += 1;
        if edges.is_multiple_of(TOLD_EDGES) {
            progress.set(bytes.load(Ordering::Relaxed), edges);
        }
        if edge.kind == EdgeKind::Follow {
            follows.add(edge.source, edge.target, edge.at.map(|at| at.as_millis()))?;
        }
    }
    progress.finish();
    eprintln!("read {}", progress.summary(edges));
    Ok(follows.finish())
}

/// Those that are asked for, or all that have a meaning.
fn methods(args: &EvaluateArgs) -> Vec<Method> {
    let mut methods: Vec<Method> = if args.methods.is_empty() {
        let is_of_use = |method: &Method| !(args.undirected && method.needs_direction());
        Method::ALL.into_iter().filter(is_of_use).collect()
    } else {
        args.methods.clone()
    };
    // By place in the list of all, each once.
    methods.sort_unstable_by_key(|method| Method::ALL.iter().position(|it| it == method));
    methods.dedup();
    methods
}

/// Measures with an engine over a graph of its own, which is gone afterwards.
fn measure_served(
    args: &EvaluateArgs,
    follows: &Follows,
    experiment: &Experiment<'_>,
    methods: &[Method],
    runtime: &Handle,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<(Method, Summary)>> {
    let dir = tempfile::Builder::new()
        .prefix("tidings-evaluate-")
        .tempdir()
        .context("there is no temporary directory for the graph")?;
    let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir.path()))
        .context("the embedded graph cannot be opened")?;
    let store = Arc::new(store);
    let found = runtime
        .block_on(experiment.load(&*store))
        .context("the follows cannot be imported")
        .and_then(|()| {
            let graph = RecommendedGraph::Embedded(Arc::clone(&store));
            let engine = RecommendationEngine::new(graph);
            runtime.block_on(learn(&engine, args.learn_users as usize, stop))?;
            let served = ServedEngine::new(engine, runtime.clone(), follows);
            measure(experiment, methods, Some(&served), stop)
        });
    runtime.block_on(store.close());
    found
}

/// Lets an engine learn from its graph, and tells what came of it.
async fn learn(
    engine: &RecommendationEngine,
    users: usize,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    if users == 0 {
        return Ok(());
    }
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(STOP_SEEN).await;
        }
    };
    let nobody = HashTrieSetSync::default();
    let fit = tokio::select! {
        fit = engine.fit(users, &nobody) => fit.context("the engine cannot learn from the graph")?,
        () = stopped => bail!("stopped while it learned from the graph"),
    };
    let Some([order, _]) = fit.learned else {
        eprintln!("{} users are too few to learn from: the model is the built-in one", fit.users);
        return Ok(());
    };
    let [before, after] = order.ndcg;
    let taken = if order.is_taken { "taken" } else { "not taken" };
    eprintln!(
        "learned from {} users: NDCG@10 among candidates {before:.3} before, {after:.3} afterwards, {taken}",
        fit.users
    );
    Ok(())
}

fn measure(
    experiment: &Experiment<'_>,
    methods: &[Method],
    served: Option<&ServedEngine>,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<(Method, Summary)>> {
    let progress = Progress::of("test users", Some(experiment.facts().test_users as u64));
    let done = AtomicU64::new(0);
    let on_user = || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress.set(done, done);
    };
    let found = experiment.run(methods, served, &on_user, stop);
    progress.finish();
    let found = found?;
    eprintln!("ranked for {}", progress.summary(done.load(Ordering::Relaxed)));
    Ok(found)
}
