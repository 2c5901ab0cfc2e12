//! `tidings evaluate`.

use std::path::PathBuf;

use clap::Args;
use tidings_graph::recommend::evaluate::Method;

/// What `tidings evaluate --help` ends with.
pub(super) const HELP: &str = "\
How it measures. A fifth of the follows of each user who has five or more is hidden (with\n\
--undirected, a fifth of the pairs, from both). What is left is the graph that recommendations are\n\
made from; whom a test user follows in it is no candidate, everybody else is. The hidden ones should\n\
come first:\n\n  \
  NDCG@10   hidden follows in the first ten, those further up worth more; 1 is a perfect list\n  \
  MAP       precision at each hidden follow in the first hundred, on average\n  \
  HR@10     test users with a hidden follow in their first ten\n  \
  P@10      hidden follows as a share of the first ten\n  \
  R@50      hidden follows that are in the first fifty\n  \
  AUC unif  how often a hidden follow beats a user drawn at random. Popularity alone does well here\n  \
  AUC pop   how often it beats one drawn in proportion to followers: the accuracy that counts.\n            \
  Popularity alone is about 0.5\n  \
  coverage  users who are in the first ten of any test user, of all users\n  \
  p50, p95  milliseconds that a list of a hundred takes, on two threads\n\n\
± is a 95 % confidence interval over the test users. `tidings` is what a node would serve: the\n\
engine over an embedded graph, in a temporary directory. The rest are simple methods from the\n\
literature, each scoring every user: pop (popularity), recip (follow back), fof_* (friends of\n\
friends), cofollow_* and cofollower_* (follows and followers in common), inin_cnt (followers of\n\
followers), U_* (neighbours whichever way follows go), userknn_*, itemknn_cos, gf_lin, rp3beta\n\
(three steps), ppr_* (personalised PageRank), salsa_cot (circle of trust), pixie_20k (random\n\
walks). With --undirected those that need a direction are left out.\n\n\
The file is an edge list (`follower followee`, and a time as an integer perhaps), CSV or NDJSON as\n\
`tidings graph export` writes it; gzip and zstd are recognised by their content. Blocks and mutes\n\
are left out. The same file, seed and number of users give the same figures, times aside. Ids that\n\
are the integers from 0 to the number of users less one are used as they are by the hash that\n\
hides; other users are numbered in the order in which they first appear.\n\n\
Examples:\n  \
  tidings evaluate soc-Epinions1.txt.gz\n  \
  tidings graph export | tidings evaluate - --by-time --json result.json\n  \
  tidings evaluate facebook.txt.gz --undirected --methods tidings,pop,U_ra --users 5000";

/// Flags of `tidings evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The follows; - reads standard input.
    #[arg(value_name = "EDGE_LIST")]
    pub file: PathBuf,
    /// Every follow is one in both directions.
    #[arg(long)]
    pub undirected: bool,
    /// Test users at most, a sample of those with hidden follows.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub users: u32,
    /// Hide each user's newest follows instead of any; each follow has to have a time.
    #[arg(long)]
    pub by_time: bool,
    /// Measure these methods only, by their names, divided by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub methods: Vec<Method>,
    /// Users that the engine learns from before it is measured, as a node does; 0: it does not.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(..=2_000))]
    pub learn_users: u32,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Decides which follows are hidden.
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
}
