//! Who follows whom, and who has turned away from whom.

use std::fmt;

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    follow::{
        Block, Edge, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide, Neighbours,
    },
    ids::{GraphId, UserId},
    ports::GraphError,
};

/// A place in a list, as the store that made it understands it; opaque to everyone else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// The text cannot be a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor has 1 to 256 characters of A-Z a-z 0-9 - _")]
pub struct CursorError;

impl Cursor {
    /// Takes `text` as a cursor.
    ///
    /// # Errors
    ///
    /// [`CursorError`] when no store could have made it.
    pub fn new(text: String) -> Result<Self, CursorError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=256).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(CursorError)
        }
    }

    /// The cursor as text for a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// The social graph: follows, blocks and mutes.
///
/// Lists are newest edge first. A cursor stays valid while edges come and go: an edge that exists
/// from the first page to the last is listed exactly once.
#[async_trait]
pub trait SocialGraphStore: Send + Sync + 'static {
    /// Which graph this is: the same for all who share it and for as long as it exists, however often it
    /// is opened; never that of another.
    fn id(&self) -> GraphId;

    /// Makes `follower` follow `followee`; durable when it returns. Idempotent: an edge that exists
    /// keeps its time and place. Says whether it is new.
    ///
    /// # Errors
    ///
    /// [`GraphError::SelfFollow`], [`GraphError::Blocked`] while either has blocked the other,
    /// [`GraphError::Full`], [`GraphError::Unavailable`].
    async fn add_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError>;

    /// Adds many edges at once, in their order, durable when it returns; says how many are new.
    /// Edges from a user to themself, and follows between users of whom one has blocked the other,
    /// are left out; a block takes the follows between the two away, as ever.
    ///
    /// # Errors
    ///
    /// [`GraphError::Full`], [`GraphError::Unavailable`]; some edges may be in, adding again is safe.
    async fn import_edges(&self, edges: Vec<Edge>) -> Result<u64, GraphError>;

    /// Up to `limit` edges of the whole graph, of all kinds, in an order of the store's own that puts
    /// the edges of one kind and source together, oldest first. An edge that exists from the first
    /// page to the last is listed exactly once; imported in this order, every list comes out as it was
    /// but those of followers, which stand in the order of the export. Sorted by time first, these come
    /// out as they were too, where edges arrived in the order of their times.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn export_edges(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Edge>, GraphError>;

    /// Removes every edge of `user`, of all kinds and in both directions, and forgets the id; durable
    /// when it returns, with the number of edges that are gone. Long lists go in several steps: until
    /// it returns, some edges may be gone and others there. An edge that is added meanwhile may stay.
    /// Idempotent.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`]; some edges may be gone, erasing again is safe.
    async fn erase_user(&self, user: &UserId) -> Result<u64, GraphError>;

    /// How large the graph is.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn stats(&self) -> Result<GraphStats, GraphError>;

    /// Removes the edge; durable when it returns. Says whether there was one.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn remove_follow(&self, follower: &UserId, followee: &UserId)
    -> Result<bool, GraphError>;

    /// Up to `limit` of those who follow `user`, newest first.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn get_followers(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError>;

    /// Up to `limit` of those whom `user` follows, newest first.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError>;

    /// Up to `limit` of those who follow `user` and whom `user` follows: friends, in the order in
    /// which `user` followed them, newest first. A page may hold fewer, even none, with more to come.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError>;

    /// Up to `limit` of those whom both `user` and `other` follow: common follows, in the order in
    /// which `user` followed them, newest first. A page may hold fewer, even none, with more to come.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn get_common_follows(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError>;

    /// Up to `limit` of those whom `user` follows and who follow `other`: `other`'s followers whom
    /// `user` knows, in the order in which `user` followed them, newest first. A page may hold fewer,
    /// even none, with more to come.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn get_followers_you_know(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError>;

    /// Whether `follower` follows `followee`.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError>;

    /// Which of `followees` are followed by `follower`: one answer each, in their order.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn are_following(
        &self,
        follower: &UserId,
        followees: &[UserId],
    ) -> Result<Vec<bool>, GraphError>;

    /// Up to `most` neighbours of each of `users` on one side, newest first, and how many there are in
    /// all: one answer each, in their order. With `most` zero, the numbers alone. What is read of one
    /// user is as of one moment, what is read of two need not be.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn get_neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError>;

    /// Up to `most` of those who have the most followers, and how many, the most first; in any order where
    /// they have as many. It looks at every user, and what it finds is of several moments: ask seldom.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn get_most_followed(&self, most: usize) -> Result<Vec<(UserId, u64)>, GraphError>;

    /// How many edges the user has.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn counts(&self, user: &UserId) -> Result<FollowCounts, GraphError>;

    /// Makes `blocker` block `blocked` and removes the follows between the two, all at once; durable
    /// when it returns. While the block stands, [`add_follow`](Self::add_follow) refuses both
    /// directions. Idempotent: a block that exists keeps its time and place. Says whether it is new.
    ///
    /// # Errors
    ///
    /// [`GraphError::SelfBlock`], [`GraphError::Full`], [`GraphError::Unavailable`].
    async fn add_block(
        &self,
        blocker: &UserId,
        blocked: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError>;

    /// Removes the block; durable when it returns. The follows that it took away stay away, and a
    /// block in the other direction stands. Says whether there was one.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn remove_block(&self, blocker: &UserId, blocked: &UserId) -> Result<bool, GraphError>;

    /// Makes `muter` mute `muted`; durable when it returns. Follows stay, and `muted` is not
    /// concerned. Idempotent: a mute that exists keeps its time and place. Says whether it is new.
    ///
    /// # Errors
    ///
    /// [`GraphError::SelfMute`], [`GraphError::Full`], [`GraphError::Unavailable`].
    async fn add_mute(
        &self,
        muter: &UserId,
        muted: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError>;

    /// Removes the mute; durable when it returns. Says whether there was one.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn remove_mute(&self, muter: &UserId, muted: &UserId) -> Result<bool, GraphError>;

    /// Up to `limit` of those whom `user` has blocked, newest first.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn list_blocks(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Block>, GraphError>;

    /// Up to `limit` of those whom `user` has muted, newest first.
    ///
    /// # Errors
    ///
    /// [`GraphError::BadCursor`], [`GraphError::Unavailable`].
    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError>;

    /// Which of `users` must not be told what `actor` does: those who have blocked or muted the
    /// actor, and those whom the actor has blocked.
    ///
    /// It is asked for every event with an actor, so an actor from whom nobody has turned away, and
    /// who has blocked nobody, costs no work per user.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    async fn hidden_from(&self, actor: &UserId, users: &[UserId]) -> Result<Hidden, GraphError>;

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`] with the cause.
    async fn check(&self) -> Result<(), GraphError>;
}
