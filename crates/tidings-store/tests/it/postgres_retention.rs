//! Room that is used again.

use std::time::Duration;

use tidings_core::ports::{Cutoffs, NotificationStore, RetentionStore};
use tidings_store::PostgresStore;

use crate::{
    directory::{batch, now, user},
    postgres_open::TestSchema,
};

const GENERATIONS: u64 = 6;
const EVENTS: usize = 40;

async fn forget_before(store: &PostgresStore, generation: u64) {
    let cutoff = now().after(Duration::from_secs(generation));
    let cutoffs = Cutoffs { notifications: Some(cutoff), ..Cutoffs::default() };
    while !store.forget(cutoffs, 500).await.unwrap().complete {}
}

#[tokio::test]
async fn what_is_forgotten_makes_room_for_what_comes() {
    let schema = TestSchema::new();
    let store = schema.open().await;
    let users: Vec<_> = (0..25).map(|n| user(&format!("u{n}"))).collect();
    let mut sizes = Vec::new();
    for generation in 0..GENERATIONS {
        for number in 0..EVENTS {
            let told = batch(&format!("g{generation}-{number}"), &users);
            let at = now().after(Duration::from_secs(generation));
            store.append(told.into(), at).await.unwrap();
        }
        forget_before(&store, generation).await;
        // What autovacuum does when its time has come, by the settings of the tables.
        schema.run("VACUUM event_key, event, notification, inbox").await;
        let size = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables \
                    WHERE schemaname = current_schema()";
        sizes.push(schema.number(size).await);
        let kept = schema.number("SELECT count(*) FROM notification").await;
        assert_eq!(kept, i64::try_from(EVENTS * users.len()).unwrap());
    }
    // Two generations at once is the most that there is; from then on it does not grow, but for the
    // page or two that each of the partitions may be out by.
    let (settled, last) = (sizes[2], sizes[sizes.len() - 1]);
    assert!(last <= settled + settled / 4, "it grows: {sizes:?}");
}
