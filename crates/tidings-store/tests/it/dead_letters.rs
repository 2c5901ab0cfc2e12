//! Dead letters when fewer are to be kept than there are.

use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch},
    dead_letter::{NewDeadLetter, Origin, Stage},
    ports::{DeadLetterStore, Store},
};
use tidings_store::{Migrate, PostgresStore, SqliteConfig, SqliteStore};

use crate::{directory::now, postgres_open::TestSchema};

const MANY: u64 = 2_500;
const FEW: u64 = 5;

fn letter(number: u64) -> NewDeadLetter {
    NewDeadLetter {
        origin: Origin::Http,
        stage: Stage::Decode,
        reason: number.to_string(),
        payload: Vec::new(),
        payload_bytes: 0,
        at: now(),
    }
}

/// Appends one letter more, and returns how many are kept then.
async fn append_one(store: &dyn Store, number: u64) -> u64 {
    store.append_dead_letters(vec![letter(number)]).await.unwrap();
    store.count_dead_letters().await.unwrap()
}

/// The store has `MANY` letters, and is to keep `FEW`.
async fn come_down_in_pieces(store: &dyn Store) {
    let mut batch = NotificationBatch::new(BatchLimits {
        max_rows: MAX_BATCH_ROWS,
        max_bytes: usize::MAX,
        max_age: std::time::Duration::ZERO,
    });
    batch.add_dead_letter(letter(MANY), now());
    store.append(batch.into(), now()).await.unwrap();
    let mut kept = store.count_dead_letters().await.unwrap();
    assert!((1_400..=1_600).contains(&kept), "{kept} are left of {MANY}");
    let mut number = MANY;
    for _ in 0..3 {
        number += 1;
        let less = append_one(store, number).await;
        assert!(less < kept && kept - less <= 1_100, "from {kept} to {less}");
        kept = less;
        if kept == FEW {
            break;
        }
    }
    assert_eq!(kept, FEW);
    let listed = store.list_dead_letters(None, 10).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|it| it.letter.reason).collect();
    let newest: Vec<_> = (0..FEW).map(|back| (number - back).to_string()).collect();
    assert_eq!(listed, newest);
    // Letters that come in one call go in one call, however many.
    let more = (number + 1..=number + MANY).map(letter).collect();
    assert_eq!(store.append_dead_letters(more).await.unwrap(), MANY);
    assert_eq!(store.count_dead_letters().await.unwrap(), FEW);
}

#[tokio::test]
async fn a_store_that_is_to_keep_fewer_letters_drops_them_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let open = |max| {
        let mut config = SqliteConfig::new(dir.path());
        config.dead_letters_max = max;
        SqliteStore::open(config).unwrap()
    };
    let store = open(10_000);
    store.append_dead_letters((0..MANY).map(letter).collect()).await.unwrap();
    store.close().await;
    come_down_in_pieces(&open(FEW)).await;
}

#[tokio::test]
async fn a_database_that_is_to_keep_fewer_letters_drops_them_in_pieces() {
    let schema = TestSchema::new();
    let open = async |max| {
        let mut config = schema.config();
        config.dead_letters_max = max;
        PostgresStore::open(config, Migrate::AtStart).await.unwrap()
    };
    let store = open(10_000).await;
    store.append_dead_letters((0..MANY).map(letter).collect()).await.unwrap();
    store.close();
    come_down_in_pieces(&open(FEW).await).await;
}
