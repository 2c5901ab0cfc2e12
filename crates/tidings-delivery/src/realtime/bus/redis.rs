//! The bus over Redis or Valkey.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{PushInfo, PushKind, RedisError, Value};
use tidings_core::{
    batch::AppendedEvent,
    error_chain::ErrorChain,
    ids::UserId,
    ports::{Attendance, NotificationStore, RealtimeBus, SessionHint},
    retry::{RetryDecision, RetryPolicy},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        pool::ConnectionPool,
        protocol::{EventFrames, splice},
    },
    health::BusHealthHandle,
    items::{
        Item, Items, Message, RunId, heartbeat, put_attendance, put_doubt, put_hint,
        put_notifications, put_present, put_row,
    },
    link::{Connector, Link, RedisBusError},
    outbox::Outbox,
    peers::{Heard, Peers, Silence},
    repair::{RepairOrders, RepairRate, Repairer},
    shard::{SHARDS, ShardIndex, ShardSet, UserHash},
};

/// Bytes that are said at a time, before the server's answer is waited for.
const SAY_BYTES: usize = 1 << 20;
/// Recipients of one event go into items of about so many bytes.
const ROWS_BYTES: usize = 16 << 10;
/// An event with more text than this is not said: sessions are told to look into the store.
const TAIL_BYTES: usize = 128 << 10;
/// Shards whose users are told at a heartbeat when someone new listens.
const PRESENT_SHARDS: usize = 8;
/// How often silence is looked for.
const WATCH: Duration = Duration::from_millis(50);
/// A connection on which a node does not hear itself for so many heartbeats is made again.
const DEAF_BEATS: u32 = 20;
/// A connection that fails is made again after so long.
const RECONNECT: RetryPolicy = RetryPolicy { max_attempts: u32::MAX, base_ms: 50, cap_ms: 1_000 };

/// How nodes listen to each other, whatever carries it.
#[derive(Debug, Clone, Copy)]
pub struct BusConfig {
    /// From one heartbeat to the next. A node that is silent for three is doubted, for twelve gone.
    pub heartbeat: Duration,
    /// From one look into the store to the next, while the bus is down.
    pub poll: Duration,
    /// Inboxes that are looked into per second at most, while something may have been lost.
    pub repair_users_per_s: usize,
    /// Inboxes that are looked into with one query.
    pub repair_group: usize,
    /// Within this time each node has told all its users anew.
    pub presence_refresh: Duration,
    /// Users of other nodes that are remembered at most.
    pub presence_users_max: usize,
}

/// Where the bus is.
#[derive(Clone)]
pub struct RedisBusConfig {
    /// `redis://` or `rediss://`, with the password.
    pub url: String,
    /// What the channels' names begin with.
    pub prefix: String,
    /// Whether the server is a cluster, and the channels are spread over it.
    pub sharded: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may take to answer.
    pub answer_timeout: Duration,
    /// Bytes that may wait to be said.
    pub queue_bytes: usize,
}

struct Shared {
    run: RunId,
    outbox: Outbox,
    peers: Mutex<Peers>,
    health: BusHealthHandle,
    orders: RepairOrders,
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) -> bool {
        self.peers().is_up(Instant::now())
    }
}

/// The bus over Redis or Valkey, as the pool sees it.
pub struct RedisBus(Arc<Shared>);

/// Says and hears what is on the bus.
pub struct RedisBusWorker {
    shared: Arc<Shared>,
    connector: Connector,
    config: BusConfig,
    /// Of the shards, in their order; then that of the heartbeats.
    channels: Vec<String>,
    /// Shards whose users someone new has not been told.
    untold: AtomicU64,
}

impl RedisBus {
    /// A bus, and the worker that carries it. Connects when the worker runs.
    ///
    /// # Errors
    ///
    /// [`RedisBusError`] for a URL that is not one.
    pub fn new(
        config: BusConfig,
        redis: &RedisBusConfig,
    ) -> Result<(Self, RedisBusWorker), RedisBusError> {
        let run = RunId(rand::random());
        let silence = Silence { doubt: config.heartbeat * 3, gone: config.heartbeat * 12 };
        let shared = Arc::new(Shared {
            run,
            outbox: Outbox::new(run, redis.queue_bytes),
            peers: Mutex::new(Peers::new(run, silence, config.presence_users_max)),
            health: BusHealthHandle::default(),
            orders: RepairOrders::default(),
        });
        let RedisBusConfig { url, sharded, connect_timeout, answer_timeout, .. } = redis;
        let connector = Connector::new(url, *sharded, *connect_timeout, *answer_timeout)?;
        let prefix = &redis.prefix;
        let mut channels: Vec<_> =
            (0..SHARDS).map(|shard| format!("{prefix}:live:{shard}")).collect();
        channels.push(format!("{prefix}:live:heartbeat"));
        let worker = RedisBusWorker {
            shared: Arc::clone(&shared),
            connector,
            config,
            channels,
            untold: AtomicU64::new(0),
        };
        Ok((Self(shared), worker))
    }
}

impl RealtimeBus for RedisBus {
    fn publish_notification(&self, appended: &AppendedEvent) {
        let Some(first) = appended.stored.first() else { return };
        let mut frames = EventFrames::new(appended);
        let tail = frames.tail(first.id, &first.user);
        if tail.len() > TAIL_BYTES {
            for stored in &appended.stored {
                self.publish_hint(&stored.user, &SessionHint::Look);
            }
            return;
        }
        let say = |shard: ShardIndex, count: u64, rows: &[u8]| {
            self.0.outbox.put(shard, |out| {
                put_notifications(out, appended.created_at, tail, (count, rows));
            });
        };
        let mut gathered: [(u64, Vec<u8>); SHARDS] = std::array::from_fn(|_| Default::default());
        for stored in &appended.stored {
            let shard = UserHash::of(&stored.user).shard();
            let (count, rows) = &mut gathered[usize::from(shard.get())];
            put_row(rows, &stored.user, stored.id);
            *count += 1;
            if rows.len() >= ROWS_BYTES {
                say(shard, *count, rows);
                (*count, *rows) = (0, Vec::new());
            }
        }
        for (shard, (count, rows)) in ShardIndex::all().zip(&gathered) {
            if *count > 0 {
                say(shard, *count, rows);
            }
        }
        metrics::counter!("tidings_bus_published_total").increment(appended.stored.len() as u64);
    }

    fn publish_hint(&self, user: &UserId, hint: &SessionHint) {
        self.0.outbox.put(UserHash::of(user).shard(), |out| put_hint(out, user, hint));
        metrics::counter!("tidings_bus_published_total").increment(1);
    }

    fn prompt_all(&self) -> bool {
        for shard in ShardIndex::all() {
            self.0.outbox.put(shard, put_doubt);
        }
        // The node's own sessions, too.
        self.0.orders.add(ShardSet::ALL);
        true
    }

    fn announce(&self, user: &UserId, attendance: Attendance) {
        let user = UserHash::of(user);
        let online = attendance == Attendance::Came;
        self.0.outbox.put(user.shard(), |out| put_attendance(out, user, online));
    }

    fn is_online_elsewhere(&self, user: &UserId) -> bool {
        self.0.peers().is_online(UserHash::of(user))
    }
}

/// How a connection ends.
enum Ending {
    Stop,
    Lost(Option<RedisError>),
}

impl RedisBusWorker {
    /// Says how the bus is doing.
    #[must_use]
    pub fn health(&self) -> BusHealthHandle {
        self.shared.health.clone()
    }

    /// Carries the bus until `stop`, and says then what waits to be said. What was lost on the way is
    /// told to the sessions of `pool` from `store`.
    pub async fn run(
        self,
        pool: Arc<ConnectionPool>,
        store: Arc<dyn NotificationStore>,
        stop: CancellationToken,
    ) {
        let rate = RepairRate {
            users_per_s: self.config.repair_users_per_s,
            group: self.config.repair_group.max(1),
            poll: self.config.poll,
        };
        let shared = Arc::clone(&self.shared);
        let orders = &shared.orders;
        let repairer = Repairer::new(Arc::clone(&pool), store, rate);
        tokio::select! {
            () = self.keep_connected(&pool, orders, &stop) => {}
            () = repairer.run(orders, || self.shared.is_up()) => {}
            () = self.watch(orders) => {}
        }
    }

    async fn keep_connected(
        &self,
        pool: &ConnectionPool,
        orders: &RepairOrders,
        stop: &CancellationToken,
    ) {
        let mut attempt = 0;
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = self.connect() => connected,
            };
            let ending = match connected {
                Ok((link, heard)) => {
                    attempt = 0;
                    tracing::info!("the bus is connected");
                    let mends_itself = link.mends_itself();
                    tokio::select! {
                        ending = self.say(link, pool, stop) => ending,
                        () = self.hear(heard, mends_itself, pool, orders) => Ending::Lost(None),
                        () = self.until_deaf() => Ending::Lost(None),
                    }
                }
                Err(error) => Ending::Lost(Some(error)),
            };
            let error = match ending {
                Ending::Stop => return,
                Ending::Lost(error) => error,
            };
            let why = error.map_or_else(
                || "the connection was closed, or nothing came over it".to_owned(),
                |error| ErrorChain(&error).to_string(),
            );
            tracing::warn!(error = why, "the bus is not connected; live sessions are polled for");
            self.shared.health.note_error(why);
            metrics::counter!("tidings_bus_reconnects_total").increment(1);
            attempt += 1;
            let RetryDecision::After(wait) =
                RECONNECT.after_failure(attempt, None, rand::random::<f64>())
            else {
                return;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Connects and listens. What waited meanwhile is dropped: the others repair what they missed from
    /// the store, and what is old would only mislead them.
    async fn connect(&self) -> Result<(Link, mpsc::Receiver<PushInfo>), RedisError> {
        let (mut link, heard) = self.connector.connect().await?;
        self.shared.peers().forget_echo();
        // The heartbeats last: whoever hears its own, hears the shards.
        link.subscribe(&self.channels).await?;
        self.shared.outbox.clear();
        Ok((link, heard))
    }

    /// Says what waits, and the heartbeat.
    async fn say(&self, mut link: Link, pool: &ConnectionPool, stop: &CancellationToken) -> Ending {
        let mut beat = interval(self.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refreshed = ShardIndex::all().cycle();
        loop {
            let (is_beat, is_last) = tokio::select! {
                () = stop.cancelled() => (true, true),
                _ = beat.tick() => (true, false),
                () = self.shared.outbox.ready() => (false, false),
            };
            if is_beat && !is_last {
                self.tell_present(pool, &mut refreshed);
            }
            if let Err(error) = self.say_all(&mut link, is_beat, is_last).await {
                return Ending::Lost(Some(error));
            }
            if is_last {
                return Ending::Stop;
            }
        }
    }

    async fn say_all(
        &self,
        link: &mut Link,
        is_beat: bool,
        is_last: bool,
    ) -> Result<(), RedisError> {
        let outbox = &self.shared.outbox;
        loop {
            let messages = outbox.take(SAY_BYTES);
            if !messages.is_empty() {
                let started = Instant::now();
                let said: Vec<_> = messages.iter().map(|it| self.addressed(it)).collect();
                link.publish(&said).await?;
                metrics::counter!("tidings_bus_messages_total").increment(said.len() as u64);
                metrics::histogram!("tidings_bus_publish_seconds").record(started.elapsed());
            }
            let is_done = outbox.is_empty();
            if is_beat {
                // After what it counts, so that nobody misses what is on its way.
                let last_words = is_last && is_done;
                let beat = heartbeat(self.shared.run, last_words, &outbox.gone());
                link.publish(&[(&self.channels[SHARDS], &beat)]).await?;
            }
            if is_done {
                return Ok(());
            }
        }
    }

    fn addressed<'a>(&'a self, message: &'a super::outbox::Outgoing) -> (&'a str, &'a [u8]) {
        (&self.channels[usize::from(message.shard.get())], &message.bytes)
    }

    /// Tells the users of some shards: of those whose turn it is, and of some for who is new.
    fn tell_present(
        &self,
        pool: &ConnectionPool,
        refreshed: &mut impl Iterator<Item = ShardIndex>,
    ) {
        let beats =
            self.config.presence_refresh.as_millis() / self.config.heartbeat.as_millis().max(1);
        let turn = SHARDS.div_ceil(usize::try_from(beats).unwrap_or(usize::MAX).max(1));
        let mut due = ShardSet::NONE;
        refreshed.take(turn).for_each(|shard| due.insert(shard));
        let untold = ShardSet(self.untold.load(Ordering::Relaxed));
        untold.iter().take(PRESENT_SHARDS).for_each(|shard| due.insert(shard));
        self.untold.fetch_and(!due.0, Ordering::Relaxed);
        for shard in due.iter() {
            // While the shard is locked: who comes or leaves meanwhile is told after this.
            pool.with_users_of(shard, |users| {
                let users: Vec<_> = users.map(UserHash::of).collect();
                self.shared.outbox.put(shard, |out| put_present(out, &users));
            });
        }
    }

    /// Hears until the connection ends.
    async fn hear(
        &self,
        mut heard: mpsc::Receiver<PushInfo>,
        mends_itself: bool,
        pool: &ConnectionPool,
        orders: &RepairOrders,
    ) {
        while let Some(push) = heard.recv().await {
            match push.kind {
                PushKind::Message | PushKind::SMessage => {
                    if let Some(Value::BulkString(bytes)) = push.data.get(1) {
                        self.hear_message(bytes, pool, orders);
                    }
                }
                PushKind::Disconnection if !mends_itself => return,
                _ => {}
            }
        }
    }

    /// Waits until this node has long not heard itself: whatever the connection says, it is of no use.
    async fn until_deaf(&self) {
        let mut last_up = Instant::now();
        while last_up.elapsed() < self.config.heartbeat * DEAF_BEATS {
            tokio::time::sleep(self.config.heartbeat).await;
            if self.shared.is_up() {
                last_up = Instant::now();
            }
        }
    }

    fn hear_message(&self, bytes: &[u8], pool: &ConnectionPool, orders: &RepairOrders) {
        let now = Instant::now();
        let read = match Message::read(bytes) {
            Ok(Message::Shard { from, shard, number, items }) => {
                let heard = self.shared.peers().hear_message(from, shard, number, now);
                match heard {
                    Heard::Own => return,
                    Heard::Next => {}
                    Heard::AfterGap => {
                        note_gaps(ShardSet::only(shard), orders);
                    }
                }
                let heard = self.hear_items(from, shard, items, pool);
                if heard.is_err() {
                    // Its number counts as heard: what it says behind an item of another version is not.
                    note_gaps(ShardSet::only(shard), orders);
                }
                heard
            }
            Ok(Message::Heartbeat { from, last_words, numbers }) => {
                let told = {
                    let mut peers = self.shared.peers();
                    let told = peers.hear_heartbeat(from, &numbers, now);
                    if last_words {
                        peers.hear_last_words(from);
                    }
                    told
                };
                if told.is_new {
                    self.untold.store(ShardSet::ALL.0, Ordering::Relaxed);
                }
                note_gaps(told.gaps, orders);
                Ok(())
            }
            Err(unreadable) => {
                // Another version, whose numbers are not known: it may be about anyone.
                orders.add(ShardSet::ALL);
                Err(unreadable)
            }
        };
        if read.is_err() {
            metrics::counter!("tidings_bus_unreadable_total").increment(1);
        }
    }

    fn hear_items(
        &self,
        from: RunId,
        shard: ShardIndex,
        mut items: Items<'_>,
        pool: &ConnectionPool,
    ) -> Result<(), super::codec::Unreadable> {
        let mut count = 0;
        while let Some(item) = items.next()? {
            match item {
                Item::Notifications { created_at, tail, mut rows } => {
                    while let Some((user, id)) = rows.next()? {
                        count += 1;
                        pool.hear_notification(user, id, || splice(id, created_at, tail));
                    }
                }
                Item::Hint(user, hint) => {
                    count += 1;
                    pool.hear_hint(&user, &hint);
                }
                Item::Attendance { user, online } => {
                    self.shared.peers().set_online(from, user, online);
                }
                Item::Doubt => self.shared.orders.add(ShardSet::only(shard)),
                Item::Present(users) => self.shared.peers().set_present(from, shard, users),
            }
        }
        metrics::counter!("tidings_bus_received_total").increment(count);
        Ok(())
    }

    /// Looks for silence: of other nodes, and of the bus. Never ends.
    async fn watch(&self, orders: &RepairOrders) {
        let mut was_up = false;
        let mut watch = interval(WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = watch.tick().await.max(Instant::now());
            let (in_doubt, is_up) = {
                let mut peers = self.shared.peers();
                metrics::gauge!("tidings_bus_nodes").set(peers.len() as f64);
                metrics::gauge!("tidings_bus_users_elsewhere").set(peers.users() as f64);
                (peers.lapse(now), peers.is_up(now))
            };
            if in_doubt || is_up != was_up {
                orders.add(ShardSet::ALL);
            }
            self.shared.health.set_up(is_up);
            was_up = is_up;
        }
    }
}

fn note_gaps(gaps: ShardSet, orders: &RepairOrders) {
    if !gaps.is_empty() {
        metrics::counter!("tidings_bus_gaps_total").increment(gaps.iter().count() as u64);
        orders.add(gaps);
    }
}
