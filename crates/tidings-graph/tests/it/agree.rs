//! Two graphs that are told the same.

use tidings_core::{clock::Timestamp, ports::SocialGraphStore as _};
use tidings_testkit::contract_graph::agree;

use crate::harness::open_temporary;

#[tokio::test]
async fn two_graphs_give_the_same_answers() {
    let (one, other) = (open_temporary().await, open_temporary().await);
    agree(&*one, &*other, 1, 3_000).await;
}

#[tokio::test]
#[should_panic(expected = "seed 1")]
async fn two_graphs_of_which_one_has_an_edge_more_do_not() {
    let (one, other) = (open_temporary().await, open_temporary().await);
    let [source, target] = ["a/b?47=%20", "U46"].map(crate::harness::user);
    other.add_mute(&source, &target, Timestamp::from_millis(1)).await.unwrap();
    agree(&*one, &*other, 1, 100).await;
}
