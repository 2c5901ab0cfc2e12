//! Opening, closing, and the port.

use std::{
    fmt,
    sync::{Arc, RwLock, RwLockReadGuard},
    time::Instant,
};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    follow::{Block, Follow, FollowCounts, Hidden, Mute},
    ids::{GraphId, UserId},
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use super::{
    config::EmbeddedGraphConfig,
    cursor::{self, ListKind},
    disk::Disk,
    error::{GraphOpenError, HalfChanged, unavailable},
    group::Command,
    identity,
    index::{EdgeKind, Index, Reach, Reached, UserNumber},
    lock::DirectoryLock,
    writer::Writer,
};

/// Items on one page, whatever the caller asks for.
const PAGE_ITEMS: usize = 10_000;
/// Entries that are looked at under one lock: the writer, and the readers behind it, wait for that.
const SLICE_WORK: usize = 1_024;
/// Entries that are looked at for one page of mutual follows: about a millisecond.
const MUTUAL_WORK: usize = 1 << 20;

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
        tracing::info!(
            graph = %id,
            path = %config.path.display(),
            users = index.users(),
            follows = index.follows(),
            blocks = index.blocks(),
            mutes = index.mutes(),
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

    fn read(&self, op: &'static str) -> Result<RwLockReadGuard<'_, Index>, GraphError> {
        self.index.read().map_err(|_| unavailable(op, HalfChanged))
    }

    /// Reads one page of a list, a slice at a time, so that nobody waits for a long page.
    fn page<T>(
        &self,
        list: List<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
        walk: impl Fn(&Index, UserNumber, Reach, &mut Vec<T>) -> Reached,
    ) -> Result<Page<T>, GraphError> {
        let List { op, kind, user } = list;
        let mut before = match cursor {
            Some(cursor) => cursor::decode(kind, user, cursor)?,
            None => u64::MAX,
        };
        let most = limit.min(PAGE_ITEMS);
        let mut items = Vec::new();
        let mut work = 0;
        let end = loop {
            let index = self.read(op)?;
            let Some(number) = index.user(user) else { break true };
            let reach = Reach { before, items: most - items.len(), work: SLICE_WORK };
            let reached = walk(&index, number, reach, &mut items);
            before = reached.before;
            work += reached.work;
            if reached.end || items.len() >= most || work >= MUTUAL_WORK {
                break reached.end;
            }
        };
        let next = if end { None } else { Some(cursor::encode(kind, user, before)) };
        Ok(Page { items, next })
    }
}

/// Which list a page is read from, and for which operation.
#[derive(Clone, Copy)]
struct List<'a> {
    op: &'static str,
    kind: ListKind,
    user: &'a UserId,
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

    async fn import_follows(&self, follows: Vec<Follow>) -> Result<u64, GraphError> {
        let mut follows = follows.into_iter();
        let mut new = 0;
        while follows.len() > 0 {
            let piece = follows.by_ref().take(self.import_edges).collect();
            new += self.writer.run(Command::Import(piece)).await?;
        }
        Ok(new)
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
        let list = List { op: "get_followers", kind: ListKind::Followers, user };
        self.page(list, cursor, limit, Index::walk_followers)
    }

    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let list = List { op: "get_following", kind: ListKind::Following, user };
        self.page(list, cursor, limit, Index::walk_following)
    }

    /// A page may hold fewer than `limit` users, even none, with more to come: a search through
    /// long lists is cut off, and goes on with the next page.
    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let list = List { op: "get_mutual_follows", kind: ListKind::Mutual, user };
        self.page(list, cursor, limit, Index::walk_mutual)
    }

    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError> {
        let index = self.read("is_following")?;
        let (Some(follower), Some(followee)) = (index.user(follower), index.user(followee)) else {
            return Ok(false);
        };
        Ok(index.find(EdgeKind::Follow, follower, followee).is_some())
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
        let list = List { op: "list_blocks", kind: ListKind::Blocks, user };
        self.page(list, cursor, limit, Index::walk_blocks)
    }

    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError> {
        let list = List { op: "list_mutes", kind: ListKind::Mutes, user };
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
