use std::{iter, sync::Mutex};

use async_trait::async_trait;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch},
    clock::Timestamp,
    delivery::{Channel, Outcome},
    ids::{InboxNumber, NotificationId, Seq},
    inbox::{InboxPage, InboxState, Mark, Selection},
    notification::Notification,
    ports::StoreError,
};
use tokio::task::JoinSet;

use super::*;

/// A store that takes a time for each call, and counts; or is gone.
struct Slow {
    takes: Duration,
    /// How many calls it is gone for.
    gone_for: usize,
    /// When each call began, its rows, and its users.
    calls: Mutex<Vec<(Instant, usize, usize)>>,
}

#[async_trait]
impl NotificationStore for Slow {
    async fn acknowledge(&self, acks: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        let rows = acks.iter().map(|it| 1 + it.deliveries.len()).sum();
        let is_gone = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((Instant::now(), rows, acks.len()));
            calls.len() <= self.gone_for
        };
        tokio::time::sleep(self.takes).await;
        if is_gone {
            let (op, backend, source) = ("acknowledge", "double", "told to be gone".into());
            return Err(StoreError::Unavailable { op, backend, source });
        }
        Ok(())
    }

    async fn append(
        &self,
        _: Arc<NotificationBatch>,
        _: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn inbox(&self, _: &UserId) -> Result<InboxState, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn heads(&self, _: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn pages_after(
        &self,
        _: &[(UserId, Seq)],
        _: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn list_after(
        &self,
        _: &UserId,
        _: Seq,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn list_newest(
        &self,
        _: &UserId,
        _: Option<Seq>,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn find(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn mark(
        &self,
        _: &UserId,
        _: Mark,
        _: Selection,
        _: Timestamp,
    ) -> Result<InboxState, StoreError> {
        panic!("a flusher only acknowledges")
    }

    async fn check(&self) -> Result<(), StoreError> {
        panic!("a flusher only acknowledges")
    }
}

/// A flusher at work that gathers for half a second, before a store that takes so long.
struct Scene {
    store: Arc<Slow>,
    acks: AckLog,
    stop: CancellationToken,
    flusher: JoinSet<()>,
}

impl Scene {
    fn new(takes_ms: u64, gone_for: usize) -> Self {
        let takes = Duration::from_millis(takes_ms);
        let store = Arc::new(Slow { takes, gone_for, calls: Mutex::default() });
        let (flusher, acks) = AckFlusher::new(Arc::clone(&store) as _, Duration::from_millis(500));
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(flusher.run(stop.clone()));
        Self { store, acks, stop, flusher: running }
    }

    /// So many users acknowledge one notification each.
    async fn burst(&self, users: u64) {
        for user in 0..users {
            self.acks.note(ack(user, 1, 1)).await;
        }
    }

    /// The calls, once there is nothing more to store.
    async fn calls(mut self) -> Vec<(Instant, usize, usize)> {
        let Self { acks, stop, .. } = self;
        drop(acks);
        self.flusher.join_next().await.unwrap().unwrap();
        drop(stop);
        self.store.calls.lock().unwrap().clone()
    }
}

/// An acknowledgement of all up to `seq`, of which `delivered` were delivered with it.
fn ack(inbox: u64, seq: u64, delivered: u64) -> Acknowledgement {
    let user = UserId::new(&format!("u{inbox}")).unwrap();
    let deliveries = (seq + 1 - delivered..=seq)
        .map(|seq| Delivery {
            notification: NotificationId { inbox: InboxNumber(inbox), seq: Seq(seq) },
            user: user.clone(),
            channel: Channel::WebSocket,
            target: "phone".to_owned(),
            attempt: 1,
            at: Timestamp::from_millis(0),
            latency_ms: 1,
            outcome: Outcome::Delivered,
            reason: None,
            provider_id: None,
        })
        .collect();
    let has = Stretch { after: Seq::ZERO, upto: Seq(seq) };
    Acknowledgement { user, has, deliveries }
}

fn in_order(acks: impl IntoIterator<Item = Acknowledgement>) -> Vec<Acknowledgement> {
    let mut gathered = Gathered::default();
    acks.into_iter().for_each(|ack| gathered.add(ack));
    gathered.in_order()
}

#[test]
fn what_a_user_acknowledges_twice_is_stored_once_with_all_deliveries() {
    let [stored] = in_order([ack(7, 3, 2), ack(7, 9, 4)]).try_into().unwrap();
    assert_eq!((stored.has.upto, stored.deliveries.len()), (Seq(9), 6));
    // In whichever order they come.
    let [stored] = in_order([ack(7, 9, 4), ack(7, 3, 0)]).try_into().unwrap();
    assert_eq!(stored.has.upto, Seq(9));
}

#[test]
fn parts_are_bounded_in_the_order_of_inboxes_and_nothing_is_left_out() {
    let users = 3_000;
    let mixed = (0..users).map(|user| ack((user * 1_777) % users, 5, 1));
    let mut acks = in_order(mixed.chain(iter::once(ack(users, 5, 0)))).into_iter();
    let parts: Vec<_> =
        iter::repeat_with(|| take_part(&mut acks, 256)).take_while(|it| !it.is_empty()).collect();
    let rows = |part: &Vec<Acknowledgement>| -> usize {
        part.iter().map(|it| 1 + it.deliveries.len()).sum()
    };
    assert!(parts.len() == 24 && parts.iter().all(|part| rows(part) <= 257));
    let inboxes: Vec<_> = parts
        .iter()
        .flatten()
        .flat_map(|it| it.deliveries.iter().map(|it| it.notification.inbox.0))
        .collect();
    assert_eq!(inboxes, (0..users).collect::<Vec<_>>());
    assert_eq!(parts.iter().flatten().count(), 3_001);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_stored_in_small_parts_with_rests() {
    let (scene, began) = (Scene::new(4, 0), Instant::now());
    scene.burst(4_000).await;
    let calls = scene.calls().await;
    assert_eq!(calls.iter().map(|it| it.2).sum::<usize>(), 4_000);
    // They gather for as long as they may, unless nobody can send any more.
    assert!(calls.iter().all(|it| it.1 <= PART_ROWS + 1), "{calls:?}");
    let apart = calls.windows(2).map(|it| it[1].0 - it[0].0);
    assert!(apart.clone().all(|it| it >= Duration::from_millis(16)), "{calls:?}");
    assert!(calls[0].0 - began <= Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn where_parts_take_long_the_rest_is_stored_at_once() {
    let (scene, began) = (Scene::new(100, 0), Instant::now());
    scene.burst(8_000).await;
    let calls = scene.calls().await;
    assert_eq!(calls.iter().map(|it| it.2).sum::<usize>(), 8_000);
    // Half of the time in which the shortest wait ends: a tenth of it is what they gather for.
    let (last, ..) = calls.last().unwrap();
    assert!(*last - began < Duration::from_millis(2_500), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn more_than_can_be_stored_in_small_parts_is_stored_in_large_ones() {
    let (scene, began) = (Scene::new(50, 0), Instant::now());
    scene.burst(60_000).await;
    let calls = scene.calls().await;
    assert_eq!(calls.iter().map(|it| it.2).sum::<usize>(), 60_000);
    let (last, ..) = calls.last().unwrap();
    assert!(*last - began < Duration::from_secs(10), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flusher_that_is_stopped_stores_all_and_rests_no_more() {
    for after_ms in [0, 300, 700] {
        let mut scene = Scene::new(20, 0);
        scene.burst(8_000).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let stopped = Instant::now();
        scene.stop.cancel();
        scene.flusher.join_next().await.unwrap().unwrap();
        assert!(stopped.elapsed() < Duration::from_millis(200), "{:?}", stopped.elapsed());
        let calls = scene.store.calls.lock().unwrap();
        assert_eq!(calls.iter().map(|it| it.2).sum::<usize>(), 8_000);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_that_was_away_did_not_take_is_stored_when_it_is_back() {
    let scene = Scene::new(5, 6);
    scene.burst(600).await;
    // Nobody says anything more.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stored = {
        let calls = scene.store.calls.lock().unwrap();
        let began: Vec<_> = calls.iter().take(7).map(|it| it.0).collect();
        assert!(began[6] - began[0] > Duration::from_millis(200), "it is left alone: {began:?}");
        calls.iter().skip(6).map(|it| it.2).sum::<usize>()
    };
    assert_eq!(stored, 600);
    scene.burst(1).await;
    assert_eq!(scene.calls().await.last().unwrap().2, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_at_once_is_left_alone_however_much_waits_and_a_stop_is_heard() {
    let mut scene = Scene::new(0, usize::MAX);
    let began = Instant::now();
    // More than is kept; and whoever acknowledges waits for nothing.
    scene.burst(KEPT_ROWS as u64 + 50_000).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = scene.store.calls.lock().unwrap().len();
    assert!((10..100).contains(&calls), "{calls} calls in {:?}", began.elapsed());
    let stopped = Instant::now();
    scene.stop.cancel();
    scene.flusher.join_next().await.unwrap().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
}

#[test]
fn what_waits_for_a_store_is_bounded() {
    let users = KEPT_ROWS as u64 + 1_000;
    let kept = Gathered::of((0..users).map(|user| ack(user, 2, 1)));
    assert_eq!(kept.rows, KEPT_ROWS);
    let logged: usize = kept.of_users.values().map(|it| it.1.len()).sum();
    assert!(logged > KEPT_ROWS / 5 && logged <= KEPT_ROWS / 2, "{logged}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_is_asked_once_for_what_was_gathered() {
    let scene = Scene::new(5_000, usize::MAX);
    scene.burst(8_000).await;
    assert_eq!(scene.calls().await.len(), 1);
}
