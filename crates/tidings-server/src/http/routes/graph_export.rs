//! The whole graph: its size, its edges, and one user's taken out of it.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidings_core::{
    error_chain::ErrorChain,
    follow::{Edge, GraphStats},
    ports::{Cursor, GraphError, Page},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{graph::cursor, graph_import::EdgeSchema};
use crate::{
    auth::{Caller, Scope},
    edge_lines,
    http::{
        error::Problem,
        extract::{PageParams, Params, Path},
        state::App,
    },
};

/// Edges that are read, and held, at a time.
const PAGE: usize = 1_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(stats)).routes(routes!(erase))
}

/// Which part of the graph.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    /// How many edges, 1 or more; all unless told.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// Where to go on: a `next` of an export before.
    cursor: Option<String>,
}

/// Export every follow, block and mute as NDJSON.
///
/// The edges of one kind and source come together, the oldest first. After every thousand edges or so
/// comes a line `{"next": "…"}`: an export that was cut off, or ended by `limit`, goes on from there. An
/// export that ends without such a line is complete. An edge that is there from the beginning to the end
/// is exported once. An import takes all lines as they are.
#[utoipa::path(
    get, path = "/v1/graph/export", tag = "graph",
    params(ExportParams),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = EdgeSchema),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    caller.server(Scope::GraphRead)?;
    let ExportParams { limit, cursor: from } = params;
    if limit == Some(0) {
        return Err(Problem::bad_input("limit", "is 0, 1 or more is allowed"));
    }
    let from = cursor(&PageParams::new(None, from))?;
    let mut export = Export { app, from, left: limit, is_done: false };
    // The first page is read before the answer begins: what is wrong with the request is a problem.
    let first = export.read().await?;
    let rest = stream::try_unfold(export, async |mut export| {
        if export.is_done {
            return Ok(None);
        }
        match export.read().await {
            Ok(lines) => Ok(Some((lines, export))),
            Err(error) => {
                // The answer breaks off, and the client goes on from the last place that it knows.
                tracing::error!(error = %ErrorChain(&error), "an export broke off");
                Err(std::io::Error::other(error))
            }
        }
    });
    let first = stream::iter([Ok(first)]);
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    let mut response = body.into_response();
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    Ok(response)
}

struct Export {
    app: Arc<App>,
    from: Option<Cursor>,
    left: Option<u64>,
    is_done: bool,
}

impl Export {
    /// The next page as lines, with its end.
    async fn read(&mut self) -> Result<Bytes, GraphError> {
        let left = self.left.map_or(PAGE, |left| usize::try_from(left).unwrap_or(PAGE));
        let page = self.app.graph.export_edges(self.from.as_ref(), left.min(PAGE)).await?;
        let Page { items, next } = page;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(items.len() as u64);
        }
        let lines = lines(&items, next.as_ref());
        self.is_done = next.is_none() || self.left == Some(0);
        self.from = next;
        Ok(lines.into())
    }
}

fn lines(edges: &[Edge], next: Option<&Cursor>) -> Vec<u8> {
    let mut lines = Vec::with_capacity(edges.len() * 96);
    for edge in edges {
        edge_lines::write_json(edge, &mut lines);
    }
    if let Some(next) = next {
        // A cursor has no character that JSON would escape.
        lines.extend_from_slice(format!("{{\"next\":\"{next}\"}}\n").as_bytes());
    }
    lines
}

/// How large the graph is.
#[derive(Debug, Serialize, ToSchema)]
struct GraphSize {
    /// Users that it knows: who have, or have had, an edge.
    users: u64,
    /// Follows.
    follows: u64,
    /// Blocks.
    blocks: u64,
    /// Mutes.
    mutes: u64,
}

/// How large the graph is.
#[utoipa::path(
    get, path = "/v1/graph/stats", tag = "graph",
    responses(
        (status = 200, body = GraphSize),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn stats(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<GraphSize>, Problem> {
    caller.server(Scope::GraphRead)?;
    let GraphStats { users, follows, blocks, mutes } = app.graph.stats().await?;
    Ok(Json(GraphSize { users, follows, blocks, mutes }))
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
struct Erased {
    /// Follows, blocks and mutes that are gone.
    removed: u64,
}

/// Erase a user from the graph: every follow, block and mute, in both directions, and the id.
///
/// What the user made of recommendations goes, too, and where others dismissed or were shown them.
///
/// For servers only. May be repeated; what is added meanwhile may stay. Notifications and devices are not
/// touched. A user who comes back later starts anew: blocks are gone, too.
#[utoipa::path(
    delete, path = "/v1/users/{user}/graph", tag = "graph",
    params(("user" = String, Path, description = "A user id")),
    responses(
        (status = 200, body = Erased), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn erase(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Erased>, Problem> {
    // Not for users: whoever could erase themself could shake off a block.
    caller.server(Scope::GraphWrite)?;
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    let _lists = app.changing_all();
    let removed = app.graph.erase_user(&user).await?;
    // In this order: the other way round somebody who is not to be recommended would be in between. Also
    // on a node that recommends nobody: another may have.
    app.feedback.erase_feedback(&user).await?;
    if let Some(recommender) = &app.recommender {
        recommender.forget_user(&user);
    }
    Ok(Json(Erased { removed }))
}
