//! Writes: marked before, settled after.

use std::collections::HashSet;

use tidings_core::{
    follow::Edge,
    ids::UserId,
    ports::{Cursor, GraphError},
};

use super::{
    ask::Inner,
    scope::Scope,
    versions::{Mark, Versions},
};

/// Edges that are imported under one mark: while it stands, their users are read from the store.
const IMPORTED_EDGES: usize = 1_000;
/// Follows of a user up to which the other ends are looked up when the user is erased. Of more, the cache
/// forgets everything.
const ERASED_FOLLOWS: u64 = 10_000;
/// Follows that are looked up at a time.
const PAGE: usize = 1_000;

/// Scopes that are marked. What is neither settled nor dropped by an answer that says that nothing was
/// written stays marked until its lease is over: so also when the write is cancelled.
struct Marked<'a> {
    versions: &'a Versions,
    scopes: Vec<Scope>,
    mark: Mark,
}

impl<'a> Marked<'a> {
    async fn new(versions: &'a Versions, scopes: Vec<Scope>) -> Self {
        let mark = versions.mark(&scopes).await;
        Self { versions, scopes, mark }
    }

    /// Settles; says whether nobody else has written to the scopes meanwhile.
    async fn settle(mut self) -> bool {
        let is_alone = self.versions.settle(&self.scopes, self.mark).await && self.mark.is_alone;
        self.scopes.clear();
        is_alone
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        if !self.scopes.is_empty() {
            self.versions.leave(std::mem::take(&mut self.scopes));
        }
    }
}

/// Whether the store may yet do what it was asked, or has.
fn is_open_ended<T>(result: &Result<T, GraphError>) -> bool {
    match result {
        Ok(_)
        | Err(
            GraphError::SelfFollow
            | GraphError::SelfBlock
            | GraphError::SelfMute
            | GraphError::Blocked
            | GraphError::BadCursor
            | GraphError::Full { .. },
        ) => false,
        Err(_) => true,
    }
}

impl Inner {
    /// Writes what changes `scopes`.
    pub(super) async fn write<T>(
        &self,
        scopes: Vec<Scope>,
        write: impl Future<Output = Result<T, GraphError>>,
    ) -> Result<T, GraphError> {
        let marked = Marked::new(&self.versions, scopes).await;
        let result = write.await;
        if is_open_ended(&result) {
            drop(marked);
        } else {
            marked.settle().await;
        }
        result
    }

    pub(super) async fn import(&self, edges: &[Edge]) -> Result<u64, GraphError> {
        let mut added = 0;
        for edges in edges.chunks(IMPORTED_EDGES) {
            let import = self.store.import_edges(edges.to_vec());
            added += self.write(Scope::of_edges(edges), import).await?;
        }
        Ok(added)
    }

    /// Erases a user, which changes the lists of everybody at the other end of an edge.
    pub(super) async fn erase(&self, user: &UserId) -> Result<u64, GraphError> {
        let counts = self.store.counts(user).await?;
        if counts.followers + counts.following > ERASED_FOLLOWS {
            return self.write(vec![Scope::Graph], self.store.erase_user(user)).await;
        }
        let own = Marked::new(&self.versions, Scope::of_user(user)).await;
        let mut scopes = self.other_ends(user).await?;
        // Who has blocked or muted the user cannot be listed.
        scopes.push(Scope::AllAversions);
        let erased = self.write(scopes, self.store.erase_user(user)).await?;
        if !own.settle().await {
            // Edges may have come that the look at the other ends has missed, and gone with the others.
            Marked::new(&self.versions, vec![Scope::Graph]).await.settle().await;
        }
        Ok(erased)
    }

    /// The lists of others in which the user is, as of now.
    async fn other_ends(&self, user: &UserId) -> Result<Vec<Scope>, GraphError> {
        let mut scopes = HashSet::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let page = self.store.get_followers(user, cursor.as_ref(), PAGE).await?;
            scopes.extend(page.items.into_iter().map(|it| Scope::Following(it.follower)));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        loop {
            let page = self.store.get_following(user, cursor.as_ref(), PAGE).await?;
            scopes.extend(page.items.into_iter().map(|it| Scope::Followers(it.followee)));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(scopes.into_iter().collect())
    }
}
