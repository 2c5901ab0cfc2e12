//! `tidings tail`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

use anyhow::Context;
use serde::Deserialize;
use tidings_client::{Arrival, Subscription, SubscriptionConfig, SubscriptionEvent};
use tidings_core::ids::UserId;

use crate::cli::TailArgs;

pub(super) async fn run(args: TailArgs) -> anyhow::Result<()> {
    let user = UserId::new(&args.user).context("--user is not a user id")?;
    let token = args.token.clone().unwrap_or_else(|| format!("user:{user}"));
    let mut config = SubscriptionConfig::new(&args.url, &token);
    config.last_seq = args.since;
    let mut subscription = Subscription::open(config);
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut shown = 0;
    while args.count.is_none_or(|most| shown < most) {
        let event = tokio::select! {
            _ = interrupt.recv() => break,
            event = subscription.next() => event.context("the notifications cannot be followed")?,
        };
        match event {
            SubscriptionEvent::Notification(arrival) => {
                shown += 1;
                show(&arrival, args.json)?;
            }
            SubscriptionEvent::Welcome { seq, unread } => {
                eprintln!("watching {user} on {}: {seq} so far, {unread} unread", args.url);
            }
            SubscriptionEvent::Unread { unread } => eprintln!("{unread} unread"),
            SubscriptionEvent::Disconnected { reason, retry_in } => {
                eprintln!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64());
            }
            SubscriptionEvent::Gap { after, got } => {
                eprintln!("{got} came after {after}: asking again for what is between");
            }
            SubscriptionEvent::Repeated { .. } => {}
        }
    }
    subscription.close().await;
    Ok(())
}

/// What a line shows of a notification.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    created_at: String,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    body: String,
}

fn show(arrival: &Arrival, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", arrival.json);
        return Ok(());
    }
    let line: Line =
        serde_json::from_str(&arrival.json).context("a notification cannot be read")?;
    let Line { seq, created_at, kind, title, body } = line;
    let body = if body.is_empty() { String::new() } else { format!(" - {}", printable(&body)) };
    println!("{created_at} #{seq} [{}] {}{body}", printable(&kind), printable(&title));
    Ok(())
}

/// A title is the app's users' text, and a terminal obeys control characters.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
