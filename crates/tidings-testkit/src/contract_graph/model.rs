//! Random operations against a model that is too simple to be wrong.

use std::hash::{BuildHasher, RandomState};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tidings_core::{
    follow::{Follow, FollowCounts},
    ports::{GraphError, SocialGraphStore},
};

use super::{LISTS, List, Listed, follow, user, whole};

const CASES: usize = 64;
const USERS: u8 = 6;
/// Runs of a failing case in search of a smaller one.
const SHRINK_RUNS: usize = 200;

#[derive(Debug, Clone)]
enum Operation {
    Add(u8, u8, i64),
    Remove(u8, u8),
    Import(Vec<(u8, u8, i64)>),
    Read(u8, usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let edge = || (0..USERS, 0..USERS, 0i64..1_000);
    prop_oneof![
        6 => edge().prop_map(|(follower, followee, at)| Operation::Add(follower, followee, at)),
        4 => (0..USERS, 0..USERS).prop_map(|(follower, followee)| Operation::Remove(follower, followee)),
        1 => proptest::collection::vec(edge(), 0..12).prop_map(Operation::Import),
        2 => (0..USERS, 1usize..5).prop_map(|(user, limit)| Operation::Read(user, limit)),
    ]
}

/// All edges, the oldest first.
#[derive(Default)]
struct Model(Vec<Follow>);

impl Model {
    fn has(&self, follower: &str, followee: &str) -> bool {
        self.0.iter().any(|it| it.follower.as_str() == follower && it.followee.as_str() == followee)
    }

    fn add(&mut self, edge: Follow) -> bool {
        let is_new = !self.has(edge.follower.as_str(), edge.followee.as_str());
        if is_new {
            self.0.push(edge);
        }
        is_new
    }

    fn remove(&mut self, follower: &str, followee: &str) -> bool {
        let before = self.0.len();
        let is_it =
            |it: &Follow| it.follower.as_str() == follower && it.followee.as_str() == followee;
        self.0.retain(|it| !is_it(it));
        self.0.len() < before
    }

    fn list(&self, list: List, of: &str) -> Vec<Listed> {
        let newest_first = self.0.iter().rev();
        let following = newest_first.clone().filter(|it| it.follower.as_str() == of);
        match list {
            List::Followers => newest_first
                .filter(|it| it.followee.as_str() == of)
                .map(|it| (it.follower.to_string(), Some(it.at.as_millis())))
                .collect(),
            List::Following => {
                following.map(|it| (it.followee.to_string(), Some(it.at.as_millis()))).collect()
            }
            List::Friends => following
                .filter(|it| self.has(it.followee.as_str(), of))
                .map(|it| (it.followee.to_string(), None))
                .collect(),
        }
    }

    fn counts(&self, of: &str) -> FollowCounts {
        let count = |list| u64::try_from(self.list(list, of).len()).expect("a count fits");
        FollowCounts { followers: count(List::Followers), following: count(List::Following) }
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, store: &T, model: &T) -> Result<(), String> {
    if store == model {
        return Ok(());
    }
    Err(format!("{what}: the store says {store:?}, the model {model:?}"))
}

/// Reads all there is to read about a user.
async fn compare_user(
    store: &dyn SocialGraphStore,
    model: &Model,
    of: &str,
    limit: usize,
) -> Result<(), String> {
    for list in LISTS {
        let listed = whole(store, list, of, limit).await;
        differ(&format!("{list:?} of {of} by {limit}"), &listed, &model.list(list, of))?;
    }
    let counts = store.counts(&user(of)).await.map_err(|error| error.to_string())?;
    differ(&format!("counts of {of}"), &counts, &model.counts(of))
}

/// Runs one case on users of its own, named by `case`.
async fn run(
    store: &dyn SocialGraphStore,
    operations: &[Operation],
    case: &str,
) -> Result<(), String> {
    let name = |number: u8| format!("{case}-u{number}");
    let edge = |follower, followee, at| follow(&name(follower), &name(followee), at);
    let mut model = Model::default();
    for operation in operations {
        match operation {
            Operation::Add(follower, followee, at) => {
                let edge = edge(*follower, *followee, *at);
                let added = store.add_follow(&edge.follower, &edge.followee, edge.at).await;
                match added {
                    Err(GraphError::SelfFollow) if follower == followee => {}
                    Ok(added) if follower != followee => {
                        differ("add", &added, &model.add(edge))?;
                    }
                    other => return Err(format!("add gave {other:?}")),
                }
            }
            Operation::Remove(follower, followee) => {
                let (follower, followee) = (name(*follower), name(*followee));
                let removed = store.remove_follow(&user(&follower), &user(&followee)).await;
                let removed = removed.map_err(|error| error.to_string())?;
                differ("remove", &removed, &model.remove(&follower, &followee))?;
            }
            Operation::Import(edges) => {
                let edges: Vec<_> = edges.iter().map(|(a, b, at)| edge(*a, *b, *at)).collect();
                let new = store.import_follows(edges.clone()).await;
                let new = new.map_err(|error| error.to_string())?;
                let wanted = edges.into_iter().filter(|it| it.follower != it.followee);
                let added = wanted.filter(|edge| model.add(edge.clone())).count();
                differ("import", &new, &u64::try_from(added).expect("a count fits"))?;
            }
            Operation::Read(number, limit) => {
                compare_user(store, &model, &name(*number), *limit).await?;
            }
        }
    }
    for follower in 0..USERS {
        compare_user(store, &model, &name(follower), 3).await?;
        for followee in 0..USERS {
            let (follower, followee) = (name(follower), name(followee));
            let is_following = store.is_following(&user(&follower), &user(&followee)).await;
            let is_following = is_following.map_err(|error| error.to_string())?;
            differ("is_following", &is_following, &model.has(&follower, &followee))?;
        }
    }
    Ok(())
}

/// 64 random sequences of operations give the answers that a list of edges gives.
///
/// A failure is made smaller and shown with its seed.
pub async fn random_operations_agree_with_a_naive_model(store: &dyn SocialGraphStore) {
    let seed = RandomState::new().hash_one("seed");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let sequences = proptest::collection::vec(operation(), 1..40);
    for case in 0..CASES {
        let mut tree = sequences.new_tree(&mut runner).expect("sequences can be made");
        let Err(mut fault) = run(store, &tree.current(), &format!("c{case}")).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut is_smaller = tree.simplify();
        for attempt in 0..SHRINK_RUNS {
            if !is_smaller {
                break;
            }
            let operations = tree.current();
            let outcome = run(store, &operations, &format!("c{case}s{attempt}")).await;
            is_smaller = if let Err(smaller) = outcome {
                (fault, smallest) = (smaller, operations);
                tree.simplify()
            } else {
                tree.complicate()
            };
        }
        panic!("{fault}\nseed {seed}, case {case}, operations {smallest:#?}");
    }
}
