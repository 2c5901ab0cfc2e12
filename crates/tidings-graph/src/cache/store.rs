//! The port.

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    follow::{
        Block, Edge, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide, Neighbours,
    },
    ids::{GraphId, UserId},
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use super::{
    answer,
    ask::{GraphCache, Inner},
    question::{List, Question},
    scope::Scope,
};

/// A longer question is too seldom put twice.
const QUESTION_USERS: usize = 256;

impl Inner {
    async fn page_of_users(
        &self,
        list: List,
        users: (&UserId, Option<&UserId>),
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let question = Question::page(list, users, cursor, limit);
        self.read(&question, |it| answer::page(it, |user, _| user)).await
    }
}

#[async_trait]
impl SocialGraphStore for GraphCache {
    fn id(&self) -> GraphId {
        self.0.store.id()
    }

    async fn add_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let write = self.0.store.add_follow(follower, followee, at);
        let added = self.0.write(Scope::of_follow(follower, followee), write).await?;
        self.0.refresh_follow(follower, followee);
        Ok(added)
    }

    async fn remove_follow(
        &self,
        follower: &UserId,
        followee: &UserId,
    ) -> Result<bool, GraphError> {
        let write = self.0.store.remove_follow(follower, followee);
        let removed = self.0.write(Scope::of_follow(follower, followee), write).await?;
        self.0.refresh_follow(follower, followee);
        Ok(removed)
    }

    async fn import_edges(&self, edges: Vec<Edge>) -> Result<u64, GraphError> {
        self.0.import(&edges).await
    }

    /// Not kept: it is read once.
    async fn export_edges(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Edge>, GraphError> {
        self.0.store.export_edges(cursor, limit).await
    }

    async fn erase_user(&self, user: &UserId) -> Result<u64, GraphError> {
        self.0.erase(user).await
    }

    /// Not kept: every write changes it.
    async fn stats(&self) -> Result<GraphStats, GraphError> {
        self.0.store.stats().await
    }

    async fn get_followers(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let question = Question::page(List::Followers, (user, None), cursor, limit);
        let make = |follower, at| Follow { follower, followee: user.clone(), at };
        self.0.read(&question, |it| answer::page(it, make)).await
    }

    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        // Most users follow so few that one answer has them all.
        if cursor.is_none() && limit > 0 {
            let whole = Question::Followees(user.clone());
            let page = self.0.read(&whole, |it| answer::first_followees(it, user, limit)).await?;
            if let Some(page) = page {
                return Ok(page);
            }
        }
        let question = Question::page(List::Following, (user, None), cursor, limit);
        let make = |followee, at| Follow { follower: user.clone(), followee, at };
        self.0.read(&question, |it| answer::page(it, make)).await
    }

    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        self.0.page_of_users(List::Friends, (user, None), cursor, limit).await
    }

    async fn get_common_follows(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        self.0.page_of_users(List::Common, (user, Some(other)), cursor, limit).await
    }

    async fn get_followers_you_know(
        &self,
        user: &UserId,
        other: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        self.0.page_of_users(List::Known, (user, Some(other)), cursor, limit).await
    }

    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError> {
        let answers = self.are_following(follower, std::slice::from_ref(followee)).await?;
        Ok(answers.first().is_some_and(|answer| *answer))
    }

    async fn are_following(
        &self,
        follower: &UserId,
        followees: &[UserId],
    ) -> Result<Vec<bool>, GraphError> {
        let whole = Question::Followees(follower.clone());
        let found = self.0.read(&whole, |it| answer::among_followees(it, followees)).await?;
        if let Some(answers) = found {
            return Ok(answers);
        }
        if followees.len() > QUESTION_USERS {
            return self.0.store.are_following(follower, followees).await;
        }
        let question = Question::AreFollowing(follower.clone(), followees.to_vec());
        self.0.read(&question, |it| answer::flags(it, followees.len())).await
    }

    /// Not kept: what is worth keeping is what is made of so many lists.
    async fn get_neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        self.0.store.get_neighbours(users, side, most).await
    }

    /// Not kept: who asks keeps it.
    async fn get_most_followed(&self, most: usize) -> Result<Vec<(UserId, u64)>, GraphError> {
        self.0.store.get_most_followed(most).await
    }

    async fn counts(&self, user: &UserId) -> Result<FollowCounts, GraphError> {
        self.0.read(&Question::Counts(user.clone()), answer::counts).await
    }

    async fn add_block(
        &self,
        blocker: &UserId,
        blocked: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let write = self.0.store.add_block(blocker, blocked, at);
        self.0.write(Scope::of_block(blocker, blocked), write).await
    }

    async fn remove_block(&self, blocker: &UserId, blocked: &UserId) -> Result<bool, GraphError> {
        let write = self.0.store.remove_block(blocker, blocked);
        self.0.write(Scope::of_aversion(blocker, blocked), write).await
    }

    async fn add_mute(
        &self,
        muter: &UserId,
        muted: &UserId,
        at: Timestamp,
    ) -> Result<bool, GraphError> {
        let write = self.0.store.add_mute(muter, muted, at);
        self.0.write(Scope::of_aversion(muter, muted), write).await
    }

    async fn remove_mute(&self, muter: &UserId, muted: &UserId) -> Result<bool, GraphError> {
        let write = self.0.store.remove_mute(muter, muted);
        self.0.write(Scope::of_aversion(muter, muted), write).await
    }

    async fn list_blocks(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Block>, GraphError> {
        let question = Question::page(List::Blocks, (user, None), cursor, limit);
        let make = |blocked, at| Block { blocker: user.clone(), blocked, at };
        self.0.read(&question, |it| answer::page(it, make)).await
    }

    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError> {
        let question = Question::page(List::Mutes, (user, None), cursor, limit);
        let make = |muted, at| Mute { muter: user.clone(), muted, at };
        self.0.read(&question, |it| answer::page(it, make)).await
    }

    async fn hidden_from(&self, actor: &UserId, users: &[UserId]) -> Result<Hidden, GraphError> {
        if users.is_empty() || users.len() > QUESTION_USERS {
            return self.0.store.hidden_from(actor, users).await;
        }
        let question = Question::Hidden(actor.clone(), users.to_vec());
        self.0.read(&question, |it| answer::hidden(it, users.len())).await
    }

    async fn check(&self) -> Result<(), GraphError> {
        self.0.store.check().await
    }
}
