//! How far Kafka was read.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tidings_core::checkpoint::{Checkpoint, PartitionId};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{body, error::Problem, extract::Path, state::App},
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put))
}

/// How far a partition was stored.
#[derive(Debug, Serialize, ToSchema)]
struct OffsetAnswer {
    /// The topic.
    topic: String,
    /// The partition's number.
    partition: i32,
    /// How often it was taken over.
    epoch: u64,
    /// The first record that is not stored; absent before the first was.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<i64>,
}

impl OffsetAnswer {
    fn new(partition: &PartitionId, checkpoint: Checkpoint) -> Self {
        Self {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            epoch: checkpoint.epoch.0,
            next_offset: checkpoint.next_offset,
        }
    }
}

/// Where to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOffset {
    /// The first record to be read; null: where a new partition starts (`kafka.start`). Has to be
    /// there: what is left out by mistake must not move anything.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(minimum = 0, required = true)]
    next_offset: Option<i64>,
}

/// How far each partition was stored, in the configured consumer group.
#[utoipa::path(
    get, path = "/v1/offsets", tag = "kafka",
    responses(
        (status = 200, body = Vec<OffsetAnswer>),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<OffsetAnswer>>, Problem> {
    caller.server(Scope::OffsetsRead)?;
    let listed = app.checkpoints.list_checkpoints(&app.kafka_group).await?;
    let answers = listed.iter().map(|(partition, it)| OffsetAnswer::new(partition, *it));
    Ok(Json(answers.collect()))
}

/// Move a partition to another record.
///
/// Whoever reads the partition now is stopped by it and goes on from there, on whatever node. Records
/// that are read again tell nobody twice.
#[utoipa::path(
    put, path = "/v1/offsets/{topic}/{partition}", tag = "kafka",
    params(
        ("topic" = String, Path, description = "The topic"),
        ("partition" = i32, Path, description = "The partition's number"),
    ),
    request_body = NewOffset,
    responses(
        (status = 200, description = "Moved", body = OffsetAnswer), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, description = "The topic is not in kafka.topics", body = Problem),
    ),
)]
async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((topic, partition)): Path<(String, String)>,
    body: Body,
) -> Result<Json<OffsetAnswer>, Problem> {
    caller.server(Scope::OffsetsWrite)?;
    if !app.kafka_topics.contains(&topic) {
        return Err(unknown_topic(&topic));
    }
    let number = partition.parse().ok().filter(|number| *number >= 0);
    let partition = number
        .ok_or_else(|| Problem::bad_input("partition", "is not the number of a partition"))?;
    let NewOffset { next_offset } = body::read_json(body, &app.limits.bodies).await?;
    if next_offset.is_some_and(|offset| offset < 0) {
        return Err(Problem::bad_input("next_offset", "is less than 0"));
    }
    let group = Arc::clone(&app.kafka_group);
    let partition = PartitionId { group, topic: topic.into(), partition };
    let checkpoint = app.checkpoints.set_checkpoint(&partition, next_offset).await?;
    tracing::warn!(partition = %partition, next_offset, "the position was moved by hand");
    Ok(Json(OffsetAnswer::new(&partition, checkpoint)))
}

/// Nobody reads it, so its position would wait for somebody who once does.
fn unknown_topic(topic: &str) -> Problem {
    let detail = format!("{topic:?} is not in kafka.topics of this node");
    Problem::new(StatusCode::NOT_FOUND, "unknown-topic", "Topic not configured", detail).at("topic")
}
