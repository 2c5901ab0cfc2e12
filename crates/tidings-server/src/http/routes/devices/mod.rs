//! Where a user can be pushed to.

mod input;

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::StatusCode};
use serde::Serialize;
use tidings_core::{clock::Timestamp, device::Device, ids::DeviceId};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::input::{EnvironmentName, NewDevice, PlatformName};
use crate::{
    auth::{Caller, Scope},
    http::{body, error::Problem, extract::Path, state::App},
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(put, remove)).routes(routes!(list))
}

/// A registered device. What it is reached with is not shown.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceAnswer {
    /// The app's id for the installation.
    id: String,
    /// Which push service reaches it.
    platform: PlatformName,
    /// The app.
    app: String,
    /// Which of APNs' services knows it; `production` for everything else.
    environment: EnvironmentName,
    /// The language of its user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    /// Its time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// The app's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    /// When it was last registered.
    #[schema(value_type = String, format = "date-time")]
    registered_at: Timestamp,
}

impl From<Device> for DeviceAnswer {
    fn from(device: Device) -> Self {
        Self {
            id: device.id.as_str().to_owned(),
            platform: device.platform.into(),
            app: device.app,
            environment: device.environment.into(),
            locale: device.details.locale,
            time_zone: device.details.time_zone,
            app_version: device.details.app_version,
            registered_at: device.registered_at,
        }
    }
}

/// Register a device, or refresh its registration.
///
/// Everything but its id is replaced. A token that another device has moves to this one: whoever signed
/// in last is pushed to. One that is not registered for `retention.devices_days` is forgotten, so register
/// at every start of the app.
#[utoipa::path(
    put, path = "/v1/users/{user}/devices/{device}", tag = "devices",
    params(
        ("user" = String, Path, description = "A user id, or `me`"),
        ("device" = String, Path, description = "The app's id for the installation"),
    ),
    request_body = NewDevice,
    responses(
        (status = 200, description = "Registered", body = DeviceAnswer),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, description = "The user has `push.devices_per_user_max` others", body = Problem),
    ),
)]
async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, device)): Path<(String, String)>,
    body: Body,
) -> Result<Json<DeviceAnswer>, Problem> {
    let user = caller.for_user(Scope::DevicesWrite, &user)?;
    let id = device_id(&device)?;
    let new: NewDevice = body::read_json(body, &app.limits.bodies).await?;
    let device = new.into_device(user, id, app.clock.now())?;
    // Two at once may both be let in: the limit is there for what runs wild, not to be exact.
    let others = app.devices.count_other_devices(&device.user, &device.id).await?;
    if others >= app.devices_per_user_max {
        return Err(too_many(app.devices_per_user_max));
    }
    app.devices.put_device(device.clone()).await?;
    Ok(Json(device.into()))
}

/// A user's devices, ordered by id.
#[utoipa::path(
    get, path = "/v1/users/{user}/devices", tag = "devices",
    params(("user" = String, Path, description = "A user id, or `me`")),
    responses(
        (status = 200, body = Vec<DeviceAnswer>),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Vec<DeviceAnswer>>, Problem> {
    let user = caller.for_user(Scope::DevicesRead, &user)?;
    let devices = app.devices.list_devices(&user).await?;
    Ok(Json(devices.into_iter().map(DeviceAnswer::from).collect()))
}

/// Remove a device; fine if there is none.
#[utoipa::path(
    delete, path = "/v1/users/{user}/devices/{device}", tag = "devices",
    params(
        ("user" = String, Path, description = "A user id, or `me`"),
        ("device" = String, Path, description = "The app's id for the installation"),
    ),
    responses(
        (status = 204, description = "There is no such device any more"),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, device)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let user = caller.for_user(Scope::DevicesWrite, &user)?;
    app.devices.remove_device(&user, &device_id(&device)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn too_many(limit: u64) -> Problem {
    let detail = format!(
        "the user has {limit} other devices (push.devices_per_user_max): remove one that is not used"
    );
    Problem::new(StatusCode::CONFLICT, "too-many-devices", "Too many devices", detail)
}

fn device_id(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|error| Problem::bad_input("device", error.to_string()))
}
