//! After appends that failed: sessions look into the store for what was committed all the same.
//!
//! Who sends again what failed is told of duplicates, and this node then prompts those concerned
//! (`doubt`). But it may be sent again to another node, which knows of no doubt, or to none.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::lane::Storing;

/// How long after a failure sessions look, and again: a transaction that was cut off may be committed
/// while, or after, the store answers others. So seldom, too, however often it fails.
const AFTER: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// Prompts all sessions whenever the store is back after a failure. Never ends.
pub(super) async fn after_failures(storing: Arc<Storing>) {
    loop {
        storing.health.doubtful.notified().await;
        for wait in AFTER {
            sleep(wait).await;
            while storing.store.check().await.is_err() {
                sleep(wait).await;
            }
            storing.health.is_doubtful.store(false, Ordering::Release);
            storing.live.prompt_all();
        }
    }
}
