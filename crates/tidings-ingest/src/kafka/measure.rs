//! The names of what is measured. Nothing is labelled by user.

use tidings_core::dead_letter::Stage;

use super::partition::Partition;

pub(super) const LAG: &str = "tidings_kafka_lag_records";
pub(super) const PAUSED: &str = "tidings_kafka_paused_partitions";
pub(super) const STOPPED: &str = "tidings_kafka_stopped_partitions";
pub(super) const HELD: &str = "tidings_kafka_held_bytes";
pub(super) const RECORDS: &str = "tidings_kafka_records_total";
pub(super) const RECORD_BYTES: &str = "tidings_kafka_record_bytes_total";
pub(super) const REBALANCES: &str = "tidings_kafka_rebalances_total";
pub(super) const PAUSES: &str = "tidings_kafka_pauses_total";
pub(super) const STOPS: &str = "tidings_kafka_stops_total";
pub(super) const RETRIES: &str = "tidings_kafka_retries_total";
pub(super) const FENCED: &str = "tidings_kafka_fenced_total";
pub(super) const ERRORS: &str = "tidings_kafka_errors_total";
pub(super) const NOT_PRODUCED: &str = "tidings_kafka_dead_letters_not_produced_total";

/// Says what each of them means.
pub(super) fn describe() {
    for (name, meaning) in [
        (LAG, "Records of a partition that are still to be stored"),
        (PAUSED, "Partitions that are not fetched because enough of them is in memory"),
        (STOPPED, "Partitions that are read no further until a person has looked"),
    ] {
        metrics::describe_gauge!(name, meaning);
    }
    metrics::describe_gauge!(
        HELD,
        metrics::Unit::Bytes,
        "Records in memory, and the rows that they have become"
    );
    metrics::describe_counter!(RECORD_BYTES, metrics::Unit::Bytes, "Values of records taken");
    for (name, meaning) in [
        (RECORDS, "Records taken, events or not"),
        (REBALANCES, "Changes of what is assigned to this node"),
        (PAUSES, "Times a partition was paused"),
        (STOPS, "Times a partition was stopped"),
        (RETRIES, "Waits for a store or a graph that is out of reach"),
        (FENCED, "Batches that were refused because the partition was taken over"),
        (ERRORS, "Errors that the client reported in the place of records, by code"),
        (NOT_PRODUCED, "Dead letters that are kept in the store only"),
    ] {
        metrics::describe_counter!(name, meaning);
    }
}

/// The lag of a partition.
pub(super) fn lag(partition: &Partition) -> metrics::Gauge {
    metrics::gauge!(
        LAG,
        "topic" => partition.id.topic.to_string(),
        "partition" => partition.id.partition.to_string(),
    )
}

/// Counts a dead letter that is stored.
pub(super) fn count_dead(stage: Stage) {
    metrics::counter!("tidings_dead_letters_total", "origin" => "kafka", "stage" => stage.as_str())
        .increment(1);
}
