//! What the rules put into a store.

use std::{fmt::Debug, sync::Arc, time::Duration};

use tidings_core::{
    batch::{
        AppendedEvent, BatchLimits, MAX_BATCH_ROWS, NotificationBatch, PlannedEvent, Recipient,
    },
    checkpoint::PartitionId,
    clock::Timestamp,
    delivery::Delivery,
    device::{Device, Platform, PushToken},
    event::{Event, IncomingEvent},
    ids::{DeviceId, NotificationId, Seq, UserId},
    inbox::{Acknowledgement, Stretch},
    notification::Notification,
    ports::NotificationStore,
};

pub(super) const LEASE: Duration = Duration::from_secs(60);
pub(super) const ALL: usize = 1_000_000;

/// `millis` after the moment at which every rule starts.
pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).after(Duration::from_millis(millis))
}

/// One acknowledgement of all up to `seq`, without deliveries.
pub(super) fn has(user: &UserId, seq: u64) -> Arc<[Acknowledgement]> {
    has_between(user, 0, seq)
}

/// The same of a session that began after `after`.
pub(super) fn has_between(user: &UserId, after: u64, upto: u64) -> Arc<[Acknowledgement]> {
    Arc::new([acknowledgement(user, (after, upto), vec![])])
}

pub(super) fn acknowledgement(
    user: &UserId,
    (after, upto): (u64, u64),
    deliveries: Vec<Delivery>,
) -> Acknowledgement {
    let has = Stretch { after: Seq(after), upto: Seq(upto) };
    Acknowledgement { user: user.clone(), has, deliveries }
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

pub(super) fn event(id: &str) -> Arc<Event> {
    titled(id, id)
}

pub(super) fn titled(id: &str, title: &str) -> Arc<Event> {
    event_from(&serde_json::json!({"id": id, "source": "test", "type": "like", "title": title}))
}

/// Reads an event from JSON without an audience.
pub(super) fn event_from(json: &serde_json::Value) -> Arc<Event> {
    let mut json = json.clone();
    json["audience"] = serde_json::json!({"users": ["nobody"]});
    IncomingEvent::from_json(json.to_string().as_bytes(), at(0)).expect("an event").event
}

/// A partition of the one topic and group that rules read.
pub(super) fn partition(partition: i32) -> PartitionId {
    PartitionId { group: "group".into(), topic: "topic".into(), partition }
}

/// Plans `event` for `users`, without pushes.
pub(super) fn plan<'a>(
    event: &Arc<Event>,
    users: impl IntoIterator<Item = &'a UserId>,
) -> PlannedEvent {
    let recipients = users.into_iter().map(|user| Recipient { user: user.clone(), push_at: None });
    PlannedEvent { event: Arc::clone(event), recipients: recipients.collect(), fan_out: None }
}

/// Plans `event` for `user` with a push that falls due at `push_at`.
pub(super) fn plan_push(event: &Arc<Event>, user: &UserId, push_at: Timestamp) -> PlannedEvent {
    let mut planned = plan(event, [user]);
    for recipient in &mut planned.recipients {
        recipient.push_at = Some(push_at);
    }
    planned
}

pub(super) fn batch(planned: Vec<PlannedEvent>) -> NotificationBatch {
    let mut batch = NotificationBatch::new(BatchLimits {
        max_rows: MAX_BATCH_ROWS,
        max_bytes: usize::MAX,
        max_age: Duration::ZERO,
    });
    for planned in planned {
        batch.try_add(planned, at(0)).expect("a batch with room");
    }
    batch
}

pub(super) async fn append(
    store: &(impl NotificationStore + ?Sized),
    planned: Vec<PlannedEvent>,
) -> Vec<AppendedEvent> {
    let events = planned.len();
    let appended = store.append(batch(planned).into(), at(0)).await.expect("append");
    assert_eq!(appended.len(), events, "an answer for each event");
    appended
}

/// Appends one event for each of `ids` to the inbox of `user`; returns the ids of what was stored.
pub(super) async fn fill(
    store: &(impl NotificationStore + ?Sized),
    user: &UserId,
    ids: &[&str],
) -> Vec<NotificationId> {
    let planned = ids.iter().map(|id| plan(&event(id), [user])).collect();
    let appended = append(store, planned).await;
    let stored = appended.iter().flat_map(|it| &it.stored);
    stored.map(|it| it.id).collect()
}

/// The whole inbox, oldest first.
pub(super) async fn read_all(
    store: &(impl NotificationStore + ?Sized),
    user: &UserId,
) -> Vec<Notification> {
    let listed = store.list_after(user, Seq::ZERO, ALL).await;
    listed.expect("list_after")
}

pub(super) fn seqs(notifications: &[Notification]) -> Vec<u64> {
    notifications.iter().map(|it| it.seq().0).collect()
}

pub(super) fn event_ids(notifications: &[Notification]) -> Vec<&str> {
    let ids = notifications.iter().map(|it| it.event.id.as_str());
    ids.collect()
}

pub(super) fn device(user: &UserId, id: &str, token: &str, registered_at: Timestamp) -> Device {
    Device::new(
        user.clone(),
        DeviceId::new(id).expect("a device id"),
        Platform::Fcm,
        "app",
        PushToken::new(token.to_owned()).expect("a token"),
        registered_at,
    )
}

/// Asserts that two values show the same in full, which is how events, having no equality of their
/// own, are compared.
pub(super) fn assert_same(left: &impl Debug, right: &impl Debug) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}
