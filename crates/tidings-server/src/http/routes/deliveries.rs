//! What came of each attempt.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, Seq, UserId},
    ports::{DeliveryFilter, DeliveryNumber, DeliveryPlace, LoggedDelivery},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        error::Problem,
        extract::{PageParams, Params, Path},
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_user))
        .routes(routes!(read_all))
}

/// One attempt to get a notification to one device or session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliverySchema {
    /// The notification's id.
    notification: String,
    /// Whose it is.
    user: String,
    /// `websocket`, `apns`, `fcm` or `webpush`.
    channel: String,
    /// The device or session; empty if the attempt had none.
    target: String,
    /// Number of the attempt for this target, from 1.
    attempt: u32,
    /// When it ended.
    at: String,
    /// How long it took.
    latency_ms: u64,
    /// `delivered`, `retrying`, `failed` or `skipped`.
    outcome: String,
    /// Why; beside `delivered`, what had to be cut to fit: `truncated_data`, `truncated_body`,
    /// `truncated_title` or `truncated_object`.
    reason: Option<String>,
    /// The identity under which the push service knows it.
    provider_id: Option<String>,
}

/// An attempt with its number in the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoggedDelivery)]
struct LoggedDeliverySchema {
    /// Its number. Numbers grow in the order of writing; some are never used, none is used twice.
    number: u64,
    #[serde(flatten)]
    delivery: DeliverySchema,
}

/// A part of the delivery log of a user or of a notification.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryPage {
    /// The attempts.
    #[schema(value_type = Vec<DeliverySchema>)]
    items: Vec<Delivery>,
    /// Where to go on; absent at the end. A page may be empty and not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl DeliveryPage {
    fn new(rows: Vec<LoggedDelivery>, next: Option<String>) -> Self {
        Self { items: rows.into_iter().map(|row| row.delivery).collect(), next }
    }
}

/// A part of the whole delivery log, in the order in which it was written.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryLogPage {
    /// The attempts.
    #[schema(value_type = Vec<LoggedDeliverySchema>)]
    items: Vec<LoggedDelivery>,
    /// Where to go on; absent if that is all for now. A page may be empty and not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Everything up to this number has been given: as `cursor` it leads, at any later time, to what was
    /// written since.
    #[schema(value_type = u64)]
    upto: DeliveryNumber,
}

/// Which part of the log.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// Only this channel: `websocket`, `apns`, `fcm` or `webpush`.
    channel: Option<String>,
    /// Only this outcome: `delivered`, `retrying`, `failed` or `skipped`.
    outcome: Option<String>,
    /// Only attempts that ended at this time (RFC 3339) or later.
    since: Option<String>,
    /// Only attempts that ended before this time (RFC 3339).
    until: Option<String>,
    /// How many items, 1 to 1000; 50 unless told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
}

/// Which part of the whole log.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WholeLogParams {
    /// Only this user's. The whole log is looked through all the same: `/v1/users/{user}/deliveries` is
    /// quicker.
    user: Option<String>,
    /// Only this channel: `websocket`, `apns`, `fcm` or `webpush`.
    channel: Option<String>,
    /// Only this outcome: `delivered`, `retrying`, `failed` or `skipped`.
    outcome: Option<String>,
    /// Only attempts that ended at this time (RFC 3339) or later; without `cursor` the log is read from
    /// about there.
    since: Option<String>,
    /// Only attempts that ended before this time (RFC 3339).
    until: Option<String>,
    /// How many items, 1 to 1000; 50 unless told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The number after which to go on: `next` or `upto` of a page before, or an item's `number`.
    cursor: Option<String>,
}

impl WholeLogParams {
    fn split(self) -> (Option<String>, LogParams) {
        let Self { user, channel, outcome, since, until, limit, cursor } = self;
        (user, LogParams { channel, outcome, since, until, limit, cursor })
    }
}

impl LogParams {
    fn filter(&self) -> Result<DeliveryFilter, Problem> {
        let time = |field, text: &Option<String>| -> Result<Option<Timestamp>, Problem> {
            let parse = |text: &String| text.parse();
            let bad = |_| Problem::bad_input(field, "is not a time with its offset (RFC 3339)");
            text.as_ref().map(parse).transpose().map_err(bad)
        };
        let channel = |name: &String| {
            let unknown = || one_of("channel", Channel::ALL.map(Channel::as_str));
            Channel::from_name(name).ok_or_else(unknown)
        };
        let outcome = |name: &String| {
            let unknown = || one_of("outcome", Outcome::ALL.map(Outcome::as_str));
            Outcome::from_name(name).ok_or_else(unknown)
        };
        Ok(DeliveryFilter {
            channel: self.channel.as_ref().map(channel).transpose()?,
            outcome: self.outcome.as_ref().map(outcome).transpose()?,
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
        })
    }

    fn page(&self) -> PageParams {
        PageParams::new(self.limit, self.cursor.clone())
    }
}

fn one_of(field: &str, known: [&str; 4]) -> Problem {
    Problem::bad_input(field, format!("is none of {}", known.join(", ")))
}

/// `seq.number`: a cursor of a user's log.
fn place(cursor: &str) -> Result<DeliveryPlace, Problem> {
    let bad = || Problem::bad_input("cursor", "is not one that this list gave");
    let (seq, number) = cursor.split_once('.').ok_or_else(bad)?;
    let number_of = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(bad)
    };
    Ok(DeliveryPlace { seq: Seq(number_of(seq)?), number: DeliveryNumber(number_of(number)?) })
}

/// The delivery log of a notification, oldest first.
///
/// A page looks at 5000 attempts at most, so with a filter it may be empty and not the last.
#[utoipa::path(
    get, path = "/v1/notifications/{id}/deliveries", tag = "deliveries",
    params(("id" = String, Path, description = "A notification's id"), LogParams),
    responses(
        (status = 200, body = DeliveryPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<LogParams>,
) -> Result<Json<DeliveryPage>, Problem> {
    caller.server(Scope::DeliveriesRead)?;
    let id: NotificationId =
        id.parse().map_err(|_| Problem::bad_input("id", "is not the id of a notification"))?;
    let (filter, page) = (params.filter()?, params.page());
    let (limit, after) = (page.limit()?, page.number()?.map(DeliveryNumber));
    if app.notifications.find(id).await?.is_none() {
        return Err(Problem::not_found("notification"));
    }
    let page = app.deliveries.list_deliveries(id, filter, after, limit).await?;
    let next = page.next.map(|number| number.0.to_string());
    Ok(Json(DeliveryPage::new(page.rows, next)))
}

/// A user's delivery log, newest notification first, and of one notification the last attempt first.
///
/// A page looks at 5000 attempts at most, so with a filter it may be empty and not the last.
#[utoipa::path(
    get, path = "/v1/users/{user}/deliveries", tag = "deliveries",
    params(("user" = String, Path, description = "A user id, or `me`"), LogParams),
    responses(
        (status = 200, body = DeliveryPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn list_of_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(params): Params<LogParams>,
) -> Result<Json<DeliveryPage>, Problem> {
    let user = caller.for_user(Scope::DeliveriesRead, &user)?;
    let (filter, limit) = (params.filter()?, params.page().limit()?);
    let before = params.cursor.as_deref().map(place).transpose()?;
    let page = app.deliveries.list_user_deliveries(&user, filter, before, limit).await?;
    let next = page.next.map(|place| format!("{}.{}", place.seq, place.number.0));
    Ok(Json(DeliveryPage::new(page.rows, next)))
}

/// The whole delivery log, in the order in which it was written: about that of time.
///
/// Whoever goes on after `upto` misses nothing, whatever is written meanwhile.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries",
    params(WholeLogParams),
    responses(
        (status = 200, body = DeliveryLogPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn read_all(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(params): Params<WholeLogParams>,
) -> Result<Json<DeliveryLogPage>, Problem> {
    caller.server(Scope::DeliveriesRead)?;
    let (user, params) = params.split();
    let user = user.as_deref().map(UserId::new).transpose();
    let user = user.map_err(|error| Problem::bad_input("user", error.to_string()))?;
    let (filter, page) = (params.filter()?, params.page());
    let (limit, after) = (page.limit()?, page.number()?.map(DeliveryNumber));
    let page = app.deliveries.read_log(user.as_ref(), filter, after, limit).await?;
    let next = Some(page.upto.0.to_string()).filter(|_| !page.complete);
    Ok(Json(DeliveryLogPage { items: page.rows, next, upto: page.upto }))
}
