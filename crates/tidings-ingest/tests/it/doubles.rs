//! A store, a graph and live sessions in one, which record, wait and fail as told.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, StoredNotification},
    clock::Timestamp,
    dead_letter::NewDeadLetter,
    fan_out::{FanOut, FanOutBacklog, FanOutId, FanOutsLeft},
    follow::{
        Block, Edge, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide, Neighbours,
    },
    ids::{GraphId, InboxNumber, NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxState, Mark, Selection},
    notification::Notification,
    ports::{
        Claim, Cursor, FanOutStore, GraphError, LiveNotifications, NotificationStore, Page,
        Presence, SocialGraphStore, StoreError,
    },
};
use tidings_ingest::Intake;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    Store,
    /// The next append is committed, and its answer is lost.
    Answer,
    Graph,
    /// What the graph holds cannot be read, now or later.
    CorruptGraph,
}

#[derive(Default)]
struct State {
    batches: Vec<Vec<UserId>>,
    seen: HashSet<(String, UserId)>,
    seqs: HashMap<UserId, u64>,
    /// How cursors are spelt.
    spelling: u32,
    followers: usize,
    /// Of users who have not as many as all others.
    followers_of: HashMap<String, usize>,
    fault: Fault,
    broadcasts: usize,
    /// Users whose sessions were asked to look into the store.
    prompted: Vec<UserId>,
    prompted_all: usize,
    wakes: usize,
    /// Events that are refused, whatever comes with them.
    refused: HashSet<String>,
    /// Users whose notifications are.
    refused_users: HashSet<UserId>,
    refuses_letters: bool,
    letters: Vec<NewDeadLetter>,
    /// What others have taken over.
    taken: Vec<Claim>,
    /// Users who have turned the actor away.
    hidden: HashSet<UserId>,
    fan_outs: Vec<Job>,
    claims: usize,
    /// How often followers were read.
    pages_read: usize,
    edge_calls: u64,
    edge_changes: Vec<String>,
    /// The events of fan-outs, in the order in which these ended.
    ended: Vec<String>,
}

/// A fan-out, as the store keeps it.
struct Job {
    fan_out: FanOut,
    graph: GraphId,
    leased_until: Timestamp,
    done: bool,
}

pub(crate) struct Recorder {
    graph: GraphId,
    state: Mutex<State>,
    held: watch::Sender<bool>,
    /// Whether an append waits for [`Self::release`].
    waiting: watch::Sender<bool>,
    /// Appends that have begun and are not through [`Self::hold`].
    appending: watch::Sender<usize>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::of_graph(GraphId(1))
    }
}

impl Recorder {
    /// One whose graph has this id.
    pub(crate) fn of_graph(graph: GraphId) -> Self {
        Self {
            graph,
            state: Mutex::default(),
            held: watch::Sender::new(false),
            waiting: watch::Sender::new(false),
            appending: watch::Sender::new(0),
        }
    }

    /// How often all sessions were told to look.
    pub(crate) fn prompted_all(&self) -> usize {
        self.state().prompted_all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.state().fault = fault;
    }

    pub(crate) fn set_followers(&self, followers: usize) {
        self.state().followers = followers;
    }

    /// Refuses the cursors that were given until now, as a graph of another format does.
    pub(crate) fn spell_cursors_anew(&self) {
        self.state().spelling += 1;
    }

    pub(crate) fn set_followers_of(&self, followee: &str, followers: usize) {
        self.state().followers_of.insert(followee.to_owned(), followers);
    }

    pub(crate) fn refuse(&self, event: &str) {
        self.state().refused.insert(event.to_owned());
    }

    pub(crate) fn refuse_users(&self, users: &[&str]) {
        let users = users.iter().map(|user| UserId::new(user).unwrap());
        self.state().refused_users.extend(users);
    }

    pub(crate) fn refuse_letters(&self) {
        self.state().refuses_letters = true;
    }

    /// The dead letters that came with batches.
    pub(crate) fn letters(&self) -> Vec<NewDeadLetter> {
        self.state().letters.clone()
    }

    pub(crate) fn take_over(&self, claim: Claim) {
        self.state().taken.push(claim);
    }

    pub(crate) fn hide(&self, user: &str) {
        self.state().hidden.insert(UserId::new(user).unwrap());
    }

    /// Fan-outs that have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.state().fan_outs.iter().filter(|job| !job.done).count()
    }

    /// The events of fan-outs, in the order in which these ended.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.state().ended.clone()
    }

    pub(crate) fn pages_read(&self) -> usize {
        self.state().pages_read
    }

    /// How often fan-outs were claimed.
    pub(crate) fn claims(&self) -> usize {
        self.state().claims
    }

    /// Ends all leases.
    pub(crate) fn end_leases(&self) {
        for job in &mut self.state().fan_outs {
            job.leased_until = Timestamp::from_millis(0);
        }
    }

    pub(crate) async fn wait_until_holding(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting).await.unwrap();
    }

    /// Waits until so many appends run at once.
    pub(crate) async fn wait_until_appending(&self, appends: usize) {
        let mut appending = self.appending.subscribe();
        let reached = appending.wait_for(|appending| *appending >= appends);
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap().unwrap();
    }

    /// Appends that run now.
    pub(crate) fn appending(&self) -> usize {
        *self.appending.borrow()
    }

    /// Waits until `jobs` jobs are in the pipeline: one in the held transaction, the rest queued.
    pub(crate) async fn wait_for_queue(&self, intake: &Intake, jobs: usize) {
        self.wait_until_holding().await;
        while intake.waiting_jobs() < jobs {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn batches(&self) -> Vec<Vec<UserId>> {
        self.state().batches.clone()
    }

    pub(crate) fn broadcasts(&self) -> usize {
        self.state().broadcasts
    }

    /// Users whose sessions were asked to look into the store.
    pub(crate) fn prompted(&self) -> Vec<String> {
        self.state().prompted.iter().map(UserId::to_string).collect()
    }

    pub(crate) fn wakes(&self) -> usize {
        self.state().wakes
    }

    pub(crate) fn count_wake(&self) {
        self.state().wakes += 1;
    }
}

impl State {
    fn refuses(&self, batch: &NotificationBatch) -> bool {
        let mut recipients = batch.events().iter().flat_map(|it| &it.recipients);
        batch.events().iter().any(|it| self.refused.contains(it.event.id.as_str()))
            || recipients.any(|it| self.refused_users.contains(&it.user))
            || (self.refuses_letters && !batch.dead_letters().is_empty())
    }

    fn lost_claims(&self, batch: &NotificationBatch) -> Vec<Claim> {
        let partitions = batch.advances().iter().map(|it| Claim::Partition(it.partition.clone()));
        let mut lost: Vec<_> = partitions.filter(|claim| self.taken.contains(claim)).collect();
        let steps = batch.fan_out_steps().iter();
        lost.extend(
            steps
                .filter(|step| {
                    self.fan_outs[usize::try_from(step.id.0).unwrap()].fan_out.steps != step.steps
                })
                .map(|step| Claim::FanOut(step.id)),
        );
        lost
    }
}

#[async_trait]
impl FanOutStore for Recorder {
    async fn claim_fan_outs(
        &self,
        graph: GraphId,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<FanOut>, StoreError> {
        let mut state = self.state();
        state.claims += 1;
        let free = |job: &&mut Job| !job.done && job.graph == graph && job.leased_until <= now;
        let mut free: Vec<_> = state.fan_outs.iter_mut().filter(free).collect();
        free.sort_by_key(|job| (job.leased_until.max(job.fan_out.began_at), job.leased_until));
        free.truncate(limit);
        for job in &mut free {
            job.leased_until = now.after(lease);
        }
        Ok(free.into_iter().map(|job| job.fan_out.clone()).collect())
    }

    async fn fan_out_backlog(&self, graph: GraphId) -> Result<FanOutBacklog, StoreError> {
        let state = self.state();
        let unfinished = |here: bool| {
            let jobs = state.fan_outs.iter();
            let left = jobs.filter(|job| !job.done && (job.graph == graph) == here).count();
            FanOutsLeft { unfinished: left as u64, oldest: None }
        };
        Ok(FanOutBacklog { here: unfinished(true), elsewhere: unfinished(false) })
    }
}

fn gone<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable { op: "append", backend: "double", source: "told to fail".into() })
}

#[async_trait]
impl NotificationStore for Recorder {
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        self.waiting.send_replace(*self.held.borrow());
        self.appending.send_modify(|appending| *appending += 1);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        self.appending.send_modify(|appending| *appending -= 1);
        self.waiting.send_replace(false);
        let mut state = self.state();
        if state.fault == Fault::Store {
            return gone();
        }
        if state.refuses(&batch) {
            let (op, backend, source) = ("append", "double", "told to refuse".into());
            return Err(StoreError::Refused { op, backend, source });
        }
        let claims = state.lost_claims(&batch);
        if !claims.is_empty() {
            return Err(StoreError::Fenced { claims });
        }
        let mut rows = Vec::new();
        let mut appended = Vec::new();
        for planned in batch.events() {
            let mut stored = Vec::new();
            for recipient in &planned.recipients {
                let user = recipient.user.clone();
                rows.push(user.clone());
                if !state.seen.insert((planned.event.id.to_string(), user.clone())) {
                    continue;
                }
                let seq = state.seqs.entry(user.clone()).or_default();
                *seq += 1;
                let id = NotificationId { inbox: InboxNumber(1), seq: Seq(*seq) };
                stored.push(StoredNotification { user, id });
            }
            let duplicates = planned.recipients.len() - stored.len();
            let event = planned.event.clone();
            let fans_out = planned.fan_out.is_some();
            if let Some(new) = &planned.fan_out {
                let id = FanOutId(state.fan_outs.len() as u64);
                let fan_out = FanOut {
                    id,
                    event: event.clone(),
                    followee: new.followee.clone(),
                    cursor: new.cursor.clone(),
                    steps: 0,
                    began_at: now,
                };
                let leased_until = Timestamp::from_millis(0);
                state.fan_outs.push(Job { fan_out, graph: new.graph, leased_until, done: false });
            }
            appended.push(AppendedEvent { event, created_at: now, stored, duplicates, fans_out });
        }
        for step in batch.fan_out_steps() {
            let job = &mut state.fan_outs[usize::try_from(step.id.0).unwrap()];
            job.fan_out.steps += 1;
            job.leased_until = step.leased_until;
            match &step.next {
                Some(next) => job.fan_out.cursor = next.clone(),
                None => {
                    job.done = true;
                    let ended = job.fan_out.event.id.to_string();
                    state.ended.push(ended);
                }
            }
        }
        state.letters.extend_from_slice(batch.dead_letters());
        state.batches.push(rows);
        if state.fault == Fault::Answer {
            state.fault = Fault::None;
            return gone();
        }
        Ok(appended)
    }

    async fn inbox(&self, _: &UserId) -> Result<InboxState, StoreError> {
        gone()
    }

    async fn list_after(
        &self,
        _: &UserId,
        _: Seq,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        gone()
    }

    async fn list_newest(
        &self,
        _: &UserId,
        _: Option<Seq>,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        gone()
    }

    async fn find(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        gone()
    }

    async fn mark(
        &self,
        _: &UserId,
        _: Mark,
        _: Selection,
        _: Timestamp,
    ) -> Result<InboxState, StoreError> {
        gone()
    }

    async fn acknowledge(&self, _: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        gone()
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.state().fault == Fault::Store { gone() } else { Ok(()) }
    }
}

fn no_graph<T>() -> Result<T, GraphError> {
    Err(GraphError::Unavailable { op: "read", backend: "double", source: "told to fail".into() })
}

impl Recorder {
    /// Takes the longer, the earlier it is called: whoever does not wait for another overtakes it.
    async fn change_edge(&self, change: &str) -> Result<bool, GraphError> {
        let called = {
            let mut state = self.state();
            state.edge_calls += 1;
            state.edge_calls
        };
        tokio::time::sleep(Duration::from_millis(60_u64.saturating_sub(called))).await;
        let mut state = self.state();
        match state.fault {
            Fault::Graph => return no_graph(),
            Fault::CorruptGraph => {
                let source = "told to be corrupt".into();
                return Err(GraphError::Corrupt { backend: "double", what: "follow", source });
            }
            _ => state.edge_changes.push(change.to_owned()),
        }
        Ok(true)
    }

    /// What was done to edges, in its order.
    pub(crate) fn edge_changes(&self) -> Vec<String> {
        self.state().edge_changes.clone()
    }
}

#[async_trait]
impl SocialGraphStore for Recorder {
    fn id(&self) -> GraphId {
        self.graph
    }

    async fn get_followers(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let mut state = self.state();
        state.pages_read += 1;
        if state.fault == Fault::Graph {
            return no_graph();
        }
        if state.fault == Fault::CorruptGraph {
            let source = "told to be corrupt".into();
            return Err(GraphError::Corrupt { backend: "double", what: "follow", source });
        }
        let from = match cursor.map(|cursor| cursor.as_str().split_once('-').unwrap()) {
            None => 0,
            Some((spelling, from)) if spelling == state.spelling.to_string() => {
                from.parse().unwrap()
            }
            Some(_) => return Err(GraphError::BadCursor),
        };
        let followers = *state.followers_of.get(user.as_str()).unwrap_or(&state.followers);
        let to = (from + limit).min(followers);
        let items = (from..to).map(|n| Follow {
            follower: UserId::new(&format!("f{n}")).unwrap(),
            followee: user.clone(),
            at: Timestamp::from_millis(0),
        });
        let next = format!("{}-{to}", state.spelling);
        let next = (to < followers).then(|| Cursor::new(next).unwrap());
        Ok(Page { items: items.collect(), next })
    }

    async fn add_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        self.change_edge(&format!("{follower} follows {followee} at {}", at.as_millis())).await
    }

    async fn import_edges(&self, _: Vec<Edge>) -> Result<u64, GraphError> {
        no_graph()
    }

    async fn export_edges(&self, _: Option<&Cursor>, _: usize) -> Result<Page<Edge>, GraphError> {
        no_graph()
    }

    async fn erase_user(&self, _: &UserId) -> Result<u64, GraphError> {
        no_graph()
    }

    async fn stats(&self) -> Result<GraphStats, GraphError> {
        no_graph()
    }

    async fn get_common_follows(
        &self,
        _: &UserId,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<UserId>, GraphError> {
        no_graph()
    }

    async fn get_followers_you_know(
        &self,
        _: &UserId,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<UserId>, GraphError> {
        no_graph()
    }

    async fn are_following(&self, _: &UserId, _: &[UserId]) -> Result<Vec<bool>, GraphError> {
        no_graph()
    }

    async fn remove_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
    ) -> Result<bool, GraphError> {
        self.change_edge(&format!("{follower} leaves {followee}")).await
    }

    async fn get_following(
        &self,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<Follow>, GraphError> {
        no_graph()
    }

    async fn get_mutual_follows(
        &self,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<UserId>, GraphError> {
        no_graph()
    }

    async fn is_following(&self, _: &UserId, _: &UserId) -> Result<bool, GraphError> {
        no_graph()
    }

    async fn get_neighbours(
        &self,
        _: &[UserId],
        _: NeighbourSide,
        _: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        no_graph()
    }

    async fn get_most_followed(&self, _: usize) -> Result<Vec<(UserId, u64)>, GraphError> {
        no_graph()
    }

    async fn counts(&self, _: &UserId) -> Result<FollowCounts, GraphError> {
        no_graph()
    }

    async fn add_block(&self, _: &UserId, _: &UserId, _: Timestamp) -> Result<bool, GraphError> {
        no_graph()
    }

    async fn remove_block(&self, _: &UserId, _: &UserId) -> Result<bool, GraphError> {
        no_graph()
    }

    async fn add_mute(&self, _: &UserId, _: &UserId, _: Timestamp) -> Result<bool, GraphError> {
        no_graph()
    }

    async fn remove_mute(&self, _: &UserId, _: &UserId) -> Result<bool, GraphError> {
        no_graph()
    }

    async fn list_blocks(
        &self,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<Block>, GraphError> {
        no_graph()
    }

    async fn list_mutes(
        &self,
        _: &UserId,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<Mute>, GraphError> {
        no_graph()
    }

    async fn hidden_from(&self, _: &UserId, users: &[UserId]) -> Result<Hidden, GraphError> {
        let state = self.state();
        if state.fault == Fault::Graph {
            return no_graph();
        }
        Ok(Hidden::gather(users.iter().map(|user| state.hidden.contains(user)).collect()))
    }

    async fn check(&self) -> Result<(), GraphError> {
        no_graph()
    }
}

impl LiveNotifications for Recorder {
    fn broadcast_notification(&self, appended: &AppendedEvent) {
        self.state().broadcasts += appended.stored.len();
    }

    fn prompt_look(&self, user: &UserId) {
        self.state().prompted.push(user.clone());
    }

    fn prompt_all(&self) {
        self.state().prompted_all += 1;
    }
}

impl Presence for Recorder {
    fn is_online(&self, _: &UserId) -> bool {
        false
    }
}
