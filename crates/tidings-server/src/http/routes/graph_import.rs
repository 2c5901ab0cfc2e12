//! Many edges at once.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
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
    edge_lines::{EdgeLine, EdgeLines, LineFormat, MAX_LINE_BYTES},
    http::{
        body::{self, Pieces},
        error::Problem,
        state::App,
        unpack::Unpack,
    },
};

/// Edges that are made durable together.
const CHUNK_EDGES: usize = 10_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(import)).routes(routes!(check))
}

/// A follow, block or mute, as a line of an import or export. `at` is when it was made: now, unless
/// told.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = GraphEdge)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents what `edge_lines` reads and writes")]
pub(super) enum EdgeSchema {
    Follow {
        /// Who follows.
        #[schema(value_type = String)]
        follower: UserId,
        /// Who is followed.
        #[schema(value_type = String)]
        followee: UserId,
        #[schema(value_type = Option<String>, format = "date-time")]
        at: Option<Timestamp>,
    },
    Block {
        /// Who blocks.
        #[schema(value_type = String)]
        blocker: UserId,
        /// Who is blocked.
        #[schema(value_type = String)]
        blocked: UserId,
        #[schema(value_type = Option<String>, format = "date-time")]
        at: Option<Timestamp>,
    },
    Mute {
        /// Who mutes.
        #[schema(value_type = String)]
        muter: UserId,
        /// Who is muted.
        #[schema(value_type = String)]
        muted: UserId,
        #[schema(value_type = Option<String>, format = "date-time")]
        at: Option<Timestamp>,
    },
}

/// What an import did.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Imported {
    /// Lines with an edge.
    lines: u64,
    /// Edges that are new.
    added: u64,
}

/// Import follows, blocks and mutes as NDJSON, or follows as CSV.
///
/// One edge per line, stored as they arrive; importing again is harmless. CSV begins with a line that
/// names its columns: `follower`, `followee`, and `at` if it has times. The first line that is not an
/// edge ends the import: the problem names it, and everything before it is stored. Edges from a user to
/// themself, and follows that a block refuses, are left out. Nobody is notified.
#[utoipa::path(
    post, path = "/v1/graph/import", tag = "graph",
    params(("Content-Encoding" = Option<String>, Header, description = "`gzip` or `zstd`")),
    request_body(content((EdgeSchema = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, body = Imported), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem, description = "Too many bytes, packed or unpacked"),
        (status = 415, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn import(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    caller.server(Scope::GraphWrite)?;
    let mut unpack = Unpack::new(&headers, app.limits.bodies.one_bytes)?;
    let mut import = Import {
        app: &app,
        reader: EdgeLines::new(format(&headers)?),
        waiting: Vec::new(),
        done: Imported::default(),
    };
    let mut pieces = Pieces::new(body, app.limits.bodies.one_bytes);
    let mut splitter = LineSplitter::new(MAX_LINE_BYTES);
    let mut lines = Vec::new();
    loop {
        let piece = match pieces.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(problem) => return Err(import.end_with(problem).await),
        };
        let mut taken = 0;
        // Part by part: a small piece may hold millions of lines.
        loop {
            match unpack.next_part(&piece, &mut taken) {
                Ok(Some(part)) => splitter.push(&part, &mut lines),
                Ok(None) => break,
                Err(problem) => return Err(import.end_with(problem).await),
            }
            import.add_all(&mut lines).await?;
        }
    }
    let unpacked = unpack.finish(|part| splitter.push(part, &mut lines));
    splitter.finish(&mut lines);
    if let Err(problem) = unpacked {
        // A line that was cut is not the one to name.
        return Err(import.end_with(problem).await);
    }
    import.add_all(&mut lines).await?;
    import.flush().await?;
    Ok(Json(import.done))
}

/// How the lines are written. What is called nothing special is NDJSON, as it always was.
fn format(headers: &HeaderMap) -> Result<LineFormat, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(LineFormat::Json) };
    let value = value.to_str().unwrap_or_default();
    let mime = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match mime.as_str() {
        "text/csv" => Ok(LineFormat::Csv),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/json"
        | "application/octet-stream"
        | "application/x-www-form-urlencoded"
        | "text/plain"
        | "" => Ok(LineFormat::Json),
        _ => {
            let detail = format!("{mime} is neither application/x-ndjson nor text/csv");
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Problem::new(status, "unknown-format", "Unknown format", detail))
        }
    }
}

struct Import<'a> {
    app: &'a App,
    reader: EdgeLines,
    waiting: Vec<Edge>,
    done: Imported,
}

impl Import<'_> {
    /// Takes lines up to the first that is not an edge.
    async fn add_all(&mut self, lines: &mut Vec<Line>) -> Result<(), Problem> {
        for line in lines.drain(..) {
            if let Err(problem) = self.add(line).await {
                return Err(self.end_with(problem).await);
            }
        }
        Ok(())
    }

    async fn add(&mut self, line: Line) -> Result<(), Problem> {
        let field = format!("line {}", line.number);
        let bytes = line
            .bytes
            .map_err(|limit| Problem::bad_input(&field, format!("has more than {limit} bytes")))?;
        let read = self.reader.read(&bytes);
        let read = read.map_err(|error| Problem::bad_input(&field, error.to_string()))?;
        let Some(EdgeLine { kind, source, target, at }) = read else { return Ok(()) };
        let at = at.unwrap_or_else(|| self.app.clock.now());
        self.waiting.push(Edge { kind, source, target, at });
        if self.waiting.len() >= CHUNK_EDGES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let edges = std::mem::take(&mut self.waiting);
        let lines = u64::try_from(edges.len()).unwrap_or(u64::MAX);
        let mut changing: Vec<_> = edges.iter().map(|edge| edge.source.clone()).collect();
        // Neither is recommended to the other.
        let blocks = edges.iter().filter(|edge| edge.kind == EdgeKind::Block);
        changing.extend(blocks.map(|edge| edge.target.clone()));
        let _lists = self.app.changing(&changing);
        self.done.added += self.app.graph.import_edges(edges).await?;
        self.done.lines += lines;
        Ok(())
    }

    /// Stores what came before the fault, and says so.
    async fn end_with(&mut self, problem: Problem) -> Problem {
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
    let question: Check = body::read_json(body, &app.limits.bodies).await?;
    if question.followees.len() > 1000 {
        return Err(Problem::bad_input("followees", "names more than 1000 users"));
    }
    let following = app.graph.are_following(&question.follower, &question.followees).await?;
    Ok(Json(Checked { following }))
}
