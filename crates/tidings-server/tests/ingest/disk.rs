//! A disk that is full: nothing is acknowledged that is not stored, and everything arrives when there is
//! room again.

use std::{path::Path, process::Command};

use crate::{
    harness::{Node, event},
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    until::{until, until_some},
    verify::{assert_exact, inbox, part, records_done, until_drained},
};

/// Set in the child process that has a small disk of its own.
const ON_SMALL_DISK: &str = "TIDINGS_TEST_SMALL_DISK";
const DISK_BYTES: usize = 64 << 20;
const POSTS: usize = 20;

/// Runs this test again where it may mount a disk: as root of name spaces of its own, which end with
/// it and take the disk along.
fn run_on_small_disk(test: &str) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", test, "--nocapture"]).env(ON_SMALL_DISK, "1");
    let output = unshare.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "on a small disk:\n{}", String::from_utf8_lossy(&said));
}

fn mount(place: &Path) {
    std::fs::create_dir_all(place).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"]).arg(place);
    assert!(mount.status().unwrap().success());
}

/// Fills the disk but for about `left` bytes.
fn fill(place: &Path, left: usize) {
    use std::io::Write;
    let mut file = std::fs::File::create(place.join("ballast")).unwrap();
    let block = [7; 4096];
    while file.write_all(&block).is_ok() {}
    let held = file.metadata().unwrap().len();
    file.set_len(held.saturating_sub(left as u64)).unwrap();
}

fn make_room(place: &Path) {
    std::fs::remove_file(place.join("ballast")).unwrap();
}

/// Posts an event for ann; says what it was answered.
async fn post(node: &Node, number: usize) -> u16 {
    let body = event(&format!("http{number}"), &["ann"]);
    node.post("/v1/events", body.to_string()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_acknowledged_and_all_arrives_when_there_is_room_again() {
    if std::env::var_os(ON_SMALL_DISK).is_none() {
        let name =
            "disk::on_a_full_disk_nothing_is_acknowledged_and_all_arrives_when_there_is_room_again";
        return run_on_small_disk(name);
    }
    let scene = Scene::new(Setup::new(StoreKind::Sqlite, 2)).await;
    let disk = scene.site.path().join("data");
    mount(&disk);
    let (mut writer, mut story) = (scene.writer(), Story::new(5, 20, 2));
    writer.write(&story.take(500)).await;
    let node = scene.start();
    until_drained(&node, &writer.ledger).await;

    fill(&disk, 200 << 10);
    writer.write(&story.take(20_000)).await;
    let refused = until_some("a request is refused", async || {
        Some(post(&node, 0).await).filter(|status| *status != 200)
    })
    .await;
    assert_eq!(refused, 503);
    until("readiness says that the store is down", async || {
        part(&node, "store").await.is_some_and(|it| it["up"] == false)
    })
    .await;
    // Some may find room; those that are answered 200 are looked for in the end, like the others.
    for number in 1..POSTS {
        assert!([200, 503].contains(&post(&node, number).await));
    }
    let stored = records_done(&node).await;
    assert!(stored < 20_500, "the disk is not full: {stored} records are stored");

    make_room(&disk);
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    until("readiness says that all is well", async || {
        part(&node, "store").await.is_some_and(|it| it["up"] == true)
    })
    .await;
    for number in 0..POSTS {
        assert_eq!(post(&node, number).await, 200);
    }
    assert_eq!(inbox(&node, "ann").await.len(), POSTS, "each once, whatever the first answer was");
    node.kill();
    let node = start(&scene.site);
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
}
