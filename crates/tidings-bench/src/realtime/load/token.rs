//! The users' tokens.

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::{Inboxes, now_us};

/// Longer than any run.
const VALID_SECS: u64 = 24 * 3600;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    /// Centrifugo's server-side subscriptions; Tidings passes over it.
    channels: [&'a str; 1],
}

/// A token (HS256) of a user who gets `inboxes`, for Tidings and for Centrifugo.
pub(in crate::realtime) fn mint(
    key: &EncodingKey,
    user: &str,
    inboxes: Inboxes,
) -> anyhow::Result<String> {
    let own = format!("inbox:{user}");
    let channel = match inboxes {
        Inboxes::Own => own.as_str(),
        Inboxes::Shared => "inbox:everyone",
    };
    let exp = now_us() / 1_000_000 + VALID_SECS;
    let claims = Claims { sub: user, exp, channels: [channel] };
    Ok(jsonwebtoken::encode(&Header::default(), &claims, key)?)
}
