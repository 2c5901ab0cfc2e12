//! Real graphs: the same questions to the embedded engine, to Neo4j and to FalkorDB.
//!
//! The follows are in the order of the files, which is not that of life, and their times are made up.

use super::{
    engine::Source,
    file::GraphFile,
    neo4j,
    peers::{self, Comparison},
    people::People,
};
use crate::{
    ingest::{Bench, repo_root},
    report::Report,
};

/// A file in `data`, the name of its values, and whether its lines are pairs of friends.
type Named = (&'static str, &'static str, bool);

const GRAPHS: [Named; 3] = [
    ("wiki-vote", "wiki_vote", false),
    ("facebook-combined", "facebook", true),
    ("epinions", "epinions", false),
];

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let graphs = bench.pick(&GRAPHS[..], &GRAPHS[..1]);
    for (file, name, is_mutual) in graphs {
        let path = repo_root().join(format!("data/{file}.txt.gz"));
        let file = GraphFile { path, is_mutual: *is_mutual };
        let graph = file.read()?;
        bench.say(format_args!("{name}: {} users, {} follows", graph.users(), graph.follows()));
        let (store, _) = peers::fill(bench, &neo4j::prefix(), &graph).await?;
        let comparison = Comparison {
            people: &graph,
            source: Source::File(file),
            ours: name,
            suffix: &format!("_{name}"),
            questions: bench.pick(20_000, 1_000),
            of_peers: bench.pick(1_000, 100),
        };
        let compared = peers::compare(bench, &comparison, &store, report).await;
        store.close().await;
        compared?;
    }
    Ok(())
}
