//! Opening, closing, and the port.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    follow::{
        Block, Edge, EdgeKind, Follow, FollowCounts, GraphStats, Hidden, Mute, NeighbourSide,
        Neighbours,
    },
    ids::{GraphId, UserId},
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use crate::cursor::{ListKind, Owner};

use super::{
    bolt::{Bolt, Deadline},
    config::Neo4jGraphConfig,
    cypher::{Names, Reads, Writes, slot},
    error::{Failure, Neo4jOpenError},
    export::{self, Place},
    lists::{List, PAGE_ITEMS},
    measure,
    plan::Change,
    row::{Parameters, Row, count, id, with},
    schema,
    threads::Threads,
    writer::{Command, Writer},
};

/// How long the schema may take to be made: indexes of a large graph are filled meanwhile.
const OPEN_TIME: Duration = Duration::from_secs(600);

/// The follow graph on Neo4j; see the [module](super).
///
/// What a method that writes has answered is durable on the server, and visible to every read that
/// begins after the answer, on every node. A method that fails, or whose future is dropped, may or
/// may not take effect, as with any lost answer.
///
/// End it with [`Neo4jGraphStore::close`]. Dropping it instead lets the threads finish what is queued.
#[derive(Debug)]
pub struct Neo4jGraphStore {
    id: GraphId,
    reads: Arc<Reads>,
    threads: Threads,
    writer: Writer,
    batch_edges: usize,
}

impl Neo4jGraphStore {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    ///
    /// [`Neo4jOpenError::Server`] when the server does not answer or refuses the credentials, and
    /// what else [`Neo4jOpenError`] lists.
    pub async fn open(config: Neo4jGraphConfig) -> Result<Self, Neo4jOpenError> {
        measure::describe();
        let prefix = || Neo4jOpenError::Prefix { prefix: config.prefix.clone() };
        let names = Names::new(&config.prefix).ok_or_else(prefix)?;
        let (reads, writes) = (Arc::new(Reads::new(&names)), Writes::new(&names));
        let bolt = Arc::new(Bolt::new(&config)?);
        let threads = Threads::start(&bolt, config.connections, config.query_timeout)
            .map_err(|source| Neo4jOpenError::Thread { source })?;
        let id = migrate(&threads, names, &config).await?;
        let writer = Writer::start(&bolt, writes, &config)
            .map_err(|source| Neo4jOpenError::Thread { source })?;
        tracing::info!(graph = %id, url = config.url, prefix = config.prefix, "the graph is open");
        Ok(Self { id, reads, threads, writer, batch_edges: config.batch_edges.max(1) })
    }

    /// Finishes what is queued and refuses what comes after; returns when that is done, or when a
    /// transaction has had its time. Closing twice is fine. Reads go on.
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
        let change = Change::Add(Edge { kind, source, target, at });
        Ok(self.writer.run(Command::Change(change)).await? > 0)
    }

    async fn remove(
        &self,
        kind: EdgeKind,
        source: &UserId,
        target: &UserId,
    ) -> Result<bool, GraphError> {
        let [source, target] = [source, target].map(UserId::clone);
        let change = Change::Remove { kind, source, target };
        Ok(self.writer.run(Command::Change(change)).await? > 0)
    }

    /// Runs one query.
    pub(super) async fn query(
        &self,
        op: &'static str,
        cypher: impl Fn(&Reads) -> &str + Send + 'static,
        parameters: Parameters,
    ) -> Result<Vec<Row>, GraphError> {
        let reads = Arc::clone(&self.reads);
        let run = move |bolt: &Bolt, deadline: Deadline| {
            bolt.query(op, cypher(&reads), &parameters, deadline)
        };
        self.threads.run(run).await.map_err(|failure| failure.behind(op))
    }
}

async fn migrate(
    threads: &Threads,
    names: Names,
    config: &Neo4jGraphConfig,
) -> Result<GraphId, Neo4jOpenError> {
    let (prefix, time) = (config.prefix.clone(), config.query_timeout);
    // A server that is not there is told apart from one that fills indexes.
    let here = threads.run(|bolt, deadline| bolt.query("open", "RETURN 1", &with([]), deadline));
    here.await.map_err(|failure| Neo4jOpenError::Server { source: Box::new(failure) })?;
    let made = threads.run_within(OPEN_TIME, move |bolt, deadline| {
        let made = schema::migrate(bolt, &names, &prefix, deadline);
        if made.is_ok()
            && let Err(error) = schema::tidy(bolt, &Writes::new(&names), Deadline::after(time))
        {
            tracing::debug!(%error, "what old writers left stays in Neo4j");
        }
        Ok(made)
    });
    made.await.map_err(|failure| Neo4jOpenError::Server { source: Box::new(failure) })?
}

#[async_trait]
impl SocialGraphStore for Neo4jGraphStore {
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

    async fn import_edges(&self, edges: Vec<Edge>) -> Result<u64, GraphError> {
        let mut edges = edges.into_iter();
        let mut new = 0;
        while edges.len() > 0 {
            let piece = edges.by_ref().take(self.batch_edges).collect();
            new += self.writer.run(Command::Change(Change::Import(piece))).await?;
        }
        Ok(new)
    }

    async fn export_edges(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Edge>, GraphError> {
        let place = cursor.map_or(Ok(Place::START), Place::decode)?;
        let reads = Arc::clone(&self.reads);
        let limit = limit.min(PAGE_ITEMS);
        let read = move |bolt: &Bolt, deadline| export::page(bolt, &reads, place, limit, deadline);
        self.threads.run(read).await.map_err(|failure| failure.behind("export_edges"))
    }

    async fn erase_user(&self, user: &UserId) -> Result<u64, GraphError> {
        let most = self.batch_edges;
        let mut gone = 0;
        loop {
            let piece = self.writer.run(Command::Erase { user: user.clone(), most }).await?;
            gone += piece;
            if piece < most as u64 {
                return Ok(gone);
            }
        }
    }

    async fn stats(&self) -> Result<GraphStats, GraphError> {
        let op = "stats";
        let rows = self.query(op, |reads| &reads.stats, with([])).await?;
        read_stats(rows).map_err(|failure| failure.behind(op))
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
        let item = |follower, at| Follow { follower, followee: user.clone(), at };
        self.page(list, cursor, limit, |reads| &reads.followers, item).await
    }

    async fn get_following(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Follow>, GraphError> {
        let list = List { op: "get_following", kind: ListKind::Following, owner: Owner::One(user) };
        let item = |followee, at| Follow { follower: user.clone(), followee, at };
        self.page(list, cursor, limit, |reads| &reads.targets[slot(EdgeKind::Follow)], item).await
    }

    async fn get_mutual_follows(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let list =
            List { op: "get_mutual_follows", kind: ListKind::Mutual, owner: Owner::One(user) };
        self.search(list, user, cursor, limit, |reads| &reads.known).await
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
        self.search(list, other, cursor, limit, |reads| &reads.common).await
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
        self.search(list, other, cursor, limit, |reads| &reads.known).await
    }

    async fn is_following(&self, follower: &UserId, followee: &UserId) -> Result<bool, GraphError> {
        let others = std::slice::from_ref(followee);
        let about = ("user", follower);
        let answers = self.ask("is_following", about, others, |reads| &reads.are_following).await?;
        Ok(answers.contains(&true))
    }

    async fn are_following(
        &self,
        follower: &UserId,
        followees: &[UserId],
    ) -> Result<Vec<bool>, GraphError> {
        let about = ("user", follower);
        self.ask("are_following", about, followees, |reads| &reads.are_following).await
    }

    async fn get_neighbours(
        &self,
        users: &[UserId],
        side: NeighbourSide,
        most: usize,
    ) -> Result<Vec<Neighbours>, GraphError> {
        self.neighbours(users, side, most).await
    }

    async fn get_most_followed(&self, most: usize) -> Result<Vec<(UserId, u64)>, GraphError> {
        let op = "get_most_followed";
        let limit = with([("limit", count(most.min(PAGE_ITEMS)))]);
        let rows = self.query(op, |reads| &reads.most_followed, limit).await?;
        let read = |mut row: Row| Ok((row.user()?, row.size("number of followers")?));
        let found = rows.into_iter().filter(Row::is_whole).map(read).collect::<Result<Vec<_>, _>>();
        found.map_err(|failure: Failure| failure.behind(op))
    }

    async fn counts(&self, user: &UserId) -> Result<FollowCounts, GraphError> {
        let op = "counts";
        let rows = self.query(op, |reads| &reads.counts, with([("user", id(user))])).await?;
        read_counts(rows).map_err(|failure| failure.behind(op))
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
        let item = |blocked, at| Block { blocker: user.clone(), blocked, at };
        self.page(list, cursor, limit, |reads| &reads.targets[slot(EdgeKind::Block)], item).await
    }

    async fn list_mutes(
        &self,
        user: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Mute>, GraphError> {
        let list = List { op: "list_mutes", kind: ListKind::Mutes, owner: Owner::One(user) };
        let item = |muted, at| Mute { muter: user.clone(), muted, at };
        self.page(list, cursor, limit, |reads| &reads.targets[slot(EdgeKind::Mute)], item).await
    }

    /// Takes one query, which looks at the actor only, unless somebody has turned away.
    async fn hidden_from(&self, actor: &UserId, users: &[UserId]) -> Result<Hidden, GraphError> {
        let op = "hidden_from";
        let rows = self.query(op, |reads| &reads.is_averted, with([("actor", id(actor))])).await?;
        let is_averted = match rows.into_iter().next() {
            Some(mut row) => row.truth(op).map_err(|failure| failure.behind(op))?,
            None => false,
        };
        if !is_averted || users.is_empty() {
            return Ok(Hidden::Nobody);
        }
        let answers = self.ask(op, ("actor", actor), users, |reads| &reads.hidden).await?;
        Ok(Hidden::gather(answers))
    }

    async fn check(&self) -> Result<(), GraphError> {
        // The node that every write needs, by its index.
        let rows = self.query("check", |reads| &reads.check, with([])).await?;
        if rows.is_empty() { Err(Failure::Unreadable("graph").behind("check")) } else { Ok(()) }
    }
}

fn read_stats(rows: Vec<Row>) -> Result<GraphStats, Failure> {
    let what = "size of the graph";
    let mut row = rows.into_iter().next().ok_or(Failure::Unreadable(what))?;
    Ok(GraphStats {
        users: row.size(what)?,
        follows: row.size(what)?,
        blocks: row.size(what)?,
        mutes: row.size(what)?,
    })
}

fn read_counts(rows: Vec<Row>) -> Result<FollowCounts, Failure> {
    let what = "number of follows";
    let Some(mut row) = rows.into_iter().next() else { return Ok(FollowCounts::default()) };
    Ok(FollowCounts { followers: row.size(what)?, following: row.size(what)? })
}
