//! The server dies, hangs, or is not who it should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings_core::{
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    ports::NotificationStore,
};
use tidings_store::{Migrate, PostgresConfig, PostgresStore};

use crate::{
    directory::{batch, now, user},
    postgres_open::TestSchema,
    postgres_server::PrivatePostgres,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn hasty(url: String) -> PostgresConfig {
    let mut config = PostgresConfig::new(url);
    config.connect_timeout = Duration::from_secs(1);
    config.call_timeout = Duration::from_secs(2);
    config
}

/// Waits until the store works.
pub(crate) async fn wait_for(store: &PostgresStore) {
    let started = Instant::now();
    while let Err(error) = store.check().await {
        assert!(started.elapsed() < PATIENCE, "{}", ErrorChain(&error));
        assert!(error.is_transient(), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_open_store_outlives_the_server() {
    let mut postgres = PrivatePostgres::start().await;
    let config = hasty(postgres.url("sslmode=disable"));
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let ann = user("ann");
    let append =
        async |id: &str| store.append(batch(id, std::slice::from_ref(&ann)).into(), now()).await;
    let tell = async |id: &str| {
        let started = Instant::now();
        loop {
            match append(id).await {
                Ok(appended) => return appended,
                // On a busy machine a call may take longer than it has.
                Err(error) => assert!(started.elapsed() < PATIENCE, "{}", ErrorChain(&error)),
            }
        }
    };
    tell("e1").await;

    postgres.kill();
    assert!(append("e2").await.unwrap_err().is_transient());
    assert!(store.inbox(&ann).await.unwrap_err().is_transient());
    assert!(store.check().await.unwrap_err().is_transient());
    postgres.start_again().await;
    wait_for(&store).await;
    tell("e2").await;

    postgres.freeze();
    assert!(append("e3").await.unwrap_err().is_transient());
    assert!(store.inbox(&ann).await.unwrap_err().is_transient());
    postgres.thaw();
    wait_for(&store).await;
    tell("e3").await;
    wait_for(&store).await;
    let listed = store.list_after(&ann, Seq::ZERO, 9).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|it| (it.event.id.as_str(), it.seq().0)).collect();
    assert_eq!(listed, [("e1", 1), ("e2", 2), ("e3", 3)]);
}

const USERS: usize = 7;
const APPENDERS: usize = 4;
const ROUNDS: usize = 4;

fn users() -> Vec<UserId> {
    (0..USERS).map(|n| user(&format!("u{n}"))).collect()
}

/// Appends the events of one appender, each until it is answered for; returns when `stop` says so.
async fn append_all(
    store: &PostgresStore,
    appender: usize,
    round: usize,
    answered: &Mutex<BTreeSet<String>>,
    enough: usize,
) {
    for number in 0.. {
        if answered.lock().unwrap().len() >= enough {
            return;
        }
        let id = format!("r{round}-a{appender}-{number}");
        while let Err(error) = store.append(batch(&id, &users()).into(), now()).await {
            assert!(error.is_transient(), "{}", ErrorChain(&error));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered.lock().unwrap().insert(id);
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_server_killed_in_mid_commit_once_and_in_order() {
    let seed: u64 = rand::random();
    // For a failing run to be repeated.
    writeln!(std::io::stderr(), "seed {seed}").unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut postgres = PrivatePostgres::start().await;
    let config = hasty(postgres.url("sslmode=disable"));
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let answered = Mutex::new(BTreeSet::new());
    for round in 0..ROUNDS {
        let so_far = answered.lock().unwrap().len();
        let kill_at = so_far + random.random_range(1..40);
        let kill = async {
            while answered.lock().unwrap().len() < kill_at {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            postgres.kill();
            postgres.start_again().await;
        };
        let append = |appender| append_all(&store, appender, round, &answered, kill_at + 20);
        tokio::join!(kill, append(0), append(1), append(2), append(3));
        let answered = answered.lock().unwrap().clone();
        check(&store, &answered, round).await;
    }
}

/// Each inbox has each event once, without holes, and counts them.
async fn check(store: &PostgresStore, answered: &BTreeSet<String>, round: usize) {
    for user in users() {
        let listed = store.list_after(&user, Seq::ZERO, usize::MAX).await.unwrap();
        let seqs = listed.iter().map(|it| it.seq().0);
        assert!(seqs.eq(1..=listed.len() as u64), "round {round}: a hole");
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for it in &listed {
            *times.entry(it.event.id.as_str()).or_default() += 1;
        }
        let told: BTreeSet<_> = times.keys().map(|it| (*it).to_owned()).collect();
        // Every append was repeated until it was answered for.
        assert_eq!(&told, answered, "round {round} of {APPENDERS} appenders");
        assert!(times.values().all(|times| *times == 1), "round {round}: a duplicate");
        let state = store.inbox(&user).await.unwrap();
        assert_eq!((state.last_seq.0, state.unread), (listed.len() as u64, listed.len() as u64));
    }
}

#[tokio::test]
async fn connections_that_are_cut_in_mid_commit_lose_and_double_nothing() {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.application_name.clone_from(&schema.name);
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let answered = Mutex::new(BTreeSet::new());
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = '{}'",
        schema.name
    );
    let enough = 100;
    let cut_all = async {
        let mut cuts = 0;
        // Some are answered between two cuts, so that it goes on.
        for next in (5..enough).step_by(5) {
            while answered.lock().unwrap().len() < next {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cuts += schema.number(&cut).await;
        }
        assert!(cuts > 0, "no connection was there to be cut");
    };
    let append = |appender| append_all(&store, appender, 0, &answered, enough);
    tokio::join!(cut_all, append(0), append(1), append(2), append(3));
    wait_for(&store).await;
    let answered = answered.lock().unwrap().clone();
    check(&store, &answered, 0).await;
}

#[tokio::test]
async fn tls_is_used_as_sslmode_says_and_a_server_that_is_not_who_it_should_be_is_refused() {
    let postgres = PrivatePostgres::start().await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &postgres.ca_pem).unwrap();
    // The server lets `guarded` in with TLS only.
    let plain = PostgresStore::open(hasty(postgres.url("sslmode=disable")), Migrate::AtStart).await;
    plain.unwrap();
    let open = async |options: &str, ca: Option<&std::path::Path>| {
        let url = postgres.url(options).replace("plain@", "guarded@");
        let mut config = hasty(url);
        config.ca = ca.map(Into::into);
        // That there is no such user is what a server says that was believed.
        let error = PostgresStore::open(config, Migrate::Never).await.unwrap_err();
        ErrorChain(&error).to_string()
    };
    let let_in = "role \"guarded\" does not exist";
    for options in ["sslmode=prefer", "sslmode=require", "application_name=x"] {
        let said = open(options, None).await;
        assert!(said.contains(let_in), "{options}: {said}");
    }
    let said = open("sslmode=disable", None).await;
    assert!(said.contains("no pg_hba.conf entry"), "{said}");
    let said = open("sslmode=prefer", Some(&ca)).await;
    assert!(said.contains(let_in), "{said}");
    let with_root = format!("sslmode=verify-full&sslrootcert={}", ca.display());
    let said = open(&with_root, None).await;
    assert!(said.contains(let_in), "{said}");

    // The system does not know the authority, and another one has not signed the certificate.
    let said = open("sslmode=verify-full", None).await;
    assert!(said.contains("certificate"), "{said}");
    let other = PrivatePostgres::start().await;
    let other_ca = dir.path().join("other.pem");
    std::fs::write(&other_ca, &other.ca_pem).unwrap();
    let said = open("sslmode=require", Some(&other_ca)).await;
    assert!(said.contains("certificate"), "{said}");
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    let said = open("sslmode=require", Some(&garbage)).await;
    assert!(said.contains("garbage.pem"), "{said}");
}
