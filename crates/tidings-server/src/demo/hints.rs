//! What to try next.

use std::net::SocketAddr;

use super::graph::DemoGraph;

/// Lines that can be pasted into another terminal.
pub(super) fn lines(address: SocketAddr, graph: &DemoGraph, online: &[bool]) -> Vec<String> {
    // Someone with many followers, and someone with a live session who is followed.
    let by_followers = |user: &usize| graph.followers[*user].len();
    let star = (0..graph.users.len()).max_by_key(by_followers).unwrap_or_default();
    let watched = (0..graph.users.len()).filter(|user| online[*user]).max_by_key(by_followers);
    let watched = &graph.users[watched.unwrap_or(star)];
    let star = &graph.users[star];
    let url = format!("http://{address}");
    let tidings = this_binary();
    vec![
        String::new(),
        "Try, in another terminal:".to_owned(),
        format!("  {tidings} tail --url {url} --user {watched}"),
        format!(
            "  curl -s {url}/v1/events -d '{{\"id\": \"hello-1\", \"source\": \"me\", \"type\": \
             \"post\", \"title\": \"Hello\", \"audience\": {{\"users\": [\"{watched}\"]}}}}'"
        ),
        format!("  curl -s '{url}/v1/users/{watched}/notifications?limit=3'"),
        format!("  curl -s '{url}/v1/users/{star}/followers?limit=5'"),
        format!("  curl -s {url}/readyz"),
        format!("API docs: {url}/docs   (Ctrl-C ends the demo)"),
        String::new(),
    ]
}

/// How to call this very binary from where the demo was started.
fn this_binary() -> String {
    let Ok(path) = std::env::current_exe() else { return "tidings".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}
