//! One due push: where it goes, sent there, and what came of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{
    clock::Clock,
    delivery::{Channel, Delivery, Outcome, Push, PushAnswer, PushStyle, Verdict},
    device::{Device, Platform},
    ports::{DuePush, PushProvider, PushSettlement},
    route::{InboxOnly, Route, route_notification},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{DispatcherConfig, alarm::Alarm, decide::decide};

/// The word in the delivery log for a device of a push service that is not configured.
const NO_PROVIDER: &str = "no_provider";

/// What every job needs.
pub(super) struct Sending {
    pub(super) providers: HashMap<Platform, Arc<dyn PushProvider>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: DispatcherConfig,
    /// Bounds the sends of all jobs together: a user may have many devices.
    pub(super) places: Semaphore,
    pub(super) alarm: Alarm,
}

/// Sends a push to wherever routing says, and says what came of it.
///
/// `leased_at` is no later than the beginning of the lease. What has not been sent when the lease is
/// about to end is not sent by us: settling late could mean that another node has begun, too.
pub(super) async fn run(sending: Arc<Sending>, due: DuePush, leased_at: Instant) -> PushSettlement {
    let mut settlement = PushSettlement {
        job: due.job.clone(),
        deliveries: Vec::with_capacity(due.devices.len()),
        retries: Vec::new(),
        prunes: Vec::new(),
    };
    let now = sending.clock.now();
    let devices = match route_notification(&due.notification, &due.inbox, &due.devices, now) {
        Route::Push(devices) => devices,
        Route::InboxOnly(why) => {
            settlement.deliveries = skipped(&sending, &due, why);
            return settlement;
        }
    };
    let send_until = leased_at + sending.config.lease.mul_f64(0.8);
    let mut sends = FuturesUnordered::new();
    for device in devices {
        sends.push(send(&sending, &due, device, send_until));
    }
    while let Some(sent) = sends.next().await {
        settlement.retries.extend(sent.retries);
        settlement.prunes.extend(sent.prunes);
        settlement.deliveries.extend(sent.deliveries);
    }
    settlement
}

/// The log of a push that goes nowhere: a row per device that would have had it.
fn skipped(sending: &Sending, due: &DuePush, why: InboxOnly) -> Vec<Delivery> {
    let mut rows: Vec<_> =
        due.devices.iter().map(|device| skip(sending, due, device, why.as_str())).collect();
    if rows.is_empty() {
        // Without a device there is no push channel to name: what is left to the user is live.
        let target = due.job.device.as_ref().map_or("", |id| id.as_str());
        rows.push(row(sending, due, Channel::WebSocket, target, Outcome::Skipped, why.as_str()));
    }
    rows
}

fn skip(sending: &Sending, due: &DuePush, device: &Device, reason: &str) -> Delivery {
    let channel = device.platform.channel();
    row(sending, due, channel, device.id.as_str(), Outcome::Skipped, reason)
}

fn row(
    sending: &Sending,
    due: &DuePush,
    channel: Channel,
    target: &str,
    outcome: Outcome,
    reason: &str,
) -> Delivery {
    count(channel, outcome);
    Delivery {
        notification: due.notification.id,
        user: due.notification.user.clone(),
        channel,
        target: target.to_owned(),
        attempt: due.attempt,
        at: sending.clock.now(),
        latency_ms: 0,
        outcome,
        reason: Some(reason.to_owned()),
        provider_id: None,
    }
}

/// One device's share of a settlement.
struct Sent {
    deliveries: [Delivery; 1],
    retries: Option<tidings_core::ports::DueRetry>,
    prunes: Option<tidings_core::ports::Prune>,
}

async fn send(sending: &Sending, due: &DuePush, device: &Device, until: Instant) -> Sent {
    let channel = device.platform.channel();
    let Some(provider) = sending.providers.get(&device.platform) else {
        let deliveries = [skip(sending, due, device, NO_PROVIDER)];
        return Sent { deliveries, retries: None, prunes: None };
    };
    let push = Push {
        identity: due.notification.id.push_identity(&device.id),
        device: device.clone(),
        notification: Arc::clone(&due.notification),
        badge: due.inbox.unread,
        style: PushStyle::Alert,
    };
    let (answer, latency) = send_in_time(sending, provider.as_ref(), &push, until).await;
    let now = sending.clock.now();
    let random = rand::random::<f64>();
    let decision = decide(&push, answer.verdict, due.attempt, now, &sending.config, random);
    let mut delivery = row(sending, due, channel, device.id.as_str(), decision.outcome, "");
    delivery.latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    if answer.verdict == Verdict::CallAPerson {
        sending.alarm.raise(channel, answer.reason.as_deref().unwrap_or_default());
    }
    delivery.reason = answer.reason;
    // Our identity, when the service does not give one: under it the push went out.
    delivery.provider_id = answer.provider_id.or_else(|| Some(push.identity.to_string()));
    Sent { deliveries: [delivery], retries: decision.retry, prunes: decision.prune }
}

/// The provider's answer, or our own when there is no time for one. With how long it took.
async fn send_in_time(
    sending: &Sending,
    provider: &dyn PushProvider,
    push: &Push,
    until: Instant,
) -> (PushAnswer, Duration) {
    let ours = |reason: &str| PushAnswer {
        verdict: Verdict::Retry { after: None },
        reason: Some(reason.to_owned()),
        provider_id: None,
    };
    let Ok(Ok(_place)) = timeout_at(until, sending.places.acquire()).await else {
        return (ours("no_place_in_time"), Duration::ZERO);
    };
    let channel = provider.platform().channel().as_str();
    let in_flight = metrics::gauge!("tidings_push_in_flight", "channel" => channel);
    let started = Instant::now();
    in_flight.increment(1.0);
    let answer = timeout_at(until, provider.send(push)).await;
    in_flight.decrement(1.0);
    let took = started.elapsed();
    metrics::histogram!("tidings_push_seconds", "channel" => channel).record(took.as_secs_f64());
    (answer.unwrap_or_else(|_| ours("not_answered_in_time")), took)
}

fn count(channel: Channel, outcome: Outcome) {
    let (channel, outcome) = (channel.as_str(), outcome.as_str());
    metrics::counter!("tidings_push_total", "channel" => channel, "outcome" => outcome)
        .increment(1);
}
