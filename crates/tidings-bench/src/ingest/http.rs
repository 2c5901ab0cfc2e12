//! Events over HTTP into the embedded store, and `notifyd` beside it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use tidings_core::clock::{Clock, SystemClock};
use tokio::task::JoinSet;

use super::{
    bench::Bench,
    http_client::HttpConnection,
    measure::{number, us_per_event},
    node::{Node, Setup, Store},
    peer_notifyd::Notifyd,
    story,
};
use crate::{limit::rate, process, report::Report};

/// Connections, each with one request at a time.
const CONNECTIONS: u32 = 64;
/// The longest latency that is told apart: a minute, in microseconds.
const MAX_LATENCY_US: u64 = 60_000_000;

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let span = Duration::from_secs(bench.pick(20, 3));
    for (name, events_per_request) in [("single", 1), ("batch_100", 100)] {
        let node = Node::start(bench, &Setup { store: Store::Embedded, source: None }).await?;
        let load = Load {
            address: node.address(),
            path: "/v1/events",
            headers: String::new(),
            events_per_request,
            body: tidings_body,
        };
        let before = process::usage(node.pid()).unwrap_or_default();
        let posted = post_for(span, load).await?;
        let used = process::usage(node.pid()).unwrap_or_default().since(before);
        posted.report(&format!("http_{name}_"), report)?;
        let cpu = us_per_event(used.cpu, posted.events);
        report.put(&format!("http_{name}_node_cpu_us_per_event"), cpu);
        let peak = process::peak_rss_bytes(node.pid()).unwrap_or_default();
        report.put(&format!("http_{name}_rss_bytes"), number(peak));
        bench.say(format_args!("http, {name}: {:.0} events/s", posted.events_per_s()));
        if name == "single" {
            beside(bench, span, posted.events_per_s(), report).await?;
        }
        node.stop().await?;
    }
    Ok(())
}

/// The same load on the peer.
async fn beside(
    bench: &Bench,
    span: Duration,
    ours_per_s: f64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(peer) = Notifyd::start(bench).await? else {
        bench.say("notifyd is not installed, and is left out: `cargo xtask peers` installs it");
        return Ok(());
    };
    report.put("notifyd_idle_rss_bytes", number(peer.rss_bytes()));
    let load = Load {
        address: peer.address(),
        path: "/v1/send",
        headers: peer.headers(),
        events_per_request: 1,
        body: notifyd_body,
    };
    let before = process::usage(peer.pid()).unwrap_or_default();
    let posted = post_for(span, load).await?;
    let used = process::usage(peer.pid()).unwrap_or_default().since(before);
    posted.report("notifyd_single_", report)?;
    report.put("notifyd_single_cpu_us_per_event", us_per_event(used.cpu, posted.events));
    report.put("notifyd_rss_bytes", number(peer.rss_bytes()));
    report.ratios.vs_peer.insert("notifyd_http".to_owned(), ours_per_s / posted.events_per_s());
    bench.say(format_args!("http, notifyd: {:.0} events/s", posted.events_per_s()));
    peer.stop(bench).await
}

/// What is posted.
#[derive(Clone)]
struct Load {
    address: SocketAddr,
    path: &'static str,
    headers: String,
    events_per_request: u64,
    /// Writes the body with the events of these numbers.
    body: fn(std::ops::Range<u64>, &mut Vec<u8>),
}

/// What became of it.
struct Posted {
    events: u64,
    took: Duration,
    latency_us: Histogram<u64>,
}

impl Posted {
    fn events_per_s(&self) -> f64 {
        rate(self.events, self.took)
    }

    fn report(&self, prefix: &str, report: &mut Report) -> anyhow::Result<()> {
        ensure!(self.events > 0, "no request was answered");
        report.put(&format!("{prefix}events_per_s"), self.events_per_s());
        for (name, quantile) in [("p50", 0.50), ("p99", 0.99)] {
            let at = Duration::from_micros(self.latency_us.value_at_quantile(quantile));
            report.put(&format!("{prefix}{name}_ms"), at.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

/// Posts on all connections, each the next request when the last one is answered.
async fn post_for(span: Duration, load: Load) -> anyhow::Result<Posted> {
    let next = Arc::new(AtomicU64::new(0));
    let latency_us = Arc::new(Mutex::new(Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (load, next) = (load.clone(), Arc::clone(&next));
        let latency_us = Arc::clone(&latency_us);
        clients.spawn(async move {
            let mut connection = HttpConnection::open(load.address, &load.headers).await?;
            let (mut body, mut events) = (Vec::new(), 0);
            while begun.elapsed() < span {
                let first = next.fetch_add(load.events_per_request, Ordering::Relaxed);
                (load.body)(first..first + load.events_per_request, &mut body);
                let sent = Instant::now();
                let status = connection.post(load.path, &body).await?;
                ensure!((200..300).contains(&status), "{status}: {}", connection.body());
                let took = u64::try_from(sent.elapsed().as_micros())?;
                latency_us
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .saturating_record(took.max(1));
                events += load.events_per_request;
            }
            Ok(events)
        });
    }
    let mut events = 0;
    while let Some(ended) = clients.join_next().await {
        events += ended??;
    }
    let took = begun.elapsed();
    let latency_us = latency_us.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Posted { events, took, latency_us })
}

/// One event, or a list of several.
fn tidings_body(numbers: std::ops::Range<u64>, body: &mut Vec<u8>) {
    let now = SystemClock.now();
    let is_list = numbers.end - numbers.start > 1;
    let mut event = Vec::new();
    body.clear();
    for number in numbers {
        if is_list {
            body.push(if body.is_empty() { b'[' } else { b',' });
        }
        story::write_event(number, &story::user_name(story::user_of(number)), now, &mut event);
        body.extend_from_slice(&event);
    }
    if is_list {
        body.push(b']');
    }
}

/// The same texts in the peer's words.
fn notifyd_body(numbers: std::ops::Range<u64>, body: &mut Vec<u8>) {
    body.clear();
    for number in numbers {
        let text = serde_json::json!({
            "channels": ["in_app"],
            "subscriber_id": story::user_name(story::user_of(number)),
            "subject": "Ann liked your photo",
            "body": "Sunset over the bay",
            "idempotency_key": story::event_id(number),
        });
        body.extend_from_slice(text.to_string().as_bytes());
    }
}
