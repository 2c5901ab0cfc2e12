//! The part of a graph around one user, fetched through the port.
//!
//! A remote store answers a question in a millisecond, not in a microsecond, and a hundred at once hardly
//! slower: so the lists that matter most are fetched in a few rounds, and the rest is unknown.

use std::collections::HashMap;

use tidings_core::{
    follow::NeighbourSide,
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};

use super::{
    adjacency::{Adjacency, Lists, Node, Standing},
    hold_out::HeldOutFollows,
    limits::{
        ALIKE_FOLLOWERS, REMOTE_ALIKE_ENTRIES, REMOTE_ALIKE_USERS, REMOTE_LIST_ENTRIES,
        REMOTE_NEIGHBOURS, REMOTE_OWN_ENTRIES,
    },
};

/// How many neighbours a user has of whom that is not known: the most, so that nothing is built on it.
const UNKNOWN: u32 = u32::MAX;

/// What was fetched.
#[derive(Debug, Default)]
pub(super) struct Subgraph {
    numbers: HashMap<UserId, Node>,
    users: Vec<UserId>,
    /// By side.
    lists: [HashMap<Node, List>; 2],
    /// Of those of whom it was asked, and who are not free.
    standings: HashMap<Node, Standing>,
    held_out: HeldOutFollows,
}

#[derive(Debug, Default)]
struct List {
    total: u32,
    /// None if only the total was asked for.
    nodes: Option<Vec<Node>>,
}

impl List {
    /// Leaves out neighbours, sorted ones, who are of the list.
    fn leave_out(&mut self, unseen: &[Node]) {
        self.total = self.total.saturating_sub(u32::try_from(unseen.len()).unwrap_or(0));
        if let Some(nodes) = &mut self.nodes {
            nodes.retain(|it| unseen.binary_search(it).is_err());
        }
    }
}

const SIDES: [NeighbourSide; 2] = [NeighbourSide::Following, NeighbourSide::Followers];

fn place(side: NeighbourSide) -> usize {
    match side {
        NeighbourSide::Following => 0,
        NeighbourSide::Followers => 1,
    }
}

impl Subgraph {
    /// Fetches what the signals of `user` are made of.
    pub(super) async fn fetch(
        store: &dyn SocialGraphStore,
        user: &UserId,
    ) -> Result<Self, GraphError> {
        let mut graph = Self::default();
        graph.fetch_own(store, user).await?;
        graph.fetch_near(store, user).await?;
        Ok(graph)
    }

    /// The same without the newest follows of `user`.
    pub(super) async fn fetch_held_out(
        store: &dyn SocialGraphStore,
        user: &UserId,
    ) -> Result<Self, GraphError> {
        let mut graph = Self::default();
        graph.fetch_own(store, user).await?;
        graph.hold_out(user);
        graph.fetch_near(store, user).await?;
        Ok(graph)
    }

    /// The follows that are held out.
    pub(super) fn held_out(&self) -> &HeldOutFollows {
        &self.held_out
    }

    async fn fetch_own(
        &mut self,
        store: &dyn SocialGraphStore,
        user: &UserId,
    ) -> Result<(), GraphError> {
        let own = [self.number(user)];
        for side in SIDES {
            self.fetch_lists(store, &own, side, REMOTE_OWN_ENTRIES).await?;
        }
        Ok(())
    }

    /// Forgets the newest follows of the user, of whom nothing but their own lists was fetched.
    fn hold_out(&mut self, user: &UserId) {
        let user = self.number(user);
        let list = |side| self.lists[place(side)].get(&user).and_then(|it| it.nodes.as_deref());
        let [following, followers] = SIDES.map(|side| list(side).unwrap_or_default());
        let held_out = HeldOutFollows::choose(user, following, followers);
        for side in SIDES {
            if let Some(list) = self.lists[place(side)].get_mut(&user) {
                list.leave_out(held_out.unseen(user, side));
            }
        }
        self.held_out = held_out;
    }

    /// Fetches the lists of those around the user.
    async fn fetch_near(
        &mut self,
        store: &dyn SocialGraphStore,
        user: &UserId,
    ) -> Result<(), GraphError> {
        let (graph, [following, followers]) = (self, SIDES);
        let own = [graph.number(user)];
        let followees = graph.newest(own[0], following);
        let fans = graph.newest(own[0], followers);
        graph.fetch_lists(store, &followees, followers, 0).await?;
        let near: Vec<_> = followees.iter().chain(&fans).copied().collect();
        graph.fetch_lists(store, &near, following, REMOTE_LIST_ENTRIES).await?;
        graph.fetch_lists(store, &fans, followers, REMOTE_LIST_ENTRIES).await?;
        let telling = graph.choose_telling(followees);
        graph.fetch_lists(store, &telling, followers, ALIKE_FOLLOWERS as usize).await?;
        let alike = graph.find_alike(own[0], &telling);
        graph.fetch_lists(store, &alike, following, REMOTE_LIST_ENTRIES).await
    }

    /// Fetches what is to be known of candidates and, for reasons, of those whom the user follows.
    pub(super) async fn fetch_facts(
        &mut self,
        store: &dyn SocialGraphStore,
        user: &UserId,
        candidates: &[Node],
        explain: bool,
    ) -> Result<(), GraphError> {
        for side in [NeighbourSide::Following, NeighbourSide::Followers] {
            let is_unknown = |it: &&Node| !self.lists[place(side)].contains_key(*it);
            let unknown: Vec<_> = candidates.iter().filter(is_unknown).copied().collect();
            self.fetch_lists(store, &unknown, side, 0).await?;
        }
        let ids: Vec<_> = candidates.iter().filter_map(|it| self.id(*it)).collect();
        let followed = store.are_following(user, &ids).await?;
        let followed = candidates.iter().zip(followed).filter(|it| it.1);
        self.standings.extend(followed.map(|it| (*it.0, Standing::Followed)));
        let mut asked = candidates.to_vec();
        if explain {
            // Who has muted the user is not named to them.
            let user = self.number(user);
            asked.extend(self.newest(user, NeighbourSide::Following));
        }
        let ids: Vec<_> = asked.iter().filter_map(|it| self.id(*it)).collect();
        let hidden = store.hidden_from(user, &ids).await?;
        let hidden = (0..).zip(asked).filter(|(place, _)| hidden.contains(*place));
        self.standings.extend(hidden.map(|(_, node)| (node, Standing::Averse)));
        let mut cursor = None;
        loop {
            let page = store.list_mutes(user, cursor.as_ref(), 10_000).await?;
            let muted = page.items.iter().filter_map(|it| self.numbers.get(&it.muted));
            self.standings.extend(muted.map(|it| (*it, Standing::Averse)));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// The number of a user, who gets one if need be.
    fn number(&mut self, user: &UserId) -> Node {
        if let Some(node) = self.numbers.get(user) {
            return *node;
        }
        let node = Node::try_from(self.users.len()).unwrap_or(Node::MAX);
        self.users.push(user.clone());
        self.numbers.insert(user.clone(), node);
        node
    }

    /// Gives numbers to users of whom nothing was fetched yet.
    pub(super) fn know<'a>(&mut self, users: impl Iterator<Item = &'a UserId>) {
        users.for_each(|user| _ = self.number(user));
    }

    fn id(&self, node: Node) -> Option<UserId> {
        self.users.get(node as usize).cloned()
    }

    fn newest(&self, node: Node, side: NeighbourSide) -> Vec<Node> {
        let list = self.lists[place(side)].get(&node).and_then(|it| it.nodes.as_deref());
        list.unwrap_or_default().iter().take(REMOTE_NEIGHBOURS).copied().collect()
    }

    async fn fetch_lists(
        &mut self,
        store: &dyn SocialGraphStore,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
    ) -> Result<(), GraphError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = nodes.iter().filter_map(|it| self.id(*it)).collect();
        let answers = store.get_neighbours(&ids, side, most).await?;
        for (node, answer) in nodes.iter().zip(answers) {
            let total = u32::try_from(answer.total).unwrap_or(UNKNOWN);
            let others: Vec<_> = answer.users.iter().map(|it| self.number(it)).collect();
            let mut fetched = List { total, nodes: (most > 0).then_some(others) };
            fetched.leave_out(self.held_out.unseen(*node, side));
            let known = self.lists[place(side)].entry(*node).or_default();
            known.total = fetched.total;
            // A user may be asked about for several reasons, for more or for fewer entries.
            let entries = |list: &List| list.nodes.as_ref().map(Vec::len);
            if entries(&fetched) > entries(known) {
                known.nodes = fetched.nodes;
            }
        }
        Ok(())
    }

    /// Those of whom it says something who follows them: the fewest followers first.
    fn choose_telling(&self, followees: Vec<Node>) -> Vec<Node> {
        let total = |node: Node| self.lists[1].get(&node).map_or(UNKNOWN, |it| it.total);
        let mut telling: Vec<_> = followees.into_iter().map(|it| (total(it), it)).collect();
        telling.retain(|it| it.0 > 0 && it.0 <= ALIKE_FOLLOWERS);
        telling.sort_unstable();
        let mut entries = 0;
        let fits = |it: &&(u32, Node)| {
            entries += it.0 as usize;
            entries <= REMOTE_ALIKE_ENTRIES
        };
        telling.iter().take_while(fits).map(|it| it.1).collect()
    }

    /// Those who share the most with the user, popular accounts for less.
    fn find_alike(&self, user: Node, telling: &[Node]) -> Vec<Node> {
        let mut weights: HashMap<Node, f32> = HashMap::new();
        for node in telling {
            let Some(list) = self.lists[1].get(node) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a weight")]
            let weight = (list.total as f32).max(1.0).sqrt().recip();
            for other in list.nodes.iter().flatten().filter(|it| **it != user) {
                *weights.entry(*other).or_default() += weight;
            }
        }
        let mut alike: Vec<_> = weights.into_iter().collect();
        alike.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        alike.truncate(REMOTE_ALIKE_USERS);
        alike.into_iter().map(|it| it.0).collect()
    }
}

impl Adjacency for Subgraph {
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError> {
        Ok(self.numbers.get(user).copied())
    }

    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError> {
        Ok(self.id(node))
    }

    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError> {
        let lists = &self.lists[place(side)];
        totals.extend(nodes.iter().map(|it| lists.get(it).map_or(UNKNOWN, |list| list.total)));
        Ok(())
    }

    fn read(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
        lists: &mut Lists,
    ) -> Result<(), GraphError> {
        for node in nodes {
            if let Some(list) = self.lists[place(side)].get(node) {
                lists.nodes().extend(list.nodes.iter().flatten().take(most));
            }
            lists.end();
        }
        Ok(())
    }

    fn standings(
        &self,
        _: Node,
        others: &[Node],
        standings: &mut Vec<Standing>,
    ) -> Result<(), GraphError> {
        let known = |it: &Node| self.standings.get(it).copied().unwrap_or(Standing::Free);
        standings.extend(others.iter().map(|it| self.held_out.standing(*it, known(it))));
        Ok(())
    }
}
