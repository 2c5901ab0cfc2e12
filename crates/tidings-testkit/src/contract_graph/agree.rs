//! Two stores that are told and asked the same give the same answers.

use std::fmt::Debug;

use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind, NeighbourSide},
    ids::UserId,
    ports::{Cursor, GraphError, SocialGraphStore},
};

use super::{
    MOST_PAGES, at,
    aversions::{AVERSIONS, Aversion},
    bulk::{by_source, export},
    hidden::hidden,
    intersections::SHARED,
    user,
};

const USERS: usize = 48;
/// Lists that are read page by page while the graph changes.
const WALKS: usize = 12;
/// How often the whole graphs are compared.
const COMPARED_WHOLE: usize = 20;

/// `SplitMix64`: the same seed tells the same story on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is less than a usize")
    }

    fn time(&mut self) -> Timestamp {
        at(i64::try_from(self.next() % 4_000_000_000_000).expect("it fits"))
    }
}

/// A list whose pages are exact and whose cursors are compared as the graph changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exact {
    Followers,
    Following,
    Averted(Aversion),
}

const EXACT: [Exact; 4] = [
    Exact::Followers,
    Exact::Following,
    Exact::Averted(Aversion::Block),
    Exact::Averted(Aversion::Mute),
];

/// What a page has, and where it goes on.
type Entries = Result<(Vec<(String, i64)>, Option<Cursor>), String>;

impl Exact {
    async fn page(
        self,
        store: &dyn SocialGraphStore,
        of: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Entries {
        let show = |user: &UserId, at: Timestamp| (user.to_string(), at.as_millis());
        match self {
            Self::Followers => store.get_followers(of, cursor, limit).await.map(|page| {
                (page.items.iter().map(|it| show(&it.follower, it.at)).collect(), page.next)
            }),
            Self::Following => store.get_following(of, cursor, limit).await.map(|page| {
                (page.items.iter().map(|it| show(&it.followee, it.at)).collect(), page.next)
            }),
            Self::Averted(Aversion::Block) => {
                store.list_blocks(of, cursor, limit).await.map(|page| {
                    (page.items.iter().map(|it| show(&it.blocked, it.at)).collect(), page.next)
                })
            }
            Self::Averted(Aversion::Mute) => {
                store.list_mutes(of, cursor, limit).await.map(|page| {
                    (page.items.iter().map(|it| show(&it.muted, it.at)).collect(), page.next)
                })
            }
        }
        .map_err(|error| kind_of(&error))
    }
}

/// A list that is being read from both stores.
struct Walk {
    list: Exact,
    of: usize,
    cursors: [Cursor; 2],
}

/// An error as both stores have to give it; one that says nothing about the question is a fault.
fn kind_of(error: &GraphError) -> String {
    match error {
        GraphError::SelfFollow
        | GraphError::SelfBlock
        | GraphError::SelfMute
        | GraphError::Blocked
        | GraphError::BadCursor => error.to_string(),
        other => panic!("a store failed: {other:?}"),
    }
}

fn answer<T>(answer: Result<T, GraphError>) -> Result<T, String> {
    answer.map_err(|error| kind_of(&error))
}

/// Does `operations` random operations on two stores, both empty, and compares every answer.
///
/// The operations are of all kinds, with imports, blocks, erased users, pages that are read on while
/// the graph changes, and ids of all shapes; some users are far busier than others. The two graphs are
/// compared whole from time to time, and at the end. The same `seed` does the same.
///
/// # Panics
///
/// When the stores differ, with the seed, the number of the operation, and the operation.
pub async fn agree(
    one: &dyn SocialGraphStore,
    other: &dyn SocialGraphStore,
    seed: u64,
    operations: usize,
) {
    let mut run = Run {
        stores: [one, other],
        users: (0..USERS).map(name).collect(),
        numbers: Numbers(seed),
        walks: Vec::new(),
        doing: String::new(),
        done: 0,
        seed,
    };
    let rounds = (operations / COMPARED_WHOLE).max(1);
    while run.done < operations {
        run.step().await;
        run.done += 1;
        if run.done.is_multiple_of(rounds) {
            run.compare_whole().await;
        }
    }
    run.compare_whole().await;
}

/// Ids that differ in all the ways in which ids may be mixed up.
fn name(number: usize) -> UserId {
    let id = match number % 6 {
        0 => format!("u{number}"),
        1 => format!("{number}"),
        2 => format!("{}{number:03}", "x".repeat(125)),
        3 => format!("🦀{number}é"),
        4 => format!("U{number} '\"\\$"),
        _ => format!("a/b?{number}=%20"),
    };
    user(&id)
}

struct Run<'a> {
    stores: [&'a dyn SocialGraphStore; 2],
    users: Vec<UserId>,
    numbers: Numbers,
    walks: Vec<Walk>,
    doing: String,
    done: usize,
    seed: u64,
}

impl Run<'_> {
    fn same<T: PartialEq + Debug>(&self, one: &T, other: &T) {
        assert!(
            one == other,
            "seed {}, operation {}, {}: the one says {one:?}, the other {other:?}",
            self.seed,
            self.done,
            self.doing,
        );
    }

    /// A user; the first ones come up far more often than the last.
    fn someone(&mut self) -> usize {
        let limit = 1 + self.numbers.below(USERS);
        self.numbers.below(limit)
    }

    fn pair(&mut self) -> [UserId; 2] {
        [self.someone(), self.someone()].map(|number| self.users[number].clone())
    }

    async fn step(&mut self) {
        match self.numbers.below(100) {
            0..30 => self.follow().await,
            30..42 => self.unfollow().await,
            42..46 => self.import().await,
            46..52 => self.turn_away().await,
            52..60 => self.turn_back().await,
            60 => self.erase().await,
            61..76 => self.read_on().await,
            76..84 => self.intersect().await,
            84..94 => self.ask().await,
            _ => self.ask_many().await,
        }
    }

    async fn follow(&mut self) {
        let [follower, followee] = self.pair();
        let at = self.numbers.time();
        self.doing = format!("add_follow {follower} {followee}");
        let answers = [
            answer(self.stores[0].add_follow(&follower, &followee, at).await),
            answer(self.stores[1].add_follow(&follower, &followee, at).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    async fn unfollow(&mut self) {
        let [follower, followee] = self.pair();
        self.doing = format!("remove_follow {follower} {followee}");
        let answers = [
            answer(self.stores[0].remove_follow(&follower, &followee).await),
            answer(self.stores[1].remove_follow(&follower, &followee).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    async fn import(&mut self) {
        let mut edges = Vec::new();
        for _ in 0..self.numbers.below(40) {
            let kind = match self.numbers.below(30) {
                0 => EdgeKind::Block,
                1 | 2 => EdgeKind::Mute,
                _ => EdgeKind::Follow,
            };
            let [source, target] = self.pair();
            edges.push(Edge { kind, source, target, at: self.numbers.time() });
        }
        self.doing = format!("import_edges {edges:?}");
        let answers = [
            answer(self.stores[0].import_edges(edges.clone()).await),
            answer(self.stores[1].import_edges(edges).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    async fn turn_away(&mut self) {
        let kind = AVERSIONS[self.numbers.below(2)];
        let [source, target] = self.pair();
        let at = self.numbers.time().as_millis();
        self.doing = format!("add {kind:?} {source} {target}");
        let answers = [
            answer(kind.add(self.stores[0], source.as_str(), target.as_str(), at).await),
            answer(kind.add(self.stores[1], source.as_str(), target.as_str(), at).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    async fn turn_back(&mut self) {
        let kind = AVERSIONS[self.numbers.below(2)];
        let [source, target] = self.pair();
        self.doing = format!("remove {kind:?} {source} {target}");
        let answers = [
            answer(kind.remove(self.stores[0], source.as_str(), target.as_str()).await),
            answer(kind.remove(self.stores[1], source.as_str(), target.as_str()).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    async fn erase(&mut self) {
        let number = self.someone();
        let of = self.users[number].clone();
        self.doing = format!("erase_user {of}");
        // Whether the cursors of lists that are gone still mean anything is up to the store.
        self.walks.retain(|walk| walk.of != number);
        let answers = [
            answer(self.stores[0].erase_user(&of).await),
            answer(self.stores[1].erase_user(&of).await),
        ];
        self.same(&answers[0], &answers[1]);
    }

    /// Reads a page of a list: the first, or one of a list that was begun.
    async fn read_on(&mut self) {
        let begins = self.walks.is_empty() || self.numbers.below(3) == 0;
        let (list, of, cursors) = if begins {
            (EXACT[self.numbers.below(EXACT.len())], self.someone(), None)
        } else {
            let place = self.numbers.below(self.walks.len());
            let Walk { list, of, cursors } = self.walks.swap_remove(place);
            (list, of, Some(cursors))
        };
        let limit = 1 + self.numbers.below(6);
        self.doing = format!("{list:?} of {} by {limit} from {cursors:?}", self.users[of]);
        let [first, second] = cursors.map_or([None, None], |it| it.map(Some));
        let one = list.page(self.stores[0], &self.users[of], first.as_ref(), limit).await;
        let other = list.page(self.stores[1], &self.users[of], second.as_ref(), limit).await;
        let shown =
            |entries: &Entries| entries.clone().map(|(items, next)| (items, next.is_some()));
        self.same(&shown(&one), &shown(&other));
        if let (Ok((_, Some(one))), Ok((_, Some(other)))) = (one, other)
            && self.walks.len() < WALKS
        {
            self.walks.push(Walk { list, of, cursors: [one, other] });
        }
    }

    /// Reads what two have in common whole: where its pages end is up to the store.
    async fn intersect(&mut self) {
        let [one, other] = self.pair();
        let limits = [1 + self.numbers.below(8), 1 + self.numbers.below(8)];
        if self.numbers.below(3) == 0 {
            self.doing = format!("friends of {one}");
            let friends = [
                friends(self.stores[0], &one, limits[0]).await,
                friends(self.stores[1], &one, limits[1]).await,
            ];
            return self.same(&friends[0], &friends[1]);
        }
        let list = SHARED[self.numbers.below(2)];
        self.doing = format!("{list:?} of {one} and {other}");
        let of = [one.as_str(), other.as_str()];
        let shared = [
            list.whole(self.stores[0], of, limits[0]).await,
            list.whole(self.stores[1], of, limits[1]).await,
        ];
        self.same(&shared[0], &shared[1]);
    }

    async fn ask(&mut self) {
        let [one, other] = self.pair();
        self.doing = format!("counts of {one}, is_following {other}");
        let mut answers = Vec::new();
        for store in self.stores {
            let counts = answer(store.counts(&one).await);
            answers.push((counts, answer(store.is_following(&one, &other).await)));
        }
        self.same(&answers[0], &answers[1]);
    }

    async fn ask_many(&mut self) {
        let [one, _] = self.pair();
        let asked: Vec<_> = (0..self.numbers.below(30)).map(|_| self.pair()[0].clone()).collect();
        self.doing = format!("are_following, neighbours and hidden_from {one} of {asked:?}");
        let mut answers = Vec::new();
        for store in self.stores {
            let names: Vec<_> = asked.iter().map(UserId::as_str).collect();
            let following = answer(store.are_following(&one, &asked).await);
            let mut neighbours = Vec::new();
            for side in [NeighbourSide::Following, NeighbourSide::Followers] {
                neighbours.push(answer(store.get_neighbours(&asked, side, 20).await));
            }
            answers.push((following, neighbours, hidden(store, one.as_str(), &names).await));
        }
        self.same(&answers[0], &answers[1]);
    }

    /// Compares all edges, and how many there are. How many users a store knows is its contract's.
    async fn compare_whole(&mut self) {
        self.doing = "the whole graph".to_owned();
        let mut graphs = Vec::new();
        for store in self.stores {
            let limit = 1 + self.numbers.below(500);
            let stats = store.stats().await.expect("the store says its size");
            let edges = by_source(export(store, limit).await);
            graphs.push(((stats.follows, stats.blocks, stats.mutes), edges));
        }
        self.same(&graphs[0].0, &graphs[1].0);
        self.same(&graphs[0].1, &graphs[1].1);
        for of in self.users.clone() {
            self.doing = format!("the followers of {of}");
            let followers = [
                Exact::Followers.page(self.stores[0], &of, None, usize::MAX).await,
                Exact::Followers.page(self.stores[1], &of, None, usize::MAX).await,
            ];
            let [one, other] = followers.map(|it| it.map(|(items, _)| items));
            self.same(&one, &other);
        }
    }
}

/// All friends of a user, `limit` at a time.
async fn friends(store: &dyn SocialGraphStore, of: &UserId, limit: usize) -> Vec<UserId> {
    let mut friends = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = store.get_mutual_follows(of, cursor.as_ref(), limit).await;
        let page = page.expect("friends are listed");
        assert!(page.items.len() <= limit, "a page has at most what was asked for");
        friends.extend(page.items);
        let Some(next) = page.next else { return friends };
        cursor = Some(next);
    }
    panic!("the friends of {of} do not end");
}
