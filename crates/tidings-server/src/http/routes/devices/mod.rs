//! Where a user can be pushed to.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tidings_core::{
    clock::Timestamp,
    device::{Device, Platform, PushToken},
    ids::{DeviceId, EventId},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{body, error::Problem, extract::Path, state::App},
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(put, remove)).routes(routes!(list))
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PlatformName {
    Apns,
    Fcm,
    WebPush,
}

impl From<Platform> for PlatformName {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Apns => Self::Apns,
            Platform::Fcm => Self::Fcm,
            Platform::WebPush => Self::WebPush,
        }
    }
}

impl From<PlatformName> for Platform {
    fn from(name: PlatformName) -> Self {
        match name {
            PlatformName::Apns => Self::Apns,
            PlatformName::Fcm => Self::Fcm,
            PlatformName::WebPush => Self::WebPush,
        }
    }
}

/// A device to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    /// Which push service reaches it.
    platform: PlatformName,
    /// What the push service knows it by; never shown again.
    token: String,
    /// The app: APNs topic (bundle id) or Android application id, 1 to 128 bytes.
    app: String,
}

/// A registered device. Its token is not shown.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceAnswer {
    /// The app's id for the installation.
    id: String,
    /// Which push service reaches it.
    platform: PlatformName,
    /// The app.
    app: String,
    /// When it was last registered.
    #[schema(value_type = String, format = "date-time")]
    registered_at: Timestamp,
}

impl From<Device> for DeviceAnswer {
    fn from(device: Device) -> Self {
        let platform = device.platform.into();
        Self {
            id: device.id.as_str().to_owned(),
            platform,
            app: device.app,
            registered_at: device.registered_at,
        }
    }
}

/// Register a device, or refresh its registration.
///
/// A token that another device has moves to this one: whoever signed in last is pushed to.
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
    let new: NewDevice = body::read_json(body, app.body_limit_bytes).await?;
    let token = PushToken::new(new.token)
        .map_err(|error| Problem::bad_input("token", error.to_string()))?;
    // An app's name has the same form as an id.
    EventId::new(&new.app).map_err(|error| Problem::bad_input("app", error.to_string()))?;
    let platform = new.platform.into();
    let registered_at = app.clock.now();
    let device = Device::new(user, id, platform, &new.app, token, registered_at);
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

fn device_id(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|error| Problem::bad_input("device", error.to_string()))
}
