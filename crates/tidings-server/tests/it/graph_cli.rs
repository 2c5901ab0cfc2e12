//! `tidings graph`, against a node as users run it.

use std::{
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::harness::{Node, PATIENCE, Site};

fn graph(node: &Node, args: &[&str]) -> (bool, String, String) {
    graph_at(node.url(), args)
}

fn graph_at(url: &str, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("graph").args(args).args(["--url", url]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn path(site: &Site, name: &str) -> String {
    site.path().join(name).to_str().unwrap().to_owned()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn size(node: &Node) -> Value {
    let (done, out, err) = graph(node, &["stats", "--json"]);
    assert!(done, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_format_are_imported_packed_or_not() {
    let site = Site::new("");
    let node = site.start();
    let list = b"# Directed graph\n1\t2\n1\t3\n";
    let csv = b"follower,followee,at\n4,5,2026-01-01T00:00:00Z\n";
    let json = b"{\"follower\":\"6\",\"followee\":\"7\"}\n{\"muter\":\"6\",\"muted\":\"8\"}\n";
    for (name, bytes, said) in [
        ("list.txt", list.to_vec(), "2 edges, 2 new"),
        // The content tells how it is packed, not the name.
        ("list", gzip(list), "2 edges, 0 new"),
        ("follows.csv", zstd::bulk::compress(csv, 3).unwrap(), "1 edges, 1 new"),
        ("graph.ndjson", json.to_vec(), "2 edges, 2 new"),
    ] {
        let file = path(&site, name);
        std::fs::write(&file, bytes).unwrap();
        let (done, out, err) = graph(&node, &["import", &file]);
        assert!(done && out.contains(said), "{name}: {out}{err}");
    }
    let (done, out, _) = graph(&node, &["import", &path(&site, "list.txt"), "--undirected"]);
    assert!(done && out.contains("4 edges, 2 new"), "{out}");
    let expected = json!({"users": 8, "follows": 6, "blocks": 0, "mutes": 1});
    assert_eq!(size(&node), expected);
    let (_, out, _) = graph(&node, &["stats"]);
    assert!(out.contains("follows") && out.contains('6'), "{out}");

    let mut piped = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["graph", "import", "-", "--url", node.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(b"9 10\n").unwrap();
    let output = piped.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 edges, 1 new\n");

    let (done, out, _) = graph(&node, &["erase", "1"]);
    assert!(done && out == "4 edges removed\n", "{out}");
    let (done, _, err) = graph(&node, &["erase", ""]);
    assert!(!done && err.contains("USER"), "{err}");
    let (done, _, err) = graph(&node, &["import", &path(&site, "absent")]);
    assert!(!done && err.contains("absent"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_stops_at_a_bad_line_and_goes_on_there() {
    let site = Site::new("");
    let node = site.start();
    let file = path(&site, "list.txt");
    let mut lines: Vec<_> = (0..5_000).map(|n| format!("a{n} b{n}")).collect();
    lines[3_210] = "a3210".into();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let args = ["import", &file, "--batch", "1000"];
    let (done, _, err) = graph(&node, &args);
    assert!(!done, "{err}");
    assert!(err.contains("line 3211 has 1 words") && err.contains("--from-line 3211"), "{err}");
    assert_eq!(size(&node)["follows"], 3_210, "what is before the bad line is in");
    lines[3_210] = "a3210 b3210".into();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (done, out, err) = graph(&node, &[&args[..], &["--from-line", "3211"]].concat());
    assert!(done && out == "1790 edges, 1790 new\n", "{out}{err}");
    assert_eq!(size(&node)["follows"], 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_does_not_end_is_refused_packed_or_not() {
    let site = Site::new("");
    let node = site.start();
    let text = [&b"a b\n"[..], &vec![b'7'; 10 << 20]].concat();
    for (name, bytes) in [("endless.txt", text.clone()), ("endless.gz", gzip(&text))] {
        let file = path(&site, name);
        std::fs::write(&file, bytes).unwrap();
        let (done, _, err) = graph(&node, &["import", &file]);
        assert!(!done && err.contains("line 2 has more than 2048 bytes"), "{name}: {err}");
    }
    assert_eq!(size(&node)["follows"], 1, "what is before the line is in");
}

/// Waits until the node has some follows.
async fn until_some_follow(node: &Node) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let size = node.get("/v1/graph/stats").await.expect(200);
        let follows = size["follows"].as_u64().unwrap();
        if follows > 0 {
            return follows;
        }
        assert!(Instant::now() < deadline, "nothing is imported");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_outlives_the_node_that_it_speaks_to() {
    const EDGES: usize = 60_000;
    // The node has to come back where it was.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::on_port("", port);
    let node = site.start();
    let file = path(&site, "list.txt");
    let lines: Vec<_> = (0..EDGES).map(|n| format!("f{} g{}", n % 500, n / 500)).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let url = node.url().to_owned();
    let importing = std::thread::spawn({
        let file = file.clone();
        move || graph_at(&url, &["import", &file, "--batch", "300"])
    });
    let mut node = node;
    for kill in 0..3 {
        let follows = until_some_follow(&node).await;
        println!("kill {kill} after {follows} follows");
        node.kill();
        node = site.start();
    }
    let (done, out, err) = tokio::task::block_in_place(|| importing.join().unwrap());
    assert!(done && out.starts_with(&format!("{EDGES} edges")), "{out}{err}");
    assert_eq!(size(&node)["follows"], EDGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_ends_an_import_with_the_line_to_go_on_at() {
    let site = Site::new("");
    let file = path(&site, "list.txt");
    std::fs::write(&file, "1 2\n").unwrap();
    let mut importing = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["graph", "import", &file, "--url", "http://127.0.0.1:1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    // It tries again, until someone has had enough.
    assert!(importing.try_wait().unwrap().is_none(), "it does not give up at once");
    let pid = importing.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = importing.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains("--from-line 1"), "{err}");
    assert!(err.contains("interrupted"), "{err}");
}

fn read(file: &str) -> String {
    let packed = std::fs::read(file).unwrap();
    match Path::new(file).extension().and_then(|it| it.to_str()) {
        Some("zst") => String::from_utf8(zstd::stream::decode_all(&*packed).unwrap()).unwrap(),
        Some("gz") => std::io::read_to_string(flate2::read::MultiGzDecoder::new(&*packed)).unwrap(),
        _ => String::from_utf8(packed).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_in_any_packing_makes_the_same_graph_and_is_gone_on_with() {
    const EDGES: usize = 120_000;
    let site = Site::new("");
    let node = site.start();
    let list = path(&site, "list.txt");
    let lines: Vec<_> = (0..EDGES).map(|n| format!("f{} g{}", n % 900, n / 900)).collect();
    std::fs::write(&list, lines.join("\n")).unwrap();
    let (done, _, err) = graph(&node, &["import", &list]);
    assert!(done, "{err}");
    let (done, stdout, err) = graph(&node, &["export"]);
    assert!(done && err.contains("120,000 edges"), "{err}");
    assert_eq!(stdout.lines().count(), EDGES);
    for name in ["graph.ndjson", "graph.ndjson.gz", "graph.ndjson.zst"] {
        let file = path(&site, name);
        let (done, _, err) = graph(&node, &["export", &file]);
        assert!(done, "{err}");
        assert!(read(&file) == stdout, "{name}");
        let (done, _, err) = graph(&node, &["export", &file]);
        assert!(!done && err.contains(name), "it is not overwritten: {err}");
    }
    let other_site = Site::new("");
    let other = other_site.start();
    let (done, out, err) = graph(&other, &["import", &path(&site, "graph.ndjson.zst")]);
    assert!(done && out == "120000 edges, 120000 new\n", "{out}{err}");
    let mut expected: Vec<_> = stdout.lines().collect();
    let (_, again, _) = graph(&other, &["export"]);
    let mut edges: Vec<_> = again.lines().collect();
    edges.sort_unstable();
    expected.sort_unstable();
    assert!(edges == expected);

    // As an export that was cut off within its second page leaves them.
    let page = node.get("/v1/graph/export?limit=1000").await.text;
    let (edges, place) = page.trim_end().rsplit_once('\n').unwrap();
    let place: Value = serde_json::from_str(place).unwrap();
    let cursor = place["next"].as_str().unwrap();
    let (plain, packed) = (path(&site, "part.ndjson"), path(&site, "part.ndjson.gz"));
    std::fs::write(&plain, format!("{edges}\n{{\"follower\":\"to")).unwrap();
    std::fs::write(&packed, gzip(format!("{edges}\n").as_bytes())).unwrap();
    for file in [plain, packed] {
        let (done, _, err) = graph(&node, &["export", &file, "--cursor", cursor]);
        assert!(done, "{err}");
        assert!(read(&file) == stdout, "{file}");
    }
    let (done, _, err) = graph(&node, &["export", "--cursor", "x"]);
    assert!(!done && err.contains("cursor"), "{err}");
}
