//! The fields of a send request, as the REST reference of `projects.messages` lists them (read
//! 2026-11). Names are in the snake case of the protocol definition; JSON may use camel case, too.

/// What a field holds.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    /// Seconds with up to nine decimals and an `s`: `3.5s`.
    Duration,
    /// One of these names, in any case, of this protocol type.
    Choice(&'static str, &'static [&'static str]),
    /// Any JSON object.
    Struct,
    /// An object whose values are strings.
    TextMap,
    TextList,
    DurationList,
    Object(&'static [Field]),
}

/// One field of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

/// The request body.
pub(super) static REQUEST: &[Field] =
    &[field("validate_only", Kind::Flag), field("message", Kind::Object(MESSAGE))];

static MESSAGE: &[Field] = &[
    field("name", Kind::Text),
    field("data", Kind::TextMap),
    field("notification", Kind::Object(NOTIFICATION)),
    field("android", Kind::Object(ANDROID)),
    field("webpush", Kind::Object(WEBPUSH)),
    field("apns", Kind::Object(APNS)),
    field("fcm_options", Kind::Object(OPTIONS)),
    field("token", Kind::Text),
    field("topic", Kind::Text),
    field("condition", Kind::Text),
    field("fid", Kind::Text),
];

static NOTIFICATION: &[Field] =
    &[field("title", Kind::Text), field("body", Kind::Text), field("image", Kind::Text)];

static OPTIONS: &[Field] = &[field("analytics_label", Kind::Text)];

static ANDROID: &[Field] = &[
    field("collapse_key", Kind::Text),
    field(
        "priority",
        Kind::Choice(
            "type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority",
            &["NORMAL", "HIGH"],
        ),
    ),
    field("ttl", Kind::Duration),
    field("restricted_package_name", Kind::Text),
    field("data", Kind::TextMap),
    field("notification", Kind::Object(ANDROID_NOTIFICATION)),
    field("fcm_options", Kind::Object(OPTIONS)),
    field("direct_boot_ok", Kind::Flag),
    field("bandwidth_constrained_ok", Kind::Flag),
    field("restricted_satellite_ok", Kind::Flag),
];

static ANDROID_NOTIFICATION: &[Field] = &[
    field("title", Kind::Text),
    field("body", Kind::Text),
    field("icon", Kind::Text),
    field("color", Kind::Text),
    field("sound", Kind::Text),
    field("tag", Kind::Text),
    field("click_action", Kind::Text),
    field("body_loc_key", Kind::Text),
    field("body_loc_args", Kind::TextList),
    field("title_loc_key", Kind::Text),
    field("title_loc_args", Kind::TextList),
    field("channel_id", Kind::Text),
    field("ticker", Kind::Text),
    field("sticky", Kind::Flag),
    field("event_time", Kind::Text),
    field("local_only", Kind::Flag),
    field(
        "notification_priority",
        Kind::Choice(
            "type.googleapis.com/google.firebase.fcm.v1.AndroidNotification.NotificationPriority",
            &[
                "PRIORITY_UNSPECIFIED",
                "PRIORITY_MIN",
                "PRIORITY_LOW",
                "PRIORITY_DEFAULT",
                "PRIORITY_HIGH",
                "PRIORITY_MAX",
            ],
        ),
    ),
    field("default_sound", Kind::Flag),
    field("default_vibrate_timings", Kind::Flag),
    field("default_light_settings", Kind::Flag),
    field("vibrate_timings", Kind::DurationList),
    field(
        "visibility",
        Kind::Choice(
            "type.googleapis.com/google.firebase.fcm.v1.AndroidNotification.Visibility",
            &["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"],
        ),
    ),
    field("notification_count", Kind::Number),
    field("light_settings", Kind::Object(LIGHT_SETTINGS)),
    field("image", Kind::Text),
    field(
        "proxy",
        Kind::Choice(
            "type.googleapis.com/google.firebase.fcm.v1.AndroidNotification.Proxy",
            &["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"],
        ),
    ),
    field("bypass_proxy_notification", Kind::Flag),
];

static LIGHT_SETTINGS: &[Field] = &[
    field("color", Kind::Object(COLOR)),
    field("light_on_duration", Kind::Duration),
    field("light_off_duration", Kind::Duration),
];

static COLOR: &[Field] = &[
    field("red", Kind::Number),
    field("green", Kind::Number),
    field("blue", Kind::Number),
    field("alpha", Kind::Number),
];

static WEBPUSH: &[Field] = &[
    field("headers", Kind::TextMap),
    field("data", Kind::TextMap),
    field("notification", Kind::Struct),
    field("fcm_options", Kind::Object(WEBPUSH_OPTIONS)),
];

static WEBPUSH_OPTIONS: &[Field] =
    &[field("link", Kind::Text), field("analytics_label", Kind::Text)];

static APNS: &[Field] = &[
    field("headers", Kind::TextMap),
    field("payload", Kind::Struct),
    field("fcm_options", Kind::Object(APNS_OPTIONS)),
    field("live_activity_token", Kind::Text),
];

static APNS_OPTIONS: &[Field] = &[field("analytics_label", Kind::Text), field("image", Kind::Text)];
