//! A backlog in Kafka, and how fast it becomes rows: Tidings, the bare limits, and a peer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::ensure;
use rusqlite::{Connection, OpenFlags};
use tokio::task::JoinSet;

use super::{
    bench::{Bench, unique_name},
    kafka::{self, Backlog, PARTITIONS, Poison},
    limit_postgres, limit_sqlite,
    measure::{Run, Watched, measure, median_of, offsets_of},
    node::{Node, Setup, Source, Store},
    peer_connect,
};
use crate::report::Report;

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let events = bench.pick(1_000_000, 50_000);
    let backlog = produce(bench, "backlog", events, Poison::None).await?;
    postgres(bench, &backlog, report).await?;
    sqlite(bench, &backlog, report).await?;
    bench.drop_topic(&backlog.topic).await
}

/// A new topic full of events.
pub(super) async fn produce(
    bench: &Bench,
    name: &str,
    events: u64,
    poison: Poison,
) -> anyhow::Result<Backlog> {
    let topic = bench.topic(name, PARTITIONS).await?;
    bench.say(format_args!("producing {events} events"));
    let stop = bench.stop.clone();
    let mut thread = JoinSet::new();
    thread.spawn_blocking(move || kafka::produce_backlog(topic, events, poison, &stop));
    match thread.join_next().await {
        Some(produced) => produced?,
        None => anyhow::bail!("nothing was produced"),
    }
}

/// Who stores the backlog.
#[derive(Debug, Clone, Copy)]
enum Contender {
    Limit,
    Node,
    Peer,
}

async fn postgres(bench: &Bench, backlog: &Backlog, report: &mut Report) -> anyhow::Result<()> {
    let peer = peer_connect::Connect::find();
    if peer.is_none() {
        bench.say(
            "Kafka Connect is not installed, and is left out: `cargo xtask peers` installs it",
        );
    }
    let (mut limits, mut nodes, mut one_task, mut two_tasks) = (vec![], vec![], vec![], vec![]);
    for turn in 0..bench.pick(2, 1) {
        // There and back, so that nobody always comes first.
        let mut order = [Contender::Limit, Contender::Peer, Contender::Node];
        if turn > 0 {
            order.reverse();
        }
        for contender in order {
            match (contender, &peer) {
                (Contender::Limit, _) => limits.push(limit_on_postgres(bench, backlog).await?),
                (Contender::Node, _) => nodes.push(node_on_postgres(bench, backlog).await?),
                (Contender::Peer, None) => {}
                (Contender::Peer, Some(peer)) if turn == 0 => {
                    two_tasks.push(peer.store(bench, backlog, 2).await?);
                }
                (Contender::Peer, Some(peer)) => {
                    one_task.push(peer.store(bench, backlog, 1).await?);
                }
            }
        }
    }
    let limit = median_of(&limits, |it| it.events_per_s);
    let node = median_of(&nodes, |it| it.events_per_s);
    report.put("limit_rows_per_s_postgres", limit);
    report.put("limit_cpu_us_per_event_postgres", median_of(&limits, |it| it.cpu_us_per_event));
    report.put(
        "limit_postgres_cpu_us_per_event",
        median_of(&limits, |it| it.postgres_cpu_us_per_event),
    );
    report.put("rows_per_s_postgres", node);
    report.put("node_cpu_us_per_event_postgres", median_of(&nodes, |it| it.cpu_us_per_event));
    report.put("postgres_cpu_us_per_event", median_of(&nodes, |it| it.postgres_cpu_us_per_event));
    report.put("rss_bytes", median_of(&nodes, Run::peak_rss));
    report.put("start_to_first_rows_s", median_of(&nodes, |it| it.first_after.as_secs_f64()));
    report.ratios.of_limit.insert("postgres".to_owned(), node / limit);
    // The peer is taken at its best.
    let best = if median_of(&one_task, |it| it.events_per_s)
        > median_of(&two_tasks, |it| it.events_per_s)
    {
        one_task
    } else {
        two_tasks
    };
    if !best.is_empty() {
        let peer = median_of(&best, |it| it.events_per_s);
        report.put("connect_rows_per_s_postgres", peer);
        report.put("connect_cpu_us_per_event", median_of(&best, |it| it.cpu_us_per_event));
        report.put(
            "connect_postgres_cpu_us_per_event",
            median_of(&best, |it| it.postgres_cpu_us_per_event),
        );
        report.put("connect_rss_bytes", median_of(&best, Run::peak_rss));
        report.ratios.vs_peer.insert("connect".to_owned(), node / peer);
    }
    Ok(())
}

async fn sqlite(bench: &Bench, backlog: &Backlog, report: &mut Report) -> anyhow::Result<()> {
    let (mut limits, mut nodes) = (vec![], vec![]);
    for turn in 0..bench.pick(2, 1) {
        if turn == 0 {
            limits.push(limit_on_sqlite(bench, backlog).await?);
        }
        nodes.push(node_on_sqlite(bench, backlog).await?);
        if turn > 0 {
            limits.push(limit_on_sqlite(bench, backlog).await?);
        }
    }
    let limit = median_of(&limits, |it| it.events_per_s);
    let node = median_of(&nodes, |it| it.events_per_s);
    report.put("limit_rows_per_s_sqlite", limit);
    report.put("limit_cpu_us_per_event_sqlite", median_of(&limits, |it| it.cpu_us_per_event));
    report.put("rows_per_s_sqlite", node);
    report.put("node_cpu_us_per_event_sqlite", median_of(&nodes, |it| it.cpu_us_per_event));
    report.put("rss_bytes_sqlite", median_of(&nodes, Run::peak_rss));
    report.ratios.of_limit.insert("sqlite".to_owned(), node / limit);
    Ok(())
}

async fn limit_on_postgres(bench: &Bench, backlog: &Backlog) -> anyhow::Result<Run> {
    let database = bench.database("limit").await?;
    database.migrate().await?;
    database.checkpoint().await?;
    let stored = Arc::new(AtomicU64::new(0));
    let watched = Watched { pid: std::process::id(), postmaster: Some(database.postmaster()) };
    let looking = measure(bench, "limit, PostgreSQL", backlog.events, watched, async || {
        Ok(stored.load(Ordering::Relaxed))
    });
    let storing = limit_postgres::run(database.url(), backlog, &stored, &bench.stop);
    let (run, ()) = tokio::try_join!(looking, storing)?;
    database.check(backlog.events).await?;
    bench.drop_database(database).await?;
    Ok(run)
}

/// A node that stores the backlog in PostgreSQL, checked for holes.
pub(super) async fn node_on_postgres(bench: &Bench, backlog: &Backlog) -> anyhow::Result<Run> {
    let database = bench.database("node").await?;
    database.checkpoint().await?;
    let source = source_of(&backlog.topic);
    let setup = Setup { store: Store::Postgres(database.url()), source: Some(source) };
    let node = Node::start(bench, &setup).await?;
    let watched = Watched { pid: node.pid(), postmaster: Some(database.postmaster()) };
    let run = measure_node(bench, "tidings, PostgreSQL", &node, backlog, watched).await?;
    node.stop().await?;
    database.check(backlog.events - backlog.poisoned).await?;
    let letters = database.sql.number("SELECT count(*) FROM dead_letter").await?;
    ensure!(letters == backlog.poisoned, "{letters} dead letters, not {}", backlog.poisoned);
    bench.drop_database(database).await?;
    Ok(run)
}

async fn limit_on_sqlite(bench: &Bench, backlog: &Backlog) -> anyhow::Result<Run> {
    let dir = bench.folder("limit")?;
    let stored = Arc::new(AtomicU64::new(0));
    let watched = Watched { pid: std::process::id(), postmaster: None };
    let looking = measure(bench, "limit, SQLite", backlog.events, watched, async || {
        Ok(stored.load(Ordering::Relaxed))
    });
    let storing = limit_sqlite::run(&dir, backlog, &stored, &bench.stop);
    let (run, ()) = tokio::try_join!(looking, storing)?;
    check_file(&dir.join("limit.db"), backlog.events)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(run)
}

async fn node_on_sqlite(bench: &Bench, backlog: &Backlog) -> anyhow::Result<Run> {
    let source = source_of(&backlog.topic);
    let node = Node::start(bench, &Setup { store: Store::Embedded, source: Some(source) }).await?;
    let watched = Watched { pid: node.pid(), postmaster: None };
    let run = measure_node(bench, "tidings, SQLite", &node, backlog, watched).await?;
    let (file, dir) = (node.database_file(), node.dir().to_owned());
    node.stop().await?;
    check_file(&file, backlog.events)?;
    std::fs::remove_dir_all(dir)?;
    Ok(run)
}

/// A group of its own, so that it begins at the start.
pub(super) fn source_of(topic: &str) -> Source {
    let group = unique_name("group");
    Source { topic: topic.to_owned(), group, instance_id: String::new() }
}

async fn measure_node(
    bench: &Bench,
    name: &str,
    node: &Node,
    backlog: &Backlog,
    watched: Watched,
) -> anyhow::Result<Run> {
    let api = node.api()?;
    let run = measure(bench, name, backlog.events, watched, async || offsets_of(&api).await);
    run.await.map_err(|error| error.context(node.log()))
}

/// Inboxes whose numbers are not 1 to the count of their rows. The file keeps no other last number that
/// has to be as large.
const HOLES: &str = "SELECT count(*) FROM (
    SELECT inbox FROM notification GROUP BY inbox HAVING count(*) <> max(seq))";

/// Checks that the inboxes in a file hold exactly `notifications`, each 1, 2, 3 … without holes.
pub(super) fn check_file(file: &std::path::Path, notifications: u64) -> anyhow::Result<()> {
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let number = |query: &str| -> anyhow::Result<u64> {
        Ok(u64::try_from(db.query_row(query, [], |row| row.get::<_, i64>(0))?)?)
    };
    let rows = number("SELECT count(*) FROM notification")?;
    let holes = number(HOLES)?;
    ensure!(rows == notifications, "{rows} notifications, not {notifications}");
    ensure!(holes == 0, "{holes} inboxes have holes");
    Ok(())
}
