//! Two graphs that are told the same.

use tidings_testkit::contract_graph::agree;

use crate::harness::open_temporary;

#[tokio::test]
async fn two_graphs_give_the_same_answers() {
    let (one, other) = (open_temporary().await, open_temporary().await);
    agree(&*one, &*other, 1, 3_000).await;
}
