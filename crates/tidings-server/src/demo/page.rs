//! The page that shows the demo in a browser: screens to play with, live.
//!
//! Its sources, and the script that is built from them, are in `sdk/js/demo`.

use axum::{
    Json, Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::graph::DemoGraph;

const PAGE: &str = include_str!("../../../../sdk/js/demo/index.html");
const STYLE: &str = include_str!("../../../../sdk/js/demo/style.css");
const SCRIPT: &str = include_str!("../../../../sdk/js/demo/built.js");
/// Nothing but what the node serves. The component brings its styles in its shadow root.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";
/// How many users a page can choose from.
const PEOPLE: usize = 8;
/// Followers and followees of someone whose screen is worth looking at: something happens now and then,
/// and can still be read.
const WORTH_WATCHING: std::ops::RangeInclusive<usize> = 20..=40;

/// The page, for these users.
pub(crate) fn routes(people: Vec<String>) -> Router {
    Router::new()
        .route("/demo", get(async || file("text/html; charset=utf-8", PAGE)))
        .route("/demo/style.css", get(async || file("text/css; charset=utf-8", STYLE)))
        .route("/demo/app.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/demo/people.json", get(async move || Json(people)))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let mut answer = text.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // Another build of the binary has another page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Users with a session to whom something happens now and then; whoever else is there if too few are.
pub(super) fn people(graph: &DemoGraph, online: &[bool]) -> Vec<String> {
    let mut follows: Vec<usize> = graph.followers.iter().map(Vec::len).collect();
    for (follower, _) in &graph.follows {
        follows[*follower as usize] += 1;
    }
    let mut users: Vec<usize> = (0..graph.users.len()).filter(|user| online[*user]).collect();
    users.sort_by_key(|user| (!WORTH_WATCHING.contains(&follows[*user]), *user));
    users.truncate(PEOPLE);
    users.into_iter().map(|user| graph.users[user].as_str().to_owned()).collect()
}
