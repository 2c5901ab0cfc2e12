//! One graph, divided, and methods measured on it.

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ports::{GraphError, SocialGraphStore},
};

use super::{
    follows::{Direction, Follows},
    graph::{Adjacency, TrainingGraph},
    measures::{LIST_LENGTH, Measured, measure},
    methods::{Method, Scoring},
    negatives::{Drawing, Negatives},
    ranking::best,
    served::ServedEngine,
    split::{HoldOut, Split, pair_hash, sample_users},
    summary::Summary,
};

/// Threads that rank at most: each takes memory by the size of the graph.
const THREADS: usize = 2;
/// Follows that are imported at a time.
const BATCH: usize = 100_000;
/// Places of a ranking that count for coverage.
const SHOWN: usize = 10;

/// How a graph is divided.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// What decides which follows are hidden.
    pub seed: u64,
    /// Users for whom methods are measured, at most.
    pub users: usize,
    /// Which follows are hidden.
    pub hold_out: HoldOut,
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The graph has no follows.
    #[error("the graph has no follows")]
    NoFollows,
    /// Nobody has enough follows for some to be hidden, or everybody follows everybody.
    #[error("nobody has the five follows that it takes for one to be hidden")]
    NothingToHide,
    /// The newest follows are to be hidden, but which they are is not known.
    #[error("not every follow has a time")]
    NoTimes,
    /// The engine, or the store that it reads, fails.
    #[error("the engine does not answer")]
    Engine(#[from] GraphError),
    /// It was told to stop.
    #[error("stopped before every user was ranked for")]
    Stopped,
}

/// What the experiment is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Users of the graph.
    pub users: usize,
    /// Follows of the graph, those of an undirected one in both directions.
    pub follows: usize,
    /// Follows that are returned, as a share of all.
    pub reciprocity: f64,
    /// Follows that are hidden.
    pub hidden: usize,
    /// Users for whom methods are measured.
    pub test_users: usize,
    /// What decided which follows are hidden.
    pub seed: u64,
}

/// A graph of which a part is hidden.
#[derive(Debug)]
pub struct Experiment<'a> {
    follows: &'a Follows,
    protocol: Protocol,
    graph: TrainingGraph,
    hidden: Adjacency,
    drawing: Drawing,
    pub(super) test_users: Vec<u32>,
    facts: Facts,
}

impl<'a> Experiment<'a> {
    /// Divides a graph.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::NoFollows`], [`EvaluateError::NothingToHide`], or [`EvaluateError::NoTimes`].
    pub fn prepare(follows: &'a Follows, protocol: Protocol) -> Result<Self, EvaluateError> {
        let Protocol { seed, users, hold_out } = protocol;
        if follows.edges.is_empty() {
            return Err(EvaluateError::NoFollows);
        }
        if hold_out == HoldOut::Newest && follows.times.is_none() {
            return Err(EvaluateError::NoTimes);
        }
        let count = follows.users.len();
        let split = Split::new(follows, seed, hold_out);
        let mut experiment = Self {
            follows,
            protocol,
            graph: TrainingGraph::new(count, &split.train),
            hidden: Adjacency::new(count, split.hidden.iter().copied()),
            drawing: Drawing::new(follows),
            test_users: Vec::new(),
            facts: Facts {
                users: count,
                follows: split.train.len() + split.hidden.len(),
                reciprocity: 0.0,
                hidden: split.hidden.len(),
                test_users: 0,
                seed,
            },
        };
        let mut test_users = sample_users(&split.hidden, users);
        // Who follows nearly everybody cannot be told anything.
        test_users.retain(|user| {
            let Negatives { uniform, popular } = experiment.negatives(*user);
            !uniform.is_empty() && !popular.is_empty()
        });
        if test_users.is_empty() {
            return Err(EvaluateError::NothingToHide);
        }
        let returned = follows.directed().filter(|(a, b)| experiment.is_follow(*b, *a)).count();
        experiment.facts.reciprocity = returned as f64 / experiment.facts.follows as f64;
        experiment.facts.test_users = test_users.len();
        experiment.test_users = test_users;
        Ok(experiment)
    }

    /// What the experiment is about.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Imports the follows that are not hidden into a store. Where the newest are hidden, they come in
    /// the order of their times; else in one that says nothing, and as old as each other.
    ///
    /// # Errors
    ///
    /// As [`SocialGraphStore::import_edges`].
    pub async fn load(&self, store: &dyn SocialGraphStore) -> Result<(), GraphError> {
        let times = match self.protocol.hold_out {
            HoldOut::Newest => self.follows.times.as_deref(),
            HoldOut::Random => None,
        };
        let mut order = Vec::with_capacity(self.facts.follows - self.facts.hidden);
        for (place, (a, b)) in self.follows.edges.iter().enumerate() {
            if self.hidden.of(*a).binary_search(b).is_ok() {
                continue;
            }
            let time = times.map_or(0, |times| times[place]);
            let mut add = |from: u32, to: u32| {
                let hash = pair_hash(self.protocol.seed, from.into(), to.into());
                order.push((time, hash, from, to));
            };
            add(*a, *b);
            if self.follows.direction == Direction::Undirected {
                add(*b, *a);
            }
        }
        order.sort_unstable();
        let id = |user: u32| self.follows.users[user as usize].clone();
        for batch in order.chunks(BATCH) {
            let edge = |(time, _, from, to): &(i64, u64, u32, u32)| Edge {
                kind: EdgeKind::Follow,
                source: id(*from),
                target: id(*to),
                at: Timestamp::from_millis(*time),
            };
            store.import_edges(batch.iter().map(edge).collect()).await?;
        }
        Ok(())
    }

    /// Measures methods, in their order. `served` stands for [`Method::Tidings`], which is left out
    /// without it. `on_user` is called after each test user; once `stop` is true, no further one begins.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Engine`] and [`EvaluateError::Stopped`].
    pub fn run(
        &self,
        methods: &[Method],
        served: Option<&ServedEngine>,
        on_user: &(dyn Fn() + Sync),
        stop: &AtomicBool,
    ) -> Result<Vec<(Method, Summary)>, EvaluateError> {
        let is_run = |method: &&Method| served.is_some() || **method != Method::Tidings;
        let methods: Vec<Method> = methods.iter().filter(is_run).copied().collect();
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS);
        let work = || {
            let mut ranking = Ranking::new(self, &methods, served);
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(user) = self.test_users.get(place) else { return Ok(ranking.found) };
                if stop.load(Ordering::Relaxed) {
                    return Err(EvaluateError::Stopped);
                }
                if let Err(error) = ranking.rank_for(place, *user) {
                    // The other threads have nothing to do any more.
                    next.store(self.test_users.len(), Ordering::Relaxed);
                    return Err(error.into());
                }
                on_user();
            }
        };
        let found = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| match worker.join() {
                    Ok(found) => found,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect::<Result<Vec<_>, EvaluateError>>()
        })?;
        let summed = |(place, method): (usize, &Method)| (*method, self.sum_up(place, &found));
        Ok(methods.iter().enumerate().map(summed).collect())
    }

    fn sum_up(&self, method: usize, found: &[Vec<Found>]) -> Summary {
        let found = || found.iter().map(|by_method| &by_method[method]);
        let mut users: Vec<_> = found().flat_map(|it| &it.users).collect();
        // Which thread took which user is chance; the order of a sum is not.
        users.sort_unstable_by_key(|(place, ..)| *place);
        let users: Vec<_> =
            users.into_iter().map(|(_, measured, took)| (*measured, *took)).collect();
        let shown: HashSet<u32> = found().flat_map(|it| &it.shown).copied().collect();
        Summary::new(&users, shown.len() as f64 / self.facts.users as f64)
    }

    pub(super) fn negatives(&self, user: u32) -> Negatives {
        self.drawing.negatives(user, |other| self.is_follow(user, other))
    }

    fn is_follow(&self, follower: u32, followee: u32) -> bool {
        [&self.graph.following, &self.hidden]
            .iter()
            .any(|lists| lists.of(follower).binary_search(&followee).is_ok())
    }
}

/// What one thread found for one method.
#[derive(Debug, Default)]
struct Found {
    /// By the place of the test user.
    users: Vec<(usize, Measured, Duration)>,
    /// Who is among the first of any.
    shown: HashSet<u32>,
}

/// What one thread ranks with.
struct Ranking<'a> {
    experiment: &'a Experiment<'a>,
    methods: &'a [Method],
    served: Option<&'a ServedEngine>,
    scoring: Scoring<'a>,
    is_left_out: Vec<bool>,
    found: Vec<Found>,
}

impl<'a> Ranking<'a> {
    fn new(
        experiment: &'a Experiment<'a>,
        methods: &'a [Method],
        served: Option<&'a ServedEngine>,
    ) -> Self {
        Self {
            experiment,
            methods,
            served,
            scoring: Scoring::new(&experiment.graph),
            is_left_out: vec![false; experiment.graph.users],
            found: methods.iter().map(|_| Found::default()).collect(),
        }
    }

    fn rank_for(&mut self, place: usize, user: u32) -> Result<(), GraphError> {
        let Experiment { follows, graph, hidden, .. } = self.experiment;
        let hidden = hidden.of(user);
        let negatives = self.experiment.negatives(user);
        let places = LIST_LENGTH.min(graph.users - 1);
        self.leave_out(user, true);
        for (method, found) in self.methods.iter().zip(&mut self.found) {
            let (top, measured, took) = match self.served {
                Some(served) if *method == Method::Tidings => {
                    let Negatives { uniform, popular } = &negatives;
                    let among = hidden.iter().chain(uniform).chain(popular).copied();
                    let served = served.ask(follows, user, among)?;
                    let score = |user| served.score(user);
                    let measured = measure(&served.top, places, hidden, &negatives, score);
                    (served.top, measured, served.took)
                }
                _ => {
                    let begun = Instant::now();
                    let scores = self.scoring.score(*method, user);
                    let top = best(scores, &self.is_left_out, places);
                    let took = begun.elapsed();
                    let score = |user: u32| scores[user as usize];
                    let measured = measure(&top, places, hidden, &negatives, score);
                    (top, measured, took)
                }
            };
            found.users.push((place, measured, took));
            found.shown.extend(top.into_iter().take(SHOWN));
        }
        self.leave_out(user, false);
        Ok(())
    }

    /// Marks whom not to recommend to a user, or unmarks them.
    fn leave_out(&mut self, user: u32, is_left_out: bool) {
        for followee in self.experiment.graph.following.of(user) {
            self.is_left_out[*followee as usize] = is_left_out;
        }
        self.is_left_out[user as usize] = is_left_out;
    }
}
