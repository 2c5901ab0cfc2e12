//! Makes the model that is built into the recommender: `cargo xtask train-recommender` starts it.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use rpds::HashTrieSetSync;
use serde::Deserialize;
use tidings_core::ids::UserId;
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendationEngine, RecommendedGraph, edge_list,
    recommend::{
        Choices, Model,
        evaluate::{
            Direction, Experiment, Follows, FollowsBuilder, HoldOut, Measure, Method, Protocol,
            ServedEngine,
        },
    },
};
use tokio::runtime::Runtime;

/// The follows that `tidings evaluate` hides are not learned from.
const PROTOCOL: Protocol = Protocol { seed: 42, users: 1_000, hold_out: HoldOut::Random };

/// What is asked on the first line of standard input.
#[derive(Debug, Deserialize)]
struct Job {
    /// Edge lists, gzipped; `:undirected` behind those that are.
    graphs: Vec<String>,
    /// Users of each graph.
    users: usize,
    /// Where the model goes.
    out: PathBuf,
    /// Whether each graph is measured as well, by a model of all the others.
    test: bool,
}

/// Learns a model from graphs and writes it; prints what it measures.
///
/// # Errors
///
/// A file cannot be read or written, or an engine fails.
pub fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("the job cannot be read")?;
    let runtime = Runtime::new()?;
    let graphs = job.graphs.iter().map(|it| Graph::open(it, &runtime));
    let graphs = graphs.collect::<anyhow::Result<Vec<_>>>()?;
    let mut choices = Vec::with_capacity(graphs.len());
    for graph in &graphs {
        let engine = RecommendationEngine::new(graph.recommended());
        choices.push(runtime.block_on(engine.choices(job.users))?);
        tell(&format!("{}: {} users", graph.name, choices[choices.len() - 1][0].lists()));
    }
    let text = learned(choices.iter()).to_text()?;
    std::fs::write(&job.out, text)
        .with_context(|| format!("{} cannot be written", job.out.display()))?;
    if job.test {
        ensure!(graphs.len() > 1, "to leave one graph out there must be two");
        for (place, graph) in graphs.iter().enumerate() {
            let others = choices.iter().enumerate().filter(|it| it.0 != place).map(|it| it.1);
            graph.test(learned(others), &runtime)?;
        }
    }
    graphs.iter().for_each(|it| runtime.block_on(it.store.close()));
    Ok(())
}

fn learned<'a>(choices: impl Iterator<Item = &'a [Choices; 2]>) -> Model {
    let [mut candidates, mut anyone] = [(); 2].map(|()| Choices::default());
    for choices in choices {
        candidates.extend(&choices[0]);
        anyone.extend(&choices[1]);
    }
    let mut model = Model::blank();
    model.learn_anew(&candidates, &anyone);
    model
}

/// A graph in a directory of its own, without the follows that are hidden.
struct Graph {
    name: String,
    follows: Follows,
    store: Arc<EmbeddedGraphStore>,
    _directory: tempfile::TempDir,
}

impl Graph {
    fn open(named: &str, runtime: &Runtime) -> anyhow::Result<Self> {
        let (path, direction) = match named.strip_suffix(":undirected") {
            Some(path) => (path, Direction::Undirected),
            None => (named, Direction::Directed),
        };
        let follows = read(Path::new(path), direction)?;
        let directory = tempfile::tempdir()?;
        let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(directory.path()))?;
        let store = Arc::new(store);
        runtime.block_on(Experiment::prepare(&follows, PROTOCOL)?.load(&*store))?;
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, follows, store, _directory: directory })
    }

    fn recommended(&self) -> RecommendedGraph {
        RecommendedGraph::Embedded(Arc::clone(&self.store))
    }

    /// Measures a model on this graph, before it has learned from it and afterwards.
    fn test(&self, model: Model, runtime: &Runtime) -> anyhow::Result<()> {
        let engine = RecommendationEngine::with_model(self.recommended(), model);
        self.measure("as it came", &engine, runtime)?;
        for users in [30, 100, 300, 1_000] {
            let begun = Instant::now();
            let fit = runtime.block_on(engine.fit(users, &HashTrieSetSync::default()))?;
            let took = begun.elapsed();
            self.measure(&format!("after {} users, {took:.1?}", fit.users), &engine, runtime)?;
        }
        Ok(())
    }

    fn measure(
        &self,
        when: &str,
        engine: &RecommendationEngine,
        runtime: &Runtime,
    ) -> anyhow::Result<()> {
        let experiment = Experiment::prepare(&self.follows, PROTOCOL)?;
        let served = ServedEngine::new(engine.clone(), runtime.handle().clone(), &self.follows);
        let stop = AtomicBool::new(false);
        let found = experiment.run(&[Method::Tidings], Some(&served), &|| {}, &stop)?;
        let (_, found) = found.first().context("nothing was measured")?;
        let measures = Measure::ALL.map(|it| format!("{} {:.4}", it.key(), found.of(it).mean));
        tell(&format!("{} {when}: {}", self.name, measures.join(" ")));
        Ok(())
    }
}

fn read(path: &Path, direction: Direction) -> anyhow::Result<Follows> {
    let read = || format!("{} cannot be read", path.display());
    let file = File::open(path).with_context(read)?;
    let mut builder = FollowsBuilder::new(direction);
    for edge in edge_list::read(BufReader::new(GzDecoder::new(file))) {
        let (follower, followee) = edge.with_context(read)?;
        builder.add(UserId::new(&follower)?, UserId::new(&followee)?, None)?;
    }
    Ok(builder.finish())
}

#[expect(clippy::print_stdout, reason = "whoever trains wants to see how it goes")]
fn tell(what: &str) {
    println!("{what}");
}
