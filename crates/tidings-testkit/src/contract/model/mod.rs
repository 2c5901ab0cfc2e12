//! Random operations on a store and on a model that is too simple to be wrong.

mod naive;
mod ops;
mod run;

use proptest::{strategy::Strategy, strategy::ValueTree, test_runner::TestRunner};

use self::{ops::Op, run::Run};
use super::Store;

const CASES: usize = 32;
const MAX_SHRINKS: usize = 500;

/// After any operations, inboxes, marks, devices, due pushes and logs are what the model says.
///
/// A case that fails is made smaller while it still fails, and shown.
pub async fn random_operations_agree_with_the_model(store: &dyn Store) {
    let mut runner = TestRunner::default();
    let strategy = proptest::collection::vec(ops::op(), 1..40);
    let mut runs = 0;
    for _ in 0..CASES {
        let mut tree = strategy.new_tree(&mut runner).expect("a case");
        let Err(problem) = run(store, &mut runs, &tree.current()).await else {
            continue;
        };
        let mut smallest = (tree.current(), problem);
        let mut more = tree.simplify();
        while more && runs < MAX_SHRINKS {
            more = match run(store, &mut runs, &tree.current()).await {
                Err(problem) => {
                    smallest = (tree.current(), problem);
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        let (ops, problem) = smallest;
        panic!("{problem}\nafter {ops:#?}");
    }
}

/// Runs one case, under names that no other case uses.
async fn run(store: &dyn Store, runs: &mut usize, ops: &[Op]) -> Result<(), String> {
    *runs += 1;
    let mut run = Run::new(store, *runs).await;
    for op in ops {
        run.apply(op).await?;
        run.compare().await?;
    }
    Ok(())
}
