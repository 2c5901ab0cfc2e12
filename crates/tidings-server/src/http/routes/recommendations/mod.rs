//! Whom to follow.

mod input;

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::StatusCode};
use serde::Serialize;
use tidings_core::{ids::UserId, recommendation::Recommendation};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::input::{ListParams, QueryInput, UsersInput};
use crate::{
    auth::{Caller, Scope},
    http::{
        body,
        error::Problem,
        extract::{Params, Path},
        state::App,
    },
    recommendations::Recommender,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(query))
        .routes(routes!(dismiss))
        .routes(routes!(undismiss))
        .routes(routes!(add_impressions))
        .routes(routes!(show, hide))
}

/// Whom a user may want to follow, the best first.
#[derive(Debug, Serialize, ToSchema)]
struct Recommendations {
    /// The users; fewer than asked for when no more are known.
    #[schema(value_type = Vec<RecommendationSchema>)]
    recommendations: Arc<[Recommendation]>,
}

/// A user worth following.
#[derive(ToSchema)]
#[schema(as = Recommendation)]
#[expect(dead_code, reason = "documents how `Recommendation` is written")]
struct RecommendationSchema {
    /// Whom to follow.
    #[schema(example = "u_7")]
    user: String,
    /// How good it is, from 0 to 1; comparable within one list only.
    #[schema(example = 0.81)]
    score: f32,
    /// Why, the strongest first; empty unless asked for.
    reasons: Vec<ReasonSchema>,
}

/// Why somebody is recommended, for an app to put into words. There may be further types in later versions.
#[derive(Serialize, ToSchema)]
#[schema(as = RecommendationReason)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "documents how `Reason` is written")]
enum ReasonSchema {
    /// They follow the user.
    FollowsYou,
    /// Accounts that the user follows follow them.
    FollowedBy {
        /// Some of these accounts, those whom the user followed last first.
        known: Vec<String>,
        /// How many more there are, at least.
        others: u64,
    },
    /// People who follow the same accounts as the user follow them.
    FollowedBySimilar {
        /// How many of the people most like the user do.
        people: u64,
    },
    /// Many follow them, and little is known of the user.
    Popular {
        /// How many follow them.
        followers: u64,
    },
}

fn recommender(app: &App) -> Result<&Recommender, Problem> {
    app.recommender.as_deref().ok_or_else(|| {
        let detail = "this node recommends nobody (recommendations.enabled)";
        Problem::new(
            StatusCode::NOT_FOUND,
            "recommendations-off",
            "Recommendations are off",
            detail,
        )
    })
}

/// Whom a user may want to follow, the best first.
///
/// Nobody whom the user follows, has blocked, has muted or has dismissed, nobody who has blocked or muted
/// the user, and nobody who is not to be recommended. Who was shown and not followed sinks: report what you show. A
/// user of whom little is known is recommended popular accounts.
#[utoipa::path(
    get, path = "/v1/users/{user}/recommendations", tag = "recommendations",
    params(("user" = String, Path, description = "A user id, or `me`"), ListParams),
    responses(
        (status = 200, body = Recommendations), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem, description = "Too many requests wait, or a store is not available"),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(params): Params<ListParams>,
) -> Result<Json<Recommendations>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let recommender = recommender(&app)?;
    let limit = params.limit(recommender.usual_limit())?;
    let recommendations = recommender.list(user, limit, params.explain()).await?;
    Ok(Json(Recommendations { recommendations }))
}

/// Whom a user may want to follow, with the app's own say in it.
///
/// For servers only. `among` ranks candidates of the app's own, also ids that the graph does not know; still,
/// nobody is recommended whom the user follows or has dismissed, where either has blocked or muted the
/// other, or who is not to be recommended to anyone.
#[utoipa::path(
    post, path = "/v1/users/{user}/recommendations/query", tag = "recommendations",
    params(("user" = String, Path, description = "A user id")),
    request_body = QueryInput,
    responses(
        (status = 200, body = Recommendations), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 429, body = Problem, description = "Long bodies take all of their room; send again after Retry-After"),
        (status = 503, body = Problem, description = "Too many requests wait, or a store is not available"),
    ),
)]
async fn query(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<Json<Recommendations>, Problem> {
    caller.server(Scope::GraphRead)?;
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let recommender = recommender(&app)?;
    let input: QueryInput = body::read_long_json(body, &app.limits.bodies).await?;
    let query = input.into_query(user, recommender.usual_limit())?;
    let recommendations = recommender.query(query).await?.into();
    Ok(Json(Recommendations { recommendations }))
}

/// Never recommend these to the user again.
///
/// The newest 2,000 of a user are kept.
#[utoipa::path(
    post, path = "/v1/users/{user}/recommendations/dismiss", tag = "recommendations",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body = UsersInput,
    responses(
        (status = 204, description = "They are recommended to the user no more"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem),
    ),
)]
async fn dismiss(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    let recommender = recommender(&app)?;
    let input: UsersInput = body::read_json(body, &app.limits.bodies).await?;
    recommender.dismiss(&user, input.users()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a dismissal back; fine if there is none.
#[utoipa::path(
    delete, path = "/v1/users/{user}/recommendations/dismissed/{other}", tag = "recommendations",
    params(
        ("user" = String, Path, description = "A user id, or `me`"),
        ("other" = String, Path, description = "Who was dismissed"),
    ),
    responses(
        (status = 204, description = "The other may be recommended to the user again"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem),
    ),
)]
async fn undismiss(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    let other =
        UserId::new(&other).map_err(|error| Problem::bad_input("other", error.to_string()))?;
    recommender(&app)?.undismiss(&user, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Report whom the user was shown.
///
/// Each report counts once for everyone whom it names: send it once for each time that a list comes onto a
/// screen. Who was shown and not followed sinks, and comes back within `recommendations.impressions_days`.
/// The newest 2,000 of a user are kept.
#[utoipa::path(
    post, path = "/v1/users/{user}/recommendations/impressions", tag = "recommendations",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body = UsersInput,
    responses(
        (status = 204, description = "They count as shown"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem),
    ),
)]
async fn add_impressions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    let recommender = recommender(&app)?;
    let input: UsersInput = body::read_json(body, &app.limits.bodies).await?;
    recommender.add_impressions(&user, input.users()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a user be recommended to others again; fine if it was so.
///
/// For servers only.
#[utoipa::path(
    put, path = "/v1/users/{user}/recommendable", tag = "recommendations",
    params(("user" = String, Path, description = "A user id")),
    responses(
        (status = 204, description = "The user may be recommended, on other nodes within seconds"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem),
    ),
)]
async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.server(Scope::GraphWrite)?;
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    recommender(&app)?.show(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Recommend a user to nobody, who has left or does not want to be found; fine if it was so.
///
/// For servers only. The user keeps their follows and may still be recommended others.
#[utoipa::path(
    delete, path = "/v1/users/{user}/recommendable", tag = "recommendations",
    params(("user" = String, Path, description = "A user id")),
    responses(
        (status = 204, description = "The user is recommended to nobody, on other nodes within seconds"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem, description = "`recommendations.enabled` is false"),
        (status = 503, body = Problem),
    ),
)]
async fn hide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.server(Scope::GraphWrite)?;
    let user = caller.for_user(Scope::GraphWrite, &user)?;
    recommender(&app)?.hide(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}
