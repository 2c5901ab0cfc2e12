//! One due push: where it goes, sent there, and what came of it.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{
    clock::Clock,
    delivery::{Channel, Delivery, Outcome, Push, PushAnswer, PushStyle, Verdict},
    device::Device,
    error_chain::ErrorChain,
    ids::DeviceId,
    ports::{DeviceStore, DuePush, DueRetry, PushSettlement},
    route::{InboxOnly, PushTo, Route, Routing, RoutingPolicy, next_devices, route_notification},
};
use tokio::time::{Instant, timeout_at};

use super::{
    DispatcherConfig,
    alarm::Alarm,
    config::SENDING_SHARE,
    decide::{Decision, decide},
    lanes::{Admission, BreakerState, Change, Lane, Place, PushLanes},
};

/// The word in the delivery log for a device of an app, or of a push service, that is not configured.
const NO_PROVIDER: &str = "no_provider";

/// The word for a notification that none of a user's devices took, one after the other.
const DEVICES_FAILED: &str = "devices_failed";

/// The word for a push that has waited for its service for longer than is of use.
const WAITED_TOO_LONG: &str = "waited_too_long";

/// When a device is tried again because the others cannot be read from the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What every job needs.
pub(super) struct Sending {
    pub(super) lanes: Arc<PushLanes>,
    pub(super) devices: Arc<dyn DeviceStore>,
    pub(super) routing: Arc<RoutingPolicy>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: DispatcherConfig,
    pub(super) alarm: Alarm,
}

/// Sends a push to wherever routing says, and says what came of it.
///
/// `leased_at` is no later than the beginning of the lease. What has not been sent when the lease is
/// about to end is not sent by us: settling late could mean that another node has begun, too.
pub(super) async fn run(sending: Arc<Sending>, due: DuePush, leased_at: Instant) -> PushSettlement {
    let routing = sending.routing.of(&due.notification.event);
    let now = sending.clock.now();
    let until = leased_at + sending.config.lease.mul_f64(SENDING_SHARE);
    let route = route_notification(&due.notification, &due.inbox, &due.devices, routing, now);
    let job = Job { sending: &sending, due: &due, until, style: style_of(&route) };
    let mut settlement = PushSettlement {
        job: due.job.clone(),
        deliveries: Vec::with_capacity(due.devices.len()),
        retries: Vec::new(),
        prunes: Vec::new(),
        renewals: Vec::new(),
    };
    match route {
        Route::InboxOnly(InboxOnly::NoDevice) if job.lost_its_device(routing) => {
            job.send_to_others(routing, &mut settlement).await;
        }
        Route::InboxOnly(why) => settlement.deliveries = job.skipped(why),
        Route::Push { devices, .. } => match routing.to {
            PushTo::All => job.send_to_all(&devices, &mut settlement).await,
            PushTo::First => job.send_to_first(&devices, routing, &mut settlement).await,
        },
    }
    settlement
}

fn style_of(route: &Route<'_>) -> PushStyle {
    match route {
        Route::Push { style, .. } => *style,
        Route::InboxOnly(_) => PushStyle::default(),
    }
}

/// A push under way.
struct Job<'a> {
    sending: &'a Sending,
    due: &'a DuePush,
    until: Instant,
    style: PushStyle,
}

/// What came of one device.
enum Sent {
    /// An attempt was made, or cannot be made.
    Tried(Box<Attempt>),
    /// It is not the time for it.
    PutBack(DueRetry),
}

/// What is logged of an attempt, and what is done after it.
struct Attempt {
    delivery: Delivery,
    decision: Decision,
}

impl Sent {
    fn tried(delivery: Delivery, decision: Decision) -> Self {
        Self::Tried(Box::new(Attempt { delivery, decision }))
    }
}

impl Attempt {
    fn enter(self, settlement: &mut PushSettlement) {
        let Self { delivery, decision } = self;
        settlement.deliveries.push(delivery);
        settlement.retries.extend(decision.retry);
        settlement.prunes.extend(decision.prune);
        settlement.renewals.extend(decision.renewal);
    }
}

impl Job<'_> {
    async fn send_to_all(&self, devices: &[&Device], settlement: &mut PushSettlement) {
        let mut sends = FuturesUnordered::new();
        for device in devices {
            sends.push(self.send(device, self.due.attempt));
        }
        while let Some(sent) = sends.next().await {
            match sent {
                Sent::Tried(attempt) => attempt.enter(settlement),
                Sent::PutBack(retry) => settlement.retries.push(retry),
            }
        }
    }

    /// One device after the other, until one has it, or may have it later. What waits for its service
    /// is passed over; if no other device takes it, it is tried again when its time has come.
    async fn send_to_first(
        &self,
        devices: &[&Device],
        routing: &Routing,
        settlement: &mut PushSettlement,
    ) {
        let mut put_back = None;
        let mut attempt = self.due.attempt;
        let mut tried = None;
        for device in devices {
            if self.try_one(device, attempt, settlement, &mut put_back).await {
                return;
            }
            tried = Some(&device.id);
            attempt = 1;
        }
        // A push that comes back for one device was loaded with that one only.
        if let (Some(tried), Some(_)) = (tried, &self.due.job.device) {
            let others = match self.others_after(tried, routing).await {
                Ok(others) => others,
                Err(retry) => return settlement.retries.push(retry),
            };
            for device in &others {
                if self.try_one(device, 1, settlement, &mut put_back).await {
                    return;
                }
            }
        }
        self.end_without_success(put_back, settlement);
    }

    /// None of the devices has it; one may have it later.
    fn end_without_success(&self, put_back: Option<DueRetry>, settlement: &mut PushSettlement) {
        if put_back.is_none() {
            let why = DEVICES_FAILED;
            let row = self.row(Channel::WebSocket, "", 1, Outcome::Skipped, why);
            settlement.deliveries.push(row);
        }
        settlement.retries.extend(put_back);
    }

    /// Whether the push came back for a device that is gone by now, and another may have it.
    fn lost_its_device(&self, routing: &Routing) -> bool {
        routing.to == PushTo::First && self.due.job.device.is_some() && self.due.devices.is_empty()
    }

    /// Sends to the first that takes it of all devices that there are.
    async fn send_to_others(&self, routing: &Routing, settlement: &mut PushSettlement) {
        let Some(gone) = &self.due.job.device else { return };
        let others = match self.others_after(gone, routing).await {
            Ok(others) => others,
            Err(retry) => return settlement.retries.push(retry),
        };
        if others.is_empty() {
            settlement.deliveries = self.skipped(InboxOnly::NoDevice);
            return;
        }
        let mut put_back = None;
        for device in &others {
            if self.try_one(device, 1, settlement, &mut put_back).await {
                return;
            }
        }
        self.end_without_success(put_back, settlement);
    }

    /// Whether nothing else is to be tried now.
    async fn try_one(
        &self,
        device: &Device,
        attempt: u32,
        settlement: &mut PushSettlement,
        put_back: &mut Option<DueRetry>,
    ) -> bool {
        match self.send(device, attempt).await {
            Sent::PutBack(retry) => {
                put_back.get_or_insert(retry);
                false
            }
            Sent::Tried(mut attempt) => {
                let decision = &mut attempt.decision;
                let waits = decision.is_for_a_person.then(|| decision.retry.take()).flatten();
                let is_done = waits.is_none()
                    && matches!(decision.outcome, Outcome::Delivered | Outcome::Retrying);
                if let Some(retry) = waits {
                    put_back.get_or_insert(retry);
                }
                attempt.enter(settlement);
                is_done
            }
        }
    }

    /// The devices that come after `tried`; while they cannot be read, when to ask again.
    async fn others_after(
        &self,
        tried: &DeviceId,
        routing: &Routing,
    ) -> Result<Vec<Device>, DueRetry> {
        match self.sending.devices.list_devices(&self.due.notification.user).await {
            Ok(all) => Ok(next_devices(&all, tried, routing).into_iter().cloned().collect()),
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "a user's devices cannot be read");
                Err(self.again(tried, self.due.attempt, STORE_PAUSE))
            }
        }
    }

    async fn send(&self, device: &Device, attempt: u32) -> Sent {
        let channel = device.platform.channel();
        let target = device.id.as_str();
        let Some(lane) = self.sending.lanes.find(device) else {
            let delivery = self.row(channel, target, attempt, Outcome::Skipped, NO_PROVIDER);
            return Sent::tried(delivery, Decision::done(Outcome::Skipped));
        };
        // What has no time for an answer would cost an attempt, and look like an outage.
        let begin_until = self.until.checked_sub(self.sending.config.send_timeout);
        let begin_until = begin_until.unwrap_or_else(Instant::now);
        let place = match lane.admit(&device.app, begin_until).await {
            Admission::Go(place) => place,
            Admission::Later(wait) => return self.wait_longer(device, attempt, wait),
        };
        let push = Push {
            identity: self.due.notification.id.push_identity(&device.id),
            device: device.clone(),
            notification: Arc::clone(&self.due.notification),
            badge: self.due.inbox.unread,
            style: self.style,
        };
        let (answer, latency) = self.send_in_time(&lane, place, &push).await;
        let now = self.sending.clock.now();
        let random = rand::random::<f64>();
        let mut decision =
            decide(&push, answer.verdict, attempt, now, &self.sending.config, random);
        if decision.renewal.is_some() && self.has_another_token(device).await {
            decision = decision.with_another_token();
        }
        let mut delivery = self.row(channel, target, attempt, decision.outcome, "");
        delivery.latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        delivery.reason = answer.reason;
        // Our identity, when the service does not give one: under it the push went out.
        delivery.provider_id = answer.provider_id.or_else(|| Some(push.identity.to_string()));
        Sent::tried(delivery, decision)
    }

    /// Whether a device was registered with another token since it was read. Where that cannot be read,
    /// or happens from now on, the store sees it when the push is settled.
    async fn has_another_token(&self, device: &Device) -> bool {
        let devices = self.sending.devices.list_devices(&device.user).await.unwrap_or_default();
        devices.iter().any(|it| it.id == device.id && it.token != device.token)
    }

    /// Puts a push back whose service does not take it now, unless it has waited for too long.
    fn wait_longer(&self, device: &Device, attempt: u32, wait: Duration) -> Sent {
        let waited = self.sending.clock.now().since(self.due.notification.created_at);
        if waited < self.sending.config.longest_wait {
            return Sent::PutBack(self.again(&device.id, attempt, wait));
        }
        let (channel, target) = (device.platform.channel(), device.id.as_str());
        let delivery = self.row(channel, target, attempt, Outcome::Failed, WAITED_TOO_LONG);
        Sent::tried(delivery, Decision::done(Outcome::Failed))
    }

    /// The provider's answer, or our own when there is no time for one. With how long it took.
    async fn send_in_time(&self, lane: &Lane, place: Place, push: &Push) -> (PushAnswer, Duration) {
        let channel = push.device.platform.channel().as_str();
        let started = Instant::now();
        let answer = timeout_at(self.until, lane.provider().send(push)).await;
        let took = started.elapsed();
        metrics::histogram!("tidings_push_seconds", "channel" => channel)
            .record(took.as_secs_f64());
        let answer = answer.unwrap_or_else(|_| PushAnswer {
            verdict: Verdict::Unavailable { after: None },
            reason: Some("not_answered_in_time".to_owned()),
            provider_id: None,
        });
        self.note(lane, &push.device.app, place.report(&answer), &answer);
        (answer, took)
    }

    /// Tells a person what they should know.
    fn note(&self, lane: &Lane, app: &str, change: Change, answer: &PushAnswer) {
        let reason = answer.reason.as_deref().unwrap_or_default();
        let provider = lane.name();
        match answer.verdict {
            Verdict::CallAPerson if !lane.is_for_any_host() => {
                self.sending.alarm.raise(provider, reason);
                return;
            }
            Verdict::CallAPersonFor(concerned) => {
                self.sending.alarm.raise_for(provider, concerned, app, reason);
            }
            _ => {}
        }
        if change.app == Some(BreakerState::Closed) {
            tracing::info!(provider, app, "a push service takes pushes for an app again");
        }
        match change.lane {
            Some(BreakerState::Open) => {
                tracing::warn!(provider, reason, "a push service is out of order; its pushes wait");
            }
            Some(_) => tracing::info!(provider, "a push service works again"),
            None => {}
        }
    }

    fn again(&self, device: &DeviceId, attempt: u32, wait: Duration) -> DueRetry {
        DueRetry { device: device.clone(), attempt, at: self.sending.clock.now().after(wait) }
    }

    /// The log of a push that goes nowhere: a row per device that would have had it.
    fn skipped(&self, why: InboxOnly) -> Vec<Delivery> {
        let due = self.due;
        let skip = |channel, target: &str| {
            self.row(channel, target, due.attempt, Outcome::Skipped, why.as_str())
        };
        let devices = due.devices.iter();
        let mut rows: Vec<_> =
            devices.map(|it| skip(it.platform.channel(), it.id.as_str())).collect();
        if rows.is_empty() {
            // Without a device there is no push channel to name: what is left to the user is live.
            let target = due.job.device.as_ref().map_or("", |id| id.as_str());
            rows.push(skip(Channel::WebSocket, target));
        }
        rows
    }

    fn row(
        &self,
        channel: Channel,
        target: &str,
        attempt: u32,
        outcome: Outcome,
        reason: &str,
    ) -> Delivery {
        count(channel, outcome);
        Delivery {
            notification: self.due.notification.id,
            user: self.due.notification.user.clone(),
            channel,
            target: target.to_owned(),
            attempt,
            at: self.sending.clock.now(),
            latency_ms: 0,
            outcome,
            reason: Some(reason.to_owned()),
            provider_id: None,
        }
    }
}

fn count(channel: Channel, outcome: Outcome) {
    let (channel, outcome) = (channel.as_str(), outcome.as_str());
    metrics::counter!("tidings_push_total", "channel" => channel, "outcome" => outcome)
        .increment(1);
}
