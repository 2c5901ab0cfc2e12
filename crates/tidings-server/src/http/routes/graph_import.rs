//! Many follows at once.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use serde::{Deserialize, Serialize};
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ids::UserId,
};
use tidings_ingest::lines::{Line, LineSplitter};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        body::{self, Pieces},
        error::Problem,
        state::App,
    },
};

/// The longest line: two ids of 128 bytes, each byte escaped, a time, and names.
const MAX_LINE_BYTES: usize = 2048;
/// Edges that are made durable together.
const CHUNK_EDGES: usize = 10_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(import)).routes(routes!(check))
}

/// A follow, as a line of an import.
#[derive(Debug, Deserialize, ToSchema)]
struct FollowLine {
    /// Who follows.
    #[schema(value_type = String)]
    follower: UserId,
    /// Who is followed.
    #[schema(value_type = String)]
    followee: UserId,
    /// When the follow was made; now unless told.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "date-time")]
    at: Option<Timestamp>,
}

/// What an import did.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Imported {
    /// Lines with a follow.
    lines: u64,
    /// Follows that are new.
    added: u64,
}

/// Import follows as NDJSON, one per line.
///
/// Stored as they arrive; importing again is harmless. The first line that is not a follow ends the
/// import: the problem names it, and everything before it is stored.
#[utoipa::path(
    post, path = "/v1/graph/import", tag = "graph",
    request_body(content = FollowLine, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = Imported), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn import(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    caller.server(Scope::GraphWrite)?;
    let mut pieces = Pieces::new(body, app.body_limit_bytes);
    let mut splitter = LineSplitter::new(MAX_LINE_BYTES);
    let mut import = Import { app: &app, waiting: Vec::new(), done: Imported::default() };
    let mut lines = Vec::new();
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => splitter.push(&piece, &mut lines),
            Ok(None) => break,
            Err(problem) => return Err(import.end_with(problem).await),
        }
        for line in lines.drain(..) {
            if let Err(problem) = import.add(line).await {
                return Err(import.end_with(problem).await);
            }
        }
    }
    splitter.finish(&mut lines);
    for line in lines {
        if let Err(problem) = import.add(line).await {
            return Err(import.end_with(problem).await);
        }
    }
    import.flush().await?;
    Ok(Json(import.done))
}

struct Import<'a> {
    app: &'a App,
    waiting: Vec<Edge>,
    done: Imported,
}

impl Import<'_> {
    async fn add(&mut self, line: Line) -> Result<(), Problem> {
        let field = format!("line {}", line.number);
        let json = line
            .bytes
            .map_err(|limit| Problem::bad_input(&field, format!("has more than {limit} bytes")))?;
        let follow: FollowLine = serde_json::from_slice(&json)
            .map_err(|error| Problem::bad_input(&field, error.to_string()))?;
        let at = follow.at.unwrap_or_else(|| self.app.clock.now());
        let FollowLine { follower: source, followee: target, .. } = follow;
        self.waiting.push(Edge { kind: EdgeKind::Follow, source, target, at });
        if self.waiting.len() >= CHUNK_EDGES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let edges = std::mem::take(&mut self.waiting);
        let lines = u64::try_from(edges.len()).unwrap_or(u64::MAX);
        self.done.added += self.app.graph.import_edges(edges).await?;
        self.done.lines += lines;
        Ok(())
    }

    /// Stores what came before the fault, and says so.
    async fn end_with(mut self, problem: Problem) -> Problem {
        match self.flush().await {
            Ok(()) => {
                problem.with("lines", self.done.lines.into()).with("added", self.done.added.into())
            }
            Err(worse) => worse,
        }
    }
}

/// Follows to look up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Check {
    /// Who follows.
    #[schema(value_type = String)]
    follower: UserId,
    /// Who may be followed, at most 1000.
    #[schema(value_type = Vec<String>)]
    followees: Vec<UserId>,
}

/// Which of the followees are followed, in the order of the question.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    /// One answer per followee.
    following: Vec<bool>,
}

/// Look up whether someone follows others.
#[utoipa::path(
    post, path = "/v1/graph/check", tag = "graph",
    request_body = Check,
    responses(
        (status = 200, body = Checked), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn check(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body,
) -> Result<Json<Checked>, Problem> {
    caller.server(Scope::GraphRead)?;
    let question: Check = body::read_json(body, app.body_limit_bytes).await?;
    if question.followees.len() > 1000 {
        return Err(Problem::bad_input("followees", "names more than 1000 users"));
    }
    let following = app.graph.are_following(&question.follower, &question.followees).await?;
    Ok(Json(Checked { following }))
}
