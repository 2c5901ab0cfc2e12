use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch},
    clock::Timestamp,
    ids::NotificationId,
    inbox::{Acknowledgement, Mark, Selection},
    notification::Notification,
};
use tokio::sync::watch;

use super::*;

/// A store whose inbox of user `N` reaches to `seq` N. It counts what it is asked, can be held up, and
/// cannot read the inbox of user 13.
struct Numbers {
    /// For each read, how many inboxes it asked for, and its limit.
    reads: Mutex<Vec<(usize, usize)>>,
    held: watch::Sender<bool>,
    gone: AtomicBool,
}

impl Numbers {
    async fn read(&self, users: &[&UserId], limit: usize) -> Result<Vec<InboxPage>, StoreError> {
        self.reads.lock().unwrap().push((users.len(), limit));
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        if self.gone.load(Ordering::SeqCst) {
            let (op, backend, source) = ("read", "double", "told to be gone".into());
            return Err(StoreError::Unavailable { op, backend, source });
        }
        if users.iter().any(|user| user.as_str() == "13") {
            let (backend, what, source) = ("double", "inbox", "told to be damaged".into());
            return Err(StoreError::Corrupt { backend, what, source });
        }
        let page = |user: &&UserId| InboxPage {
            inbox: InboxState {
                last_seq: Seq(user.as_str().parse().unwrap()),
                ..Default::default()
            },
            notifications: Vec::new(),
        };
        Ok(users.iter().map(page).collect())
    }
}

#[async_trait]
impl NotificationStore for Numbers {
    async fn append(
        &self,
        _: Arc<NotificationBatch>,
        _: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        panic!("a reader does not append")
    }

    async fn inbox(&self, _: &UserId) -> Result<InboxState, StoreError> {
        panic!("inboxes are read in groups")
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        let pages = self.read(&users.iter().collect::<Vec<_>>(), 0).await?;
        Ok(pages.into_iter().map(|page| page.inbox).collect())
    }

    async fn pages_after(
        &self,
        places: &[(UserId, Seq)],
        limit: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        self.read(&places.iter().map(|(user, _)| user).collect::<Vec<_>>(), limit).await
    }

    async fn list_after(
        &self,
        _: &UserId,
        _: Seq,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        panic!("pages are read in groups")
    }

    async fn list_newest(
        &self,
        _: &UserId,
        _: Option<Seq>,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        panic!("a reader reads onwards")
    }

    async fn find(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        panic!("a reader does not look for one")
    }

    async fn mark(
        &self,
        _: &UserId,
        _: Mark,
        _: Selection,
        _: Timestamp,
    ) -> Result<InboxState, StoreError> {
        panic!("a reader does not mark")
    }

    async fn acknowledge(&self, _: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        panic!("a reader does not acknowledge")
    }

    async fn check(&self) -> Result<(), StoreError> {
        panic!("a reader does not check")
    }
}

/// A reader of pages of 200 at work.
struct Scene {
    store: Arc<Numbers>,
    replays: Replays,
    stop: CancellationToken,
    reader: JoinSet<()>,
}

impl Scene {
    fn new() -> Self {
        let store = Arc::new(Numbers {
            reads: Mutex::default(),
            held: watch::Sender::new(false),
            gone: AtomicBool::new(false),
        });
        let (reader, replays) = ReplayReader::new(Arc::clone(&store) as _, 200);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(reader.run(stop.clone()));
        Self { store, replays, stop, reader: tasks }
    }

    /// Says hello for each of `users`, all at once.
    fn hellos(
        &self,
        users: impl IntoIterator<Item = u64>,
    ) -> JoinSet<(u64, Result<u64, ReplayError>)> {
        let mut asking = JoinSet::new();
        for number in users {
            let replays = self.replays.clone();
            asking.spawn(async move {
                let page = replays.catch_up(&user(number), Some(Seq(0))).await;
                (number, page.map(|page| page.inbox.last_seq.0))
            });
        }
        asking
    }

    fn reads(&self) -> Vec<(usize, usize)> {
        self.store.reads.lock().unwrap().clone()
    }

    /// Waits until the store was asked `count` times.
    async fn asked(&self, count: usize) {
        while self.reads().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn user(number: u64) -> UserId {
    UserId::new(&number.to_string()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_comes_alone_is_read_for_at_once() {
    let scene = Scene::new();
    let start = Instant::now();
    for number in 1..=3 {
        let page = scene.replays.catch_up(&user(number), None).await.unwrap();
        assert_eq!(page.inbox.last_seq, Seq(number));
        tokio::time::advance(COMPANY).await;
    }
    assert_eq!(start.elapsed(), 3 * COMPANY, "nothing but our own pauses");
    assert_eq!(scene.reads(), [(1, 0); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_herd_shares_reads_and_everyone_gets_their_own_inbox() {
    let scene = Scene::new();
    scene.store.held.send_replace(true);
    let mut asking = scene.hellos(100..3_100);
    scene.asked(LANES).await;
    scene.store.held.send_replace(false);
    for (number, last_seq) in std::mem::take(&mut asking).join_all().await {
        assert_eq!(last_seq.unwrap(), number);
    }
    let reads = scene.reads();
    assert!(reads.len() <= 2 * 3_000 / GROUP, "{reads:?}");
    assert_eq!(reads.iter().map(|(inboxes, _)| inboxes).sum::<usize>(), 3_000);
    for (inboxes, limit) in reads {
        assert!(inboxes <= GROUP && inboxes * limit <= ROWS.max(200), "{inboxes} * {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_one_after_the_other_wait_a_moment_for_company() {
    let scene = Scene::new();
    let mut asking = JoinSet::new();
    for number in 100..500 {
        let replays = scene.replays.clone();
        asking.spawn(async move {
            let start = Instant::now();
            replays.catch_up(&user(number), Some(Seq(0))).await.unwrap();
            start.elapsed()
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waits = asking.join_all().await;
    let longest = waits.iter().max().unwrap();
    assert!(*longest <= COMPANY, "{longest:?}");
    let reads = scene.reads().len();
    assert!(reads <= 400 / 10, "{reads} reads for 400 hellos");
}

#[tokio::test(start_paused = true)]
async fn a_session_in_the_middle_of_something_does_not_wait() {
    let scene = Scene::new();
    let start = Instant::now();
    for number in 1..=9 {
        scene.replays.page_after(&user(number), Seq(0)).await.unwrap();
        assert_eq!(scene.replays.head(&user(number)).await.unwrap().last_seq, Seq(number));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(scene.reads().len(), 18);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_cannot_be_read_costs_nobody_else_anything() {
    let scene = Scene::new();
    for (number, last_seq) in scene.hellos(0..30).join_all().await {
        match last_seq {
            Ok(last_seq) => assert_eq!(last_seq, number),
            Err(error) => assert!(number == 13 && matches!(error, ReplayError::Store(_))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_is_asked_once_for_all() {
    let scene = Scene::new();
    scene.store.gone.store(true, Ordering::SeqCst);
    scene.store.held.send_replace(true);
    let mut asking = scene.hellos(100..200);
    scene.asked(1).await;
    scene.store.held.send_replace(false);
    for (_, outcome) in std::mem::take(&mut asking).join_all().await {
        assert!(matches!(outcome, Err(ReplayError::Store(error)) if error.is_transient()));
    }
    assert!(scene.reads().len() <= 4, "{:?}", scene.reads());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_any_more_is_not_read_for() {
    let scene = Scene::new();
    scene.store.held.send_replace(true);
    let mut first = scene.hellos([1]);
    scene.asked(1).await;
    let given_up = scene.hellos(100..120);
    tokio::time::sleep(COMPANY / 2).await;
    drop(given_up);
    tokio::time::sleep(COMPANY).await;
    scene.store.held.send_replace(false);
    assert_eq!(first.join_next().await.unwrap().unwrap().1.unwrap(), 1);
    assert_eq!(scene.reads(), [(1, 200)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_stopped_answers_what_was_asked_and_then_ends() {
    let mut scene = Scene::new();
    scene.store.held.send_replace(true);
    let asking = scene.hellos(100..700);
    scene.asked(LANES).await;
    scene.stop.cancel();
    scene.store.held.send_replace(false);
    for (number, last_seq) in asking.join_all().await {
        assert_eq!(last_seq.unwrap(), number);
    }
    scene.reader.join_next().await.unwrap().unwrap();
    assert!(matches!(scene.replays.head(&user(1)).await, Err(ReplayError::Ended)));
}
