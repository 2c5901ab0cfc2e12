//! The broker goes away under load and comes back.

use crate::{
    broker::Stream,
    scene::{Scene, Setup, StoreKind},
    servers::PrivateKafka,
    story::Story,
    until::until,
    verify::{assert_exact, part, records_done, until_drained},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_may_be_stopped_and_killed_under_load_and_come_back() {
    let mut broker = PrivateKafka::start().await;
    let mut setup = Setup::new(StoreKind::Postgres, 3);
    setup.brokers = broker.brokers();
    setup.session_timeout_ms = 3_000;
    let scene = Scene::new(setup).await;
    let stream = Stream::start(scene.writer(), Story::new(21, 40, 3), 1_000);
    let node = scene.start();
    for is_killed in [false, true, true] {
        let before = records_done(&node).await;
        until("some more records are stored", async || records_done(&node).await > before + 500)
            .await;
        if is_killed {
            broker.kill();
        } else {
            broker.stop();
        }
        until("readiness says that the broker is away", async || {
            part(&node, "kafka").await.is_some_and(|it| it["up"] == false)
        })
        .await;
        assert!(part(&node, "store").await.is_some_and(|it| it["up"] == true));
        broker.start_again().await;
        until("readiness says that the broker is back", async || {
            part(&node, "kafka").await.is_some_and(|it| it["up"] == true)
        })
        .await;
    }
    // A client that meets the broker again just after its session timeout takes itself for another.
    let replaced = scene.site.log().matches("joining it anew").count();
    println!("the client was made anew {replaced} times");
    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
