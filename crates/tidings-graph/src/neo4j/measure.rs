//! Metrics.

use std::time::Duration;

pub(super) fn query(op: &'static str, took: Duration, is_ok: bool) {
    let answer = if is_ok { "ok" } else { "failed" };
    metrics::histogram!("tidings_graph_neo4j_query_duration_seconds", "op" => op, "answer" => answer)
        .record(took);
}

pub(super) fn retry() {
    metrics::counter!("tidings_graph_neo4j_retries_total").increment(1);
}

/// One more, or one less, of the connections is at work.
pub(super) fn busy(change: f64) {
    metrics::gauge!("tidings_graph_neo4j_connections_busy").increment(change);
}

pub(super) fn waiting(commands: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^53")]
    metrics::gauge!("tidings_graph_writer_queue_commands").set(commands as f64);
}

pub(super) fn commit(took: Duration, edges: usize) {
    metrics::histogram!("tidings_graph_commit_duration_seconds").record(took);
    #[expect(clippy::cast_precision_loss, reason = "a group is far smaller than 2^53")]
    metrics::histogram!("tidings_graph_commit_edges").record(edges as f64);
}

pub(super) fn failed_commit() {
    metrics::counter!("tidings_graph_commit_failures_total").increment(1);
}

pub(super) fn describe() {
    use metrics::Unit;
    metrics::describe_histogram!(
        "tidings_graph_neo4j_query_duration_seconds",
        Unit::Seconds,
        "Time that a query to Neo4j took, further attempts included, by operation"
    );
    metrics::describe_counter!(
        "tidings_graph_neo4j_retries_total",
        "Further attempts at queries and transactions that Neo4j failed for a passing reason"
    );
    metrics::describe_gauge!(
        "tidings_graph_neo4j_connections_busy",
        "Connections to Neo4j that wait for an answer"
    );
    metrics::describe_gauge!(
        "tidings_graph_writer_queue_commands",
        "Commands that wait for the next commit"
    );
    metrics::describe_histogram!(
        "tidings_graph_commit_duration_seconds",
        Unit::Seconds,
        "Time until a group of changes to the follow graph was durable"
    );
    metrics::describe_histogram!("tidings_graph_commit_edges", "Edges changed by one commit");
    metrics::describe_counter!("tidings_graph_commit_failures_total", "Commits that failed");
}
