//! A process that is killed while it writes.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind, FollowCounts},
    ids::UserId,
    ports::SocialGraphStore,
};
use tidings_graph::EmbeddedGraphStore;

use crate::harness::{block, checkpointing, edge, everything, mute, user};

/// Tells the process below to write, and where.
const DIRECTORY: &str = "TIDINGS_GRAPH_CRASH_DIRECTORY";
/// From which edge on.
const FROM: &str = "TIDINGS_GRAPH_CRASH_FROM";
const LIVES: u32 = 12;
/// Followers of a user who is erased, of whom each tenth is followed: more than one commit takes out.
const FANS: u32 = 280;

/// Not a test of its own: the process that the test below starts and kills.
#[tokio::test]
async fn writer_process() {
    let (Some(directory), Some(from)) = (std::env::var_os(DIRECTORY), std::env::var_os(FROM))
    else {
        return;
    };
    let from: u32 = from.to_str().unwrap().parse().unwrap();
    let store = open_to_be_killed(Path::new(&directory));
    // Four callers, so that commits hold several commands. Of three edges, one is removed again, one
    // has its followee block the follower, and one has its follower mute the followee. Now and then a
    // user with many edges comes and is erased.
    let write = async |lane: u32| {
        for n in (from + lane..u32::MAX).step_by(4) {
            let edge = edge(n);
            store.add_follow(&edge.follower, &edge.followee, edge.at).await.unwrap();
            say(&format!("+{n}"));
            match n % 3 {
                0 => {
                    say(&format!("?{n}"));
                    store.remove_follow(&edge.follower, &edge.followee).await.unwrap();
                    say(&format!("-{n}"));
                }
                1 => {
                    say(&format!("?{n}"));
                    block(&store, n).await;
                    say(&format!("!{n}"));
                }
                _ => {
                    mute(&store, n).await;
                    say(&format!("~{n}"));
                }
            }
            if n % 9 == 7 {
                come_and_go(&store, n).await;
            }
        }
    };
    tokio::join!(write(0), write(1), write(2), write(3));
}

fn star(n: u32) -> UserId {
    user(&format!("star{n}"))
}

fn fan(n: u32, number: u32) -> UserId {
    user(&format!("fan{n}-{number}"))
}

fn foe(n: u32) -> UserId {
    user(&format!("foe{n}"))
}

/// All edges of a user who is to be erased.
fn edges_of_star(n: u32) -> Vec<Edge> {
    let edge = |kind, source, target| Edge { kind, source, target, at: Timestamp::from_millis(1) };
    let follow = |source, target| edge(EdgeKind::Follow, source, target);
    let fans = (0..FANS).map(|it| follow(fan(n, it), star(n)));
    let idols = (0..FANS / 10).map(|it| follow(star(n), fan(n, it)));
    let foes = [edge(EdgeKind::Block, star(n), foe(n)), edge(EdgeKind::Mute, foe(n), star(n))];
    fans.chain(idols).chain(foes).collect()
}

async fn come_and_go(store: &EmbeddedGraphStore, n: u32) {
    let edges = edges_of_star(n);
    let count = edges.len() as u64;
    assert_eq!(store.import_edges(edges).await.unwrap(), count);
    say(&format!("*{n}"));
    say(&format!("/{n}"));
    assert_eq!(store.erase_user(&star(n)).await.unwrap(), count);
    say(&format!("x{n}"));
}

/// A snapshot is under way at almost any moment.
fn open_to_be_killed(path: &Path) -> EmbeddedGraphStore {
    EmbeddedGraphStore::open(checkpointing(path, 100)).unwrap()
}

/// One write per line: a killed process may cut off its last line, and no other.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What a killed process had been answered.
#[derive(Default)]
struct Acknowledged {
    followed: BTreeSet<u32>,
    /// Being removed: either is right.
    leaving: HashSet<u32>,
    unfollowed: HashSet<u32>,
    /// Edges whose followee has blocked the follower, or whose follower has muted the followee.
    hidden: HashSet<u32>,
    /// Users with many edges.
    stars: HashSet<u32>,
    /// Being erased: any of their edges may be gone.
    erasing: HashSet<u32>,
    erased: HashSet<u32>,
    last: u32,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let Some((sign, Ok(n))) = line.split_at_checked(1).map(|(s, n)| (s, n.parse::<u32>()))
        else {
            return;
        };
        match sign {
            "+" => _ = self.followed.insert(n),
            "?" => _ = self.followed.remove(&n) && self.leaving.insert(n),
            "-" => _ = self.leaving.remove(&n) && self.unfollowed.insert(n),
            "!" if self.leaving.remove(&n) => {
                self.unfollowed.insert(n);
                self.hidden.insert(n);
            }
            "~" => _ = self.hidden.insert(n),
            "*" => _ = self.stars.insert(n),
            "/" => _ = self.stars.remove(&n) && self.erasing.insert(n),
            "x" => _ = self.erasing.remove(&n) && self.erased.insert(n),
            _ => return,
        }
        self.last = self.last.max(n);
    }

    /// Sees to it that who was erased is gone, and that who was being erased has whole edges, and is
    /// erased when asked again.
    async fn check_erasures(&mut self, store: &EmbeddedGraphStore, context: &str) {
        for n in &self.stars {
            let FollowCounts { followers, following } = store.counts(&star(*n)).await.unwrap();
            let whole = (FANS.into(), (FANS / 10).into());
            assert_eq!((followers, following), whole, "{context}: star {n} was acknowledged");
        }
        for n in self.erasing.drain() {
            let FollowCounts { followers, following } = store.counts(&star(n)).await.unwrap();
            let mut found = (0, 0);
            for number in 0..FANS {
                let (star, fan) = (star(n), fan(n, number));
                found.0 += u64::from(store.is_following(&fan, &star).await.unwrap());
                found.1 += u64::from(store.is_following(&star, &fan).await.unwrap());
            }
            assert_eq!(found, (followers, following), "{context}: star {n} is half erased");
            store.erase_user(&star(n)).await.unwrap();
            self.erased.insert(n);
        }
        for n in &self.erased {
            let counts = store.counts(&star(*n)).await.unwrap();
            assert_eq!(counts, FollowCounts::default(), "{context}: star {n} was erased");
            let hidden = store.hidden_from(&star(*n), &[foe(*n)]).await.unwrap();
            assert!(!hidden.contains(0), "{context}: a block or mute of star {n} is back");
            let fans = [fan(*n, 0), fan(*n, FANS - 1)];
            let follows = store.are_following(&star(*n), &fans).await.unwrap();
            assert_eq!(follows, [false; 2], "{context}: star {n} was erased");
        }
    }
}

/// Lets a process write until it has said `answers` lines, kills it, and reads what it still said.
fn write_and_kill(directory: &Path, from: u32, answers: u32, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer_process", "--nocapture"])
        .envs([
            (DIRECTORY, directory.as_os_str().to_owned()),
            (FROM, OsString::from(from.to_string())),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).split(b'\n');
    let mut said = 0;
    while said < answers {
        let line = lines.next().unwrap().unwrap();
        acknowledged.note(std::str::from_utf8(&line).unwrap());
        said += 1;
    }
    child.kill().unwrap();
    // What it said between the last line above and its end was acknowledged as well.
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    for line in &rest {
        acknowledged.note(std::str::from_utf8(line).unwrap());
    }
    assert!(!child.wait().unwrap().success());
}

#[tokio::test]
async fn every_acknowledged_change_survives_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let seed: u64 = rand_seed();
    let mut acknowledged = Acknowledged::default();
    let mut from = 0;
    for life in 0..LIVES {
        let answers = 1 + u32::try_from((seed >> (life * 5)) % 700).unwrap();
        write_and_kill(directory.path(), from, answers, &mut acknowledged);
        // The lock went with the process.
        let store = open_to_be_killed(directory.path());
        let context = format!("seed {seed}, life {life}, killed after {answers} answers");
        for n in &acknowledged.followed {
            let edge = edge(*n);
            let kept = store.is_following(&edge.follower, &edge.followee).await.unwrap();
            assert!(kept, "{context}: edge {n} was acknowledged and is lost");
        }
        for n in &acknowledged.unfollowed {
            let edge = edge(*n);
            let kept = store.is_following(&edge.follower, &edge.followee).await.unwrap();
            assert!(!kept, "{context}: edge {n} was removed and is back");
        }
        for n in &acknowledged.hidden {
            let edge = edge(*n);
            let hidden = store.hidden_from(&edge.followee, &[edge.follower]).await.unwrap();
            assert!(hidden.contains(0), "{context}: the block or mute of edge {n} is lost");
        }
        // A block and the end of the follows that it takes away are one commit.
        for n in &acknowledged.leaving {
            let edge = edge(*n);
            let hidden = store.hidden_from(&edge.followee, std::slice::from_ref(&edge.follower));
            let is_blocked = hidden.await.unwrap().contains(0);
            let follows = store.is_following(&edge.follower, &edge.followee).await.unwrap();
            assert!(n % 3 == 0 || is_blocked != follows, "{context}: edge {n} is half blocked");
        }
        acknowledged.check_erasures(&store, &context).await;
        let listed = everything(&store, acknowledged.last + 4).await;
        let follows: usize = listed.iter().map(Vec::len).sum();
        let least = acknowledged.followed.len();
        // Each lane may have one answer that nobody heard, in each life.
        let most = least + acknowledged.leaving.len() + 4 * (life as usize + 1);
        assert_eq!(follows % 2, 0, "{context}: an edge has one end only");
        assert!((least..=most).contains(&(follows / 2)), "{context}: {least} {follows} {most}");
        store.check().await.unwrap();
        assert!(!store.remove_follow(&user("nobody"), &user("u1")).await.unwrap());
        store.close().await;
        from = (acknowledged.last / 4 + 2) * 4;
    }
}

/// Tells the process below to import, and where.
const IMPORT_DIRECTORY: &str = "TIDINGS_GRAPH_IMPORT_DIRECTORY";
/// Edges of one import.
const PIECE: u32 = 500;

/// Not a test of its own: the process that the test below starts and kills.
#[tokio::test]
async fn importing_process() {
    let (Some(directory), Some(from)) =
        (std::env::var_os(IMPORT_DIRECTORY), std::env::var_os(FROM))
    else {
        return;
    };
    let from: u32 = from.to_str().unwrap().parse().unwrap();
    let store = EmbeddedGraphStore::open(checkpointing(Path::new(&directory), 4_000)).unwrap();
    for piece in from.. {
        let edges = (piece * PIECE..(piece + 1) * PIECE).map(edge).map(Edge::from);
        assert_eq!(store.import_edges(edges.collect()).await.unwrap(), u64::from(PIECE));
        say(&format!("+{piece}"));
    }
}

#[tokio::test]
async fn every_acknowledged_import_survives_sigkill_at_any_moment_of_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let seed: u64 = rand_seed();
    let mut pieces = 0;
    for life in 0..LIVES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::importing_process", "--nocapture"])
            .envs([
                (IMPORT_DIRECTORY, directory.path().as_os_str().to_owned()),
                (FROM, OsString::from(pieces.to_string())),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = 4 + (seed >> (life * 5)) % 16;
        let micros = (seed >> (life * 4)) % 20_000;
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.by_ref().take(usize::try_from(answers).unwrap()).count();
        std::thread::sleep(std::time::Duration::from_micros(micros));
        child.kill().unwrap();
        let acknowledged = pieces + u32::try_from(said + lines.count()).unwrap();
        assert!(!child.wait().unwrap().success());
        let context =
            format!("seed {seed}, life {life}, killed {micros} us after {answers} answers");

        let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 4_000)).unwrap();
        let follows = u32::try_from(store.stats().await.unwrap().follows).unwrap();
        // The last one may be in without its answer; each is in as a whole.
        assert_eq!(follows % PIECE, 0, "{context}");
        assert!((acknowledged..=acknowledged + 1).contains(&(follows / PIECE)), "{context}");
        pieces = follows / PIECE;
        let lists = everything(&store, follows).await;
        for (n, following) in lists.iter().step_by(2).enumerate() {
            let first = u32::try_from(n).unwrap() * 40;
            let expected = (first..first + 40).filter(|it| *it < follows).rev().map(edge);
            assert!(following.iter().cloned().eq(expected), "{context}: the list of u{n}");
        }
        let followers: usize = lists.iter().skip(1).step_by(2).map(Vec::len).sum();
        assert_eq!(followers, follows as usize, "{context}");
        store.close().await;
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("crash")
}
