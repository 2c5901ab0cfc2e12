//! `kill -9` in the middle of appends: what was answered is there, once, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings_core::{
    ids::{Seq, UserId},
    ports::NotificationStore,
};

use crate::{
    directory::{batch, now, user},
    open::open_at,
};

/// Set in the child process that appends: its data directory.
const CHILD_DIRECTORY: &str = "TIDINGS_TEST_KILL_DIRECTORY";
const ROUNDS: usize = 6;
const USERS: usize = 7;
const APPENDERS: usize = 4;

fn users() -> Vec<UserId> {
    (0..USERS).map(|n| user(&format!("u{n}"))).collect()
}

/// What the child does; in the test run itself it does nothing.
///
/// Appends in several tasks at once until it is killed, and prints the id of each event once the
/// store has answered for it.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let store = open_at(Path::new(&dir));
    let first = store.inbox(&users()[0]).await.unwrap().last_seq.0;
    let append = async |appender: u64| {
        // Ids go on where the rounds before ended, and some come twice.
        for number in first.. {
            let id = format!("a{appender}-{}", number - number % 5 / 4);
            store.append(batch(&id, &users()).into(), now()).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "answered {id}").unwrap();
            out.flush().unwrap();
        }
    };
    tokio::join!(append(0), append(1), append(2), append(3));
}

/// Starts the child, kills it once it has printed `lines` ids, and returns all that it printed.
fn run_and_kill(dir: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_appends_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut answered = Vec::new();
    for line in out.lines() {
        // The harness may have begun the line.
        let line = line.unwrap();
        let Some((_, id)) = line.split_once("answered ") else {
            continue;
        };
        answered.push(id.to_owned());
        if answered.len() == lines {
            // SIGKILL. What is still in the pipe was answered as well, and is read below.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "it ended before it was killed");
    assert!(answered.len() >= lines, "it ended after {} events", answered.len());
    answered
}

#[tokio::test]
async fn what_was_answered_survives_kill_9_once_and_in_order() {
    let seed: u64 = rand::random();
    // For a failing run to be repeated.
    writeln!(std::io::stderr(), "seed {seed}").unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut answered = BTreeSet::new();
    for round in 0..ROUNDS {
        let lines = random.random_range(1..250);
        answered.extend(run_and_kill(dir.path(), lines));

        let store = open_at(dir.path());
        for user in users() {
            let listed = store.list_after(&user, Seq::ZERO, usize::MAX).await.unwrap();
            let seqs = listed.iter().map(|it| it.seq().0);
            assert!(seqs.eq(1..=listed.len() as u64), "round {round}: a hole");
            let mut times: BTreeMap<&str, usize> = BTreeMap::new();
            for it in &listed {
                *times.entry(it.event.id.as_str()).or_default() += 1;
            }
            for id in &answered {
                assert_eq!(times.get(id.as_str()), Some(&1), "round {round}: {id}");
            }
            assert!(times.values().all(|times| *times == 1), "round {round}: a duplicate");
            let state = store.inbox(&user).await.unwrap();
            assert_eq!(state.last_seq.0, listed.len() as u64);
            assert_eq!(state.unread, listed.len() as u64);
            // At most what was under way, one per appender and round, is there without an answer.
            assert!(times.len() <= answered.len() + APPENDERS * (round + 1));
        }
        store.close().await;
    }
}
