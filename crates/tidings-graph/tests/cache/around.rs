//! A store that does something around each call to another.

use std::sync::Arc;

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    follow::{
        Block, Edge, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide, Neighbours,
    },
    ids::{GraphId, UserId},
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
}

/// What is done around each call.
#[async_trait]
pub(crate) trait Around: Send + Sync + 'static {
    /// Before the call: whose it is.
    async fn before(&self, call: Call) -> Result<Arc<dyn SocialGraphStore>, GraphError>;
    /// After the call, before its answer.
    async fn after(&self, call: Call) -> Result<(), GraphError>;
    fn id(&self) -> GraphId;
}

/// A store with something around it.
pub(crate) struct With<A>(pub(crate) A);

#[async_trait]
impl<A: Around> SocialGraphStore for With<A> {
    fn id(&self) -> GraphId {
        self.0.id()
    }

    async fn add_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.add_follow(follower, followee, at).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn import_edges(&self, edges: Vec<Edge>) -> Result<u64, GraphError> {
        let answer = self.0.before(Call::Write).await?.import_edges(edges).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn export_edges(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Edge>, GraphError> {
        let answer = self.0.before(Call::Read).await?.export_edges(cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn erase_user(&self, user: &UserId) -> Result<u64, GraphError> {
        let answer = self.0.before(Call::Write).await?.erase_user(user).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn stats(&self) -> Result<GraphStats, GraphError> {
        let answer = self.0.before(Call::Read).await?.stats().await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn remove_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
    ) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.remove_follow(follower, followee).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn get_followers(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let answer = self.0.before(Call::Read).await?.get_followers(user, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let answer = self.0.before(Call::Read).await?.get_following(user, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let answer = self.0.before(Call::Read).await?.get_mutual_follows(user, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_common_follows(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let store = self.0.before(Call::Read).await?;
        let answer = store.get_common_follows(user, other, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_followers_you_know(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let store = self.0.before(Call::Read).await?;
        let answer = store.get_followers_you_know(user, other, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Read).await?.is_following(follower, followee).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn are_following(
        &self,
        follower: &UserId,
        followees: &[UserId],
    ) -> Result<Vec<bool>, GraphError> {
        let answer = self.0.before(Call::Read).await?.are_following(follower, followees).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        let answer = self.0.before(Call::Read).await?.get_neighbours(users, side, most).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn get_most_followed(&self, most: usize) -> Result<Vec<(UserId, u64)>, GraphError> {
        let answer = self.0.before(Call::Read).await?.get_most_followed(most).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn counts(&self, user: &UserId) -> Result<FollowCounts, GraphError> {
        let answer = self.0.before(Call::Read).await?.counts(user).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn add_block(
        &self,
        blocker: &UserId,
        blocked: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.add_block(blocker, blocked, at).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn remove_block(&self, blocker: &UserId, blocked: &UserId) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.remove_block(blocker, blocked).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn add_mute(
        &self,
        muter: &UserId,
        muted: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.add_mute(muter, muted, at).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn remove_mute(&self, muter: &UserId, muted: &UserId) -> Result<bool, GraphError> {
        let answer = self.0.before(Call::Write).await?.remove_mute(muter, muted).await;
        self.0.after(Call::Write).await?;
        answer
    }

    async fn list_blocks(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Block>, GraphError> {
        let answer = self.0.before(Call::Read).await?.list_blocks(user, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError> {
        let answer = self.0.before(Call::Read).await?.list_mutes(user, cursor, limit).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn hidden_from(&self, actor: &UserId, users: &[UserId]) -> Result<Hidden, GraphError> {
        let answer = self.0.before(Call::Read).await?.hidden_from(actor, users).await;
        self.0.after(Call::Read).await?;
        answer
    }

    async fn check(&self) -> Result<(), GraphError> {
        self.0.before(Call::Read).await?.check().await
    }
}
