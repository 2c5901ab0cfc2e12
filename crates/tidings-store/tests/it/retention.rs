//! What forgetting leaves on the disk.

use std::{path::Path, time::Duration};

use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{Cutoffs, NotificationStore, RetentionStore},
};

use crate::{
    directory::{batch, now, user},
    open::open_at,
};

const ROUND: Duration = Duration::from_secs(60);
const KEPT_ROUNDS: u32 = 3;

fn start_of(round: u32) -> Timestamp {
    now().after(ROUND * round)
}

/// Appends and forgets for some rounds, and returns how big the database then is.
async fn churn(dir: &Path, rounds: std::ops::Range<u32>) -> u64 {
    let store = open_at(dir);
    let users: Vec<UserId> = (0..20).map(|n| user(&format!("u{n}"))).collect();
    for round in rounds {
        for event in 0..40 {
            let it = batch(&format!("r{round}-e{event}"), &users);
            store.append(it.into(), start_of(round)).await.unwrap();
        }
        let cutoff = Some(start_of(round.saturating_sub(KEPT_ROUNDS)));
        let cutoffs = Cutoffs { notifications: cutoff, ..Cutoffs::default() };
        while !store.forget(cutoffs, 500).await.unwrap().complete {}
    }
    // The log is folded into the file.
    store.close().await;
    std::fs::metadata(dir.join("store.db")).unwrap().len()
}

#[tokio::test]
async fn what_is_forgotten_makes_room_for_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let settled = churn(dir.path(), 0..8).await;
    let later = churn(dir.path(), 8..32).await;
    assert!(later <= settled + settled / 8, "grew from {settled} to {later} bytes");
}
