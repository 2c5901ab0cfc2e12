//! What the graph tells of itself.

use std::sync::RwLock;

use metrics::Unit;

use super::index::Index;

#[expect(clippy::cast_precision_loss, reason = "a gauge is exact up to 2^53")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Shows how much there is.
pub(super) fn show_size(index: &RwLock<Index>) {
    let Ok(index) = index.read() else { return };
    let (stats, changes) = (index.stats(), index.unsaved());
    drop(index);
    metrics::gauge!("tidings_graph_users").set(as_f64(stats.users));
    metrics::gauge!("tidings_graph_follows").set(as_f64(stats.follows));
    metrics::gauge!("tidings_graph_blocks").set(as_f64(stats.blocks));
    metrics::gauge!("tidings_graph_mutes").set(as_f64(stats.mutes));
    metrics::gauge!("tidings_graph_changes").set(as_f64(changes as u64));
}

/// Shows what it takes in memory. That is counted, which takes a while: not after each commit.
pub(super) fn show_memory(index: &RwLock<Index>) {
    let Ok(index) = index.read() else { return };
    let memory = index.memory();
    drop(index);
    let parts = [
        ("lists", memory.lists_bytes),
        ("changes", memory.changes_bytes),
        ("ids", memory.ids_bytes),
        ("aversions", memory.aversions_bytes),
    ];
    for (part, bytes) in parts {
        metrics::gauge!("tidings_graph_memory_bytes", "part" => part).set(as_f64(bytes as u64));
    }
}

pub(super) fn describe_metrics() {
    metrics::describe_histogram!(
        "tidings_graph_commit_duration_seconds",
        Unit::Seconds,
        "Time until a group of changes to the follow graph was durable"
    );
    metrics::describe_histogram!("tidings_graph_commit_edges", "Edges changed by one commit");
    metrics::describe_counter!("tidings_graph_commit_failures_total", "Commits that failed");
    metrics::describe_gauge!("tidings_graph_users", "Users that the follow graph knows");
    metrics::describe_gauge!("tidings_graph_follows", "Follows in the graph");
    metrics::describe_gauge!("tidings_graph_blocks", "Blocks in the graph");
    metrics::describe_gauge!("tidings_graph_mutes", "Mutes in the graph");
    metrics::describe_gauge!("tidings_graph_changes", "Changes since the last snapshot was begun");
    metrics::describe_gauge!(
        "tidings_graph_memory_bytes",
        Unit::Bytes,
        "What the parts of the graph took in memory after the last snapshot"
    );
    metrics::describe_gauge!(
        "tidings_graph_snapshot_bytes",
        Unit::Bytes,
        "Length of the last snapshot"
    );
    metrics::describe_histogram!(
        "tidings_graph_checkpoint_duration_seconds",
        Unit::Seconds,
        "Time until the lists had taken the changes in and a snapshot was written"
    );
    metrics::describe_counter!(
        "tidings_graph_checkpoint_failures_total",
        "Snapshots that were not written"
    );
    metrics::describe_counter!(
        "tidings_graph_damaged_snapshots_total",
        "Snapshots that were damaged and made up for at a start"
    );
    metrics::describe_gauge!(
        "tidings_graph_writer_queue_commands",
        "Commands that wait for the next commit"
    );
}
