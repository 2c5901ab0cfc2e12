//! Opening, closing, and the port.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    follow::{
        self, Block, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide, Neighbours,
    },
    ids::{GraphId, UserId},
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use super::{
    config::EmbeddedGraphConfig,
    cursor::{self, ListKind, Owner},
    disk::Disk,
    erase::Erasure,
    error::{GraphOpenError, HalfChanged, unavailable},
    group::Command,
    identity,
    index::{EdgeKind, GraphMemory, Index, UserNumber},
    intersect::{Intersection, Relation},
    list_view::Reached,
    lock::DirectoryLock,
    most_followed::MostFollowed,
    pages::{Place, Reach},
    writer::Writer,
};

/// Items on one page, whatever the caller asks for.
const PAGE_ITEMS: usize = 10_000;
/// Entries that are looked at under one lock: the writer, and the readers behind it, wait for that.
const SLICE_WORK: usize = 1_024;
/// Entries that are looked at for one page of a list that has to be searched for: about a millisecond.
const PAGE_WORK: usize = 1 << 20;
/// How often the index is locked for one page of an export, which may be short then.
const EXPORT_SLICES: usize = 256;
/// Users whose edges are looked for under one lock, for an export.
const SLICE_USERS: usize = 1_024;
/// Steps of an erasure in a row that may neither remove anything nor come further: others who share their
/// commits take out the same edges.
const IDLE_ERASURES: u32 = 64;

/// The embedded follow graph: an index in memory over a durable store on disk.
///
/// What a method that writes has answered survives `kill -9` and power loss, and is visible to
/// every read that begins after the answer. A method whose future is dropped may or may not take
/// effect, as with any lost answer. Reads never touch the disk.
///
/// End it with [`EmbeddedGraphStore::close`]. Dropping it instead does the same, but blocks the
/// thread that drops it while the writer finishes what is queued.
pub struct EmbeddedGraphStore {
    id: GraphId,
    index: Arc<RwLock<Index>>,
    writer: Writer,
    import_edges: usize,
}

impl fmt::Debug for EmbeddedGraphStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedGraphStore").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl EmbeddedGraphStore {
    /// Opens the directory, makes it if need be, and reads the whole graph. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`GraphOpenError::InUse`] if it is open elsewhere, [`GraphOpenError::Unreadable`],
    /// [`GraphOpenError::Damaged`] or [`GraphOpenError::Lost`] if it does not hold all that was
    /// acknowledged, and what else [`GraphOpenError`] lists.
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is made for one store")]
    pub fn open(config: EmbeddedGraphConfig) -> Result<Self, GraphOpenError> {
        let started = Instant::now();
        let lock = DirectoryLock::take(&config.path)?;
        let (disk, index) = Disk::open(&config)?;
        let id = identity::load_or_make(&config.path)?;
        let GraphStats { users, follows, blocks, mutes } = index.stats();
        tracing::info!(
            graph = %id,
            path = %config.path.display(),
            users,
            follows,
            blocks,
            mutes,
            took_ms = started.elapsed().as_millis(),
            "the graph is open"
        );
        let index = Arc::new(RwLock::new(index));
        let writer = Writer::start(disk, Arc::clone(&index), lock, &config)
            .map_err(|source| GraphOpenError::Thread { source })?;
        Ok(Self { id, index, writer, import_edges: config.commit_edges.max(1) })
    }

    /// Finishes what is queued, refuses what comes after, and closes the store; when this returns,
    /// another process may open the directory. Closing twice is fine. Reads go on.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// What the graph takes in memory. It is counted while the writer waits, a few milliseconds.
    pub fn memory(&self) -> GraphMemory {
        self.index.read().unwrap_or_else(PoisonError::into_inner).memory()
    }

    async fn add(
        &self,
        kind: EdgeKind,
        source: &UserId,
        target: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let [source, target] = [source, target].map(UserId::clone);
        Ok(self.writer.run(Command::Add { kind, source, target, at }).await? > 0)
    }

    async fn remove(
        &self,
        kind: EdgeKind,
        source: &UserId,
        target: &UserId,
    ) -> Result<bool, GraphError> {
        let [source, target] = [source, target].map(UserId::clone);
        Ok(self.writer.run(Command::Remove { kind, source, target }).await? > 0)
    }

    pub(super) fn read(&self, op: &'static str) -> Result<RwLockReadGuard<'_, Index>, GraphError> {
        self.index.read().map_err(|_| unavailable(op, HalfChanged))
    }

    /// Reads one page of a list, a slice at a time, so that nobody waits for a long page.
    fn page<T>(
        &self,
        list: List<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
        mut walk: impl FnMut(&Index, (UserNumber, &UserId), Reach, &mut Vec<T>) -> Reached,
    ) -> Result<Page<T>, GraphError> {
        let List { op, kind, owner } = list;
        let (Owner::One(user) | Owner::Pair(user, _)) = owner;
        let mut before = match cursor {
            Some(cursor) => cursor::decode(kind, owner, cursor)?,
            None => u64::MAX,
        };
        let most = limit.min(PAGE_ITEMS);
        let mut items = Vec::new();
        let mut work = 0;
        let end = loop {
            let index = self.read(op)?;
            let Some(number) = index.user(user) else { break true };
            let reach = Reach { before, items: most - items.len(), work: SLICE_WORK };
            let reached = walk(&index, (number, user), reach, &mut items);
            before = reached.before;
            work += reached.work;
            if reached.end || items.len() >= most || work >= PAGE_WORK {
                break reached.end;
            }
        };
        let next = if end { None } else { Some(cursor::encode(kind, owner, before)) };
        Ok(Page { items, next })
    }
}

impl EmbeddedGraphStore {
    /// Reads one page of those whom the owner follows and who are related to somebody; to whom is not
    /// known where that one is not.
    fn related(
        &self,
        list: List<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
        relation: impl Fn(&Index) -> Option<Relation>,
    ) -> Result<Page<UserId>, GraphError> {
        let mut intersection = Intersection::default();
        self.page(list, cursor, limit, |index, (user, _), reach, found| match relation(index) {
            Some(relation) => intersection.walk(index, user, relation, reach, found),
            None => Reached::NOTHING,
        })
    }
}

/// Which list a page is read from, and for which operation.
#[derive(Clone, Copy)]
struct List<'a> {
    op: &'static str,
    kind: ListKind,
    owner: Owner<'a>,
}

#[async_trait]
impl SocialGraphStore for EmbeddedGraphStore {
    fn id(&self) -> GraphId {
        self.id
    }

    async fn add_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        if follower == followee {
            return Err(GraphError::SelfFollow);
        }
        self.add(EdgeKind::Follow, follower, followee, at).await
    }

    async fn import_edges(&self, edges: Vec<follow::Edge>) -> Result<u64, GraphError> {
        let mut edges = edges.into_iter();
        let mut new = 0;
        while edges.len() > 0 {
            let piece = edges.by_ref().take(self.import_edges).collect();
            new += self.writer.run(Command::Import(piece)).await?;
        }
        Ok(new)
    }

    async fn export_edges(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<follow::Edge>, GraphError> {
        let mut place = cursor.map_or(Ok(Place::START), Place::decode)?;
        let most = limit.min(PAGE_ITEMS);
        let mut items = Vec::new();
        for _ in 0..EXPORT_SLICES {
            let index = self.read("export_edges")?;
            let wanted = (most - items.len()).min(SLICE_WORK);
            let (edges, next) = index.edges_from(place, wanted, SLICE_USERS);
            items.extend(edges.iter().map(|edge| index.named(edge)));
            let Some(next) = next else { return Ok(Page { items, next: None }) };
            place = next;
            if items.len() >= most {
                break;
            }
        }
        Ok(Page { items, next: Some(place.encode()) })
    }

    async fn erase_user(&self, user: &UserId) -> Result<u64, GraphError> {
        let (mut gone, mut idle, mut erasure) = (0, 0, Erasure::Begun);
        while erasure != Erasure::Done && idle < IDLE_ERASURES {
            let done = self.writer.erase(user.clone(), erasure).await?;
            gone += done.edges;
            // Who shares a commit with another that removes the same edges removes none, and is not done.
            let is_idle = done.edges == 0 && done.erasure == erasure;
            idle = if is_idle { idle + 1 } else { 0 };
            erasure = done.erasure;
        }
        Ok(gone)
    }

    async fn stats(&self) -> Result<GraphStats, GraphError> {
        Ok(self.read("stats")?.stats())
    }

    async fn remove_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
    ) -> Result<bool, GraphError> {
        self.remove(EdgeKind::Follow, follower, followee).await
    }

    async fn get_followers(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let list = List { op: "get_followers", kind: ListKind::Followers, owner: Owner::One(user) };
        self.page(list, cursor, limit, Index::walk_followers)
    }

    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let list = List { op: "get_following", kind: ListKind::Following, owner: Owner::One(user) };
        self.page(list, cursor, limit, Index::walk_following)
    }

    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let list =
            List { op: "get_mutual_follows", kind: ListKind::Mutual, owner: Owner::One(user) };
        self.related(list, cursor, limit, |index| index.user(user).map(Relation::FollowersOf))
    }

    async fn get_common_follows(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let owner = Owner::Pair(user, other);
        let list = List { op: "get_common_follows", kind: ListKind::Common, owner };
        self.related(list, cursor, limit, |index| index.user(other).map(Relation::FollowedBy))
    }

    async fn get_followers_you_know(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let owner = Owner::Pair(user, other);
        let list = List { op: "get_followers_you_know", kind: ListKind::Known, owner };
        self.related(list, cursor, limit, |index| index.user(other).map(Relation::FollowersOf))
    }

    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError> {
        let index = self.read("is_following")?;
        let (Some(follower), Some(followee)) = (index.user(follower), index.user(followee)) else {
            return Ok(false);
        };
        Ok(index.is_following(follower, followee))
    }

    async fn are_following(
        &self,
        follower: &UserId,
        followees: &[UserId],
    ) -> Result<Vec<bool>, GraphError> {
        let mut answers = Vec::with_capacity(followees.len());
        for followees in followees.chunks(SLICE_WORK) {
            let index = self.read("are_following")?;
            let follower = index.user(follower);
            answers.extend(followees.iter().map(|it| {
                let ends = follower.zip(index.user(it));
                ends.is_some_and(|(a, b)| index.is_following(a, b))
            }));
        }
        Ok(answers)
    }

    async fn get_neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        let most = most.min(PAGE_ITEMS);
        let mut answers = Vec::with_capacity(users.len());
        for user in users {
            let index = self.read("get_neighbours")?;
            let neighbours = index.user(user).map(|it| index.neighbours(it, side.into(), most));
            answers.push(neighbours.unwrap_or_default());
        }
        Ok(answers)
    }

    async fn get_most_followed(&self, most: usize) -> Result<Vec<(UserId, u64)>, GraphError> {
        let mut found = MostFollowed::new(most.min(PAGE_ITEMS));
        let mut next = Some(0);
        while let Some(from) = next {
            let index = self.read("get_most_followed")?;
            next = index.find_most_followed(from, SLICE_USERS, &mut found);
        }
        let index = self.read("get_most_followed")?;
        let named = |(total, user)| index.ids().text(user).map(|_| (index.id(user), total));
        Ok(found.into_sorted().into_iter().filter_map(named).collect())
    }

    async fn counts(&self, user: &UserId) -> Result<FollowCounts, GraphError> {
        let index = self.read("counts")?;
        Ok(index.user(user).map(|user| index.counts(user)).unwrap_or_default())
    }

    async fn add_block(
        &self,
        blocker: &UserId,
        blocked: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        if blocker == blocked {
            return Err(GraphError::SelfBlock);
        }
        self.add(EdgeKind::Block, blocker, blocked, at).await
    }

    async fn remove_block(&self, blocker: &UserId, blocked: &UserId) -> Result<bool, GraphError> {
        self.remove(EdgeKind::Block, blocker, blocked).await
    }

    async fn add_mute(
        &self,
        muter: &UserId,
        muted: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        if muter == muted {
            return Err(GraphError::SelfMute);
        }
        self.add(EdgeKind::Mute, muter, muted, at).await
    }

    async fn remove_mute(&self, muter: &UserId, muted: &UserId) -> Result<bool, GraphError> {
        self.remove(EdgeKind::Mute, muter, muted).await
    }

    async fn list_blocks(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Block>, GraphError> {
        let list = List { op: "list_blocks", kind: ListKind::Blocks, owner: Owner::One(user) };
        self.page(list, cursor, limit, Index::walk_blocks)
    }

    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError> {
        let list = List { op: "list_mutes", kind: ListKind::Mutes, owner: Owner::One(user) };
        self.page(list, cursor, limit, Index::walk_mutes)
    }

    /// Takes at most four lookups for an actor with neither blocks nor mutes, and allocates nothing
    /// of its own.
    async fn hidden_from(&self, actor: &UserId, users: &[UserId]) -> Result<Hidden, GraphError> {
        let Some(actor) = self.read("hidden_from")?.find_averted(actor) else {
            return Ok(Hidden::Nobody);
        };
        let mut answers = Vec::with_capacity(users.len());
        for users in users.chunks(SLICE_WORK) {
            let index = self.read("hidden_from")?;
            let is_hidden = |user| index.user(user).is_some_and(|it| index.is_hidden(actor, it));
            answers.extend(users.iter().map(is_hidden));
        }
        Ok(Hidden::gather(answers))
    }

    async fn check(&self) -> Result<(), GraphError> {
        drop(self.read("check")?);
        self.writer.run(Command::Check).await?;
        Ok(())
    }
}
