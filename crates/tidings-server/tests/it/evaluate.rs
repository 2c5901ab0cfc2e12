//! `tidings evaluate`, as users run it.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::PATIENCE;

fn evaluate(args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("evaluate").args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn report(file: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// Twenty groups of ten, in each of which all follow each other. A follow's time is its line, from 1.
fn groups(line: impl Fn(&mut String, u32, u32, usize)) -> String {
    let pairs = (0..200).flat_map(|a| (0..10).map(move |b| (a, a - a % 10 + b)));
    let mut text = String::new();
    for (place, (a, b)) in pairs.filter(|(a, b)| a != b).enumerate() {
        line(&mut text, a, b, place + 1);
    }
    text
}

#[test]
fn the_hidden_follows_of_an_edge_list_are_found_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (list, json) = (path(&dir, "list.txt.zst"), path(&dir, "report.json"));
    let text = groups(|text, a, b, _| writeln!(text, "{a} {b}").unwrap());
    std::fs::write(&list, zstd::bulk::compress(text.as_bytes(), 3).unwrap()).unwrap();
    let (done, table, err) = evaluate(&[&list, "--users", "50", "--json", &json]);
    assert!(done, "{err}");
    assert!(table.starts_with("200 users, 1,800 follows, 100.0 % of them returned; 200 hidden"));
    assert!(table.contains("NDCG@10") && table.contains("±"), "{table}");
    let report = report(&json);
    let graph = &report["graph"];
    assert_eq!(graph["users"], 200);
    assert_eq!(graph["follows"], 1_800);
    assert_eq!(graph["hidden"], 200);
    assert_eq!(graph["test_users"], 50);
    assert_eq!(graph["seed"], 42);
    assert!(graph["reciprocity"].as_f64().unwrap() > 0.99);
    let methods = report["methods"].as_object().unwrap();
    assert_eq!(methods.len(), 28);
    for name in ["tidings", "fof_cnt", "U_ra"] {
        let found = &methods[name];
        let figure = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{name}: {key}"));
        assert!(figure("ndcg_at_10") > 0.9, "{name}: {found}");
        assert!(figure("auc_popularity") > 0.9, "{name}: {found}");
        assert!(figure("ndcg_at_10_ci95") < 0.1, "{name}: {found}");
        assert!(figure("ms_p95") >= figure("ms_p50"), "{name}: {found}");
        for key in ["map", "hr_at_10", "p_at_10", "r_at_50", "auc_uniform", "coverage"] {
            assert!((0.0..=1.0).contains(&figure(key)), "{name}: {found}");
        }
    }
}

#[test]
fn methods_are_chosen_and_pairs_are_follows_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let (list, json) = (path(&dir, "pairs.txt"), path(&dir, "report.json"));
    let pair = |text: &mut String, a, b, _| {
        if a < b {
            writeln!(text, "{a} {b}").unwrap();
        }
    };
    std::fs::write(&list, groups(pair)).unwrap();
    let args = [&list, "--undirected", "--methods", "U_ra,pop,U_ra", "--json", &json];
    let (done, table, err) = evaluate(&args);
    assert!(done, "{err}");
    assert!(table.contains(" 1,800 follows, 100.0 %"), "{table}");
    let report = report(&json);
    let methods: Vec<_> = report["methods"].as_object().unwrap().keys().collect();
    assert_eq!(methods, ["U_ra", "pop"]);
    let (done, _, err) = evaluate(&[&list, "--methods", "magic"]);
    assert!(!done && err.contains("no method \"magic\"") && err.contains("tidings, pop"), "{err}");
}

#[test]
fn the_newest_follows_are_hidden_if_every_follow_has_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (list, json) = (path(&dir, "list.txt"), path(&dir, "report.json"));
    // The last whom each follows is their group's last member, or the last but one.
    std::fs::write(&list, groups(|text, a, b, at| writeln!(text, "{a} {b} {at}").unwrap()))
        .unwrap();
    let args = [&list, "--by-time", "--methods", "pop,tidings", "--json", &json];
    let (done, _, err) = evaluate(&args);
    assert!(done, "{err}");
    let by_time = report(&json);
    assert_eq!(by_time["graph"]["hold_out"], "newest");
    // Nobody is left who follows any last member: popularity finds none of those.
    let popularity = &by_time["methods"]["pop"];
    assert!(popularity["auc_uniform"].as_f64().unwrap() < 0.2, "{popularity}");

    let export = path(&dir, "graph.ndjson");
    let edge = |text: &mut String, a, b, at| {
        let at = format!("2026-01-01T00:{:02}:{:02}Z", at / 60, at % 60);
        writeln!(text, r#"{{"follower":"{a}","followee":"{b}","at":"{at}"}}"#).unwrap();
    };
    let muted = "{\"muter\":\"1\",\"muted\":\"99\"}\n";
    std::fs::write(&export, groups(edge) + muted).unwrap();
    let (done, _, err) = evaluate(&[&export, "--by-time", "--methods", "pop", "--json", &json]);
    assert!(done, "{err}");
    let key = "auc_popularity";
    assert_eq!(report(&json)["methods"]["pop"][key], popularity[key], "an export says the same");

    std::fs::write(&list, "1 2 5\n1 3\n").unwrap();
    let (done, _, err) = evaluate(&[&list, "--by-time"]);
    assert!(!done && err.contains("not every follow has a time"), "{err}");
}

#[test]
fn what_is_no_graph_is_refused_with_its_line_or_its_lack() {
    let dir = tempfile::tempdir().unwrap();
    let list = path(&dir, "list.txt");
    for (text, said) in [
        ("1 2\n3\n", "line 2 has 1 words"),
        ("1 2 noon\n", "line 1 \"noon\" is not a time"),
        ("# nothing\n", "has no follows"),
        ("1 2\n2 3\n", "five follows"),
    ] {
        std::fs::write(&list, text).unwrap();
        let (done, table, err) = evaluate(&[&list]);
        assert!(!done && table.is_empty(), "{table}");
        assert!(err.contains(said) && err.contains("list.txt"), "{text:?}: {err}");
    }
    let (done, _, err) = evaluate(&[&path(&dir, "absent")]);
    assert!(!done && err.contains("absent"), "{err}");
}

#[test]
fn a_signal_ends_it_while_standard_input_is_silent() {
    // By name, and by number.
    [("-INT", 2), ("-TERM", 15)].iter().for_each(|it| ends_while_silent(*it));
}

/// Whether a process has a handler for a signal, rather than being killed by it.
fn listens(pid: &str, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
}

fn ends_while_silent((name, number): (&str, u32)) {
    let mut evaluating = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["evaluate", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let silent = evaluating.stdin.take();
    let pid = evaluating.id().to_string();
    let deadline = Instant::now() + PATIENCE;
    while !listens(&pid, number) {
        assert!(Instant::now() < deadline, "{name} is not listened to");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    let status = loop {
        if let Some(status) = evaluating.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::sleep(Duration::from_millis(5));
    };
    // It ended by itself.
    assert!(status.code().is_some_and(|code| code != 0), "{name}: {status}");
    drop(silent);
}

#[test]
fn whatever_ends_it_leaves_no_graph_behind() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let file = path(&dir, "list.txt");
    let edges: String = (0..60_000u32)
        .map(|n| format!("{} {}\n", n % 2_000, (n * 7 + n / 2_000 * 13 + 1) % 2_000))
        .collect();
    std::fs::write(&file, edges).unwrap();
    for signal in ["-INT", "-TERM"] {
        let mut evaluating = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["evaluate", &file])
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let entries = || std::fs::read_dir(&temporary).unwrap().count();
        let deadline = Instant::now() + PATIENCE;
        while entries() == 0 {
            assert!(evaluating.try_wait().unwrap().is_none(), "it ended before it made a graph");
            assert!(Instant::now() < deadline, "it makes no graph");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = evaluating.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(!evaluating.wait().unwrap().success(), "it was not interrupted: {signal}");
        assert_eq!(entries(), 0, "{signal}");
    }
}
