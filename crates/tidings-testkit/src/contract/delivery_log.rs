//! The rules of `DeliveryLogStore`.

use std::sync::Arc;

use tidings_core::{
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, UserId},
    ports::{
        Cutoffs, DeliveryFilter, DeliveryNumber, LogPage, LoggedDelivery, MAX_LOG_LOOKS,
        NotificationLogPage, UserLogPage,
    },
};
use tokio::task::JoinSet;

use super::{
    Store,
    sample::{ALL, acknowledgement, at, fill, user},
};

const EVERYTHING: DeliveryFilter =
    DeliveryFilter { channel: None, outcome: None, since: None, until: None };

/// An attempt, told apart from others by its time.
fn attempt(id: NotificationId, user: &UserId, millis: u64) -> Delivery {
    Delivery {
        notification: id,
        user: user.clone(),
        channel: Channel::Fcm,
        target: "phone".to_owned(),
        attempt: 1,
        at: at(millis),
        latency_ms: 1,
        outcome: Outcome::Retrying,
        reason: Some("UNAVAILABLE".to_owned()),
        provider_id: None,
    }
}

async fn write(store: &dyn Store, deliveries: Vec<Delivery>) {
    let user = deliveries[0].user.clone();
    let acknowledged = acknowledgement(&user, (0, 0), deliveries);
    store.acknowledge(Arc::new([acknowledged])).await.expect("acknowledge");
}

fn times(rows: &[LoggedDelivery]) -> Vec<u64> {
    let millis = |it: &LoggedDelivery| it.delivery.at.since(at(0)).as_millis();
    rows.iter().map(|it| u64::try_from(millis(it)).expect("small")).collect()
}

/// All pages of a user's log, each of `limit` rows.
async fn pages_of(
    store: &dyn Store,
    user: &UserId,
    filter: DeliveryFilter,
    limit: usize,
) -> Vec<UserLogPage> {
    let mut pages: Vec<UserLogPage> = Vec::new();
    loop {
        let before = pages.last().and_then(|it| it.next);
        let page = store.list_user_deliveries(user, filter, before, limit).await;
        let page = page.expect("list_user_deliveries");
        let is_last = page.next.is_none();
        pages.push(page);
        if is_last {
            return pages;
        }
    }
}

/// All pages of the log from `after` on, each of `limit` rows.
async fn read(
    store: &dyn Store,
    whose: Option<&UserId>,
    filter: DeliveryFilter,
    after: Option<DeliveryNumber>,
    limit: usize,
) -> Vec<LogPage> {
    let mut pages: Vec<LogPage> = Vec::new();
    loop {
        let after = pages.last().map(|it| it.upto).or(after);
        let page = store.read_log(whose, filter, after, limit).await.expect("read_log");
        let complete = page.complete;
        pages.push(page);
        if complete {
            return pages;
        }
    }
}

/// All pages of a notification's log, each of `limit` rows.
async fn pages_of_one(
    store: &dyn Store,
    id: NotificationId,
    filter: DeliveryFilter,
    limit: usize,
) -> Vec<NotificationLogPage> {
    let mut pages: Vec<NotificationLogPage> = Vec::new();
    loop {
        let after = pages.last().and_then(|it| it.next);
        let page = store.list_deliveries(id, filter, after, limit).await;
        let page = page.expect("list_deliveries");
        let is_last = page.next.is_none();
        pages.push(page);
        if is_last {
            return pages;
        }
    }
}

/// Everything in the log of a notification.
pub(super) async fn whole_log_of(store: &dyn Store, id: NotificationId) -> Vec<Delivery> {
    let pages = pages_of_one(store, id, EVERYTHING, 1_000).await;
    pages.into_iter().flat_map(|it| it.rows).map(|it| it.delivery).collect()
}

fn rows_of(pages: Vec<LogPage>) -> Vec<LoggedDelivery> {
    pages.into_iter().flat_map(|it| it.rows).collect()
}

/// A user's own attempts are listed, newest notification first, page by page.
pub async fn the_log_of_a_user_is_listed_newest_first(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let ids = fill(store, &ann, &["e1", "e2"]).await;
    let other = fill(store, &ben, &["e1"]).await[0];
    assert_eq!(pages_of(store, &user("nobody"), EVERYTHING, 9).await, [UserLogPage::default()]);
    // Written in turns, as retries are.
    for (id, whose, millis) in [
        (ids[0], &ann, 1),
        (ids[1], &ann, 2),
        (other, &ben, 3),
        (ids[0], &ann, 4),
        (ids[1], &ann, 5),
    ] {
        write(store, vec![attempt(id, whose, millis)]).await;
    }
    for limit in 1..=5 {
        let pages = pages_of(store, &ann, EVERYTHING, limit).await;
        assert!(pages.iter().all(|it| it.rows.len() <= limit), "{pages:?}");
        let rows: Vec<_> = pages.into_iter().flat_map(|it| it.rows).collect();
        assert_eq!(times(&rows), [5, 2, 4, 1], "in pages of {limit}");
        assert_eq!(rows[3].delivery, attempt(ids[0], &ann, 1));
    }
    let of_ben = pages_of(store, &ben, EVERYTHING, ALL).await;
    assert_eq!(times(&of_ben[0].rows), [3]);
}

/// A notification's own attempts are listed in the order of writing, page by page, also when they have
/// the same time or times that run backwards.
pub async fn the_log_of_a_notification_is_listed_page_by_page(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let ids = fill(store, &ann, &["e1", "e2"]).await;
    let other = fill(store, &ben, &["e1"]).await[0];
    let nothing = pages_of_one(store, ids[0], EVERYTHING, 9).await;
    assert_eq!(nothing, [NotificationLogPage::default()]);
    // Others' rows come between, and each row is told from others by its attempt.
    let millis = [5, 5, 5, 5, 4, 4, 9];
    for (number, millis) in (1..).zip(millis) {
        write(store, vec![Delivery { attempt: number, ..attempt(ids[0], &ann, millis) }]).await;
        write(store, vec![attempt(ids[1], &ann, millis)]).await;
        write(store, vec![attempt(other, &ben, millis)]).await;
    }
    for limit in 1..=8 {
        let pages = pages_of_one(store, ids[0], EVERYTHING, limit).await;
        assert!(pages.iter().all(|it| it.rows.len() <= limit), "{pages:?}");
        let full = pages.iter().rev().skip(1);
        assert!(full.into_iter().all(|it| it.rows.len() == limit), "{pages:?}");
        let rows: Vec<_> = pages.into_iter().flat_map(|it| it.rows).collect();
        let attempts: Vec<_> = rows.iter().map(|it| it.delivery.attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 4, 5, 6, 7], "in pages of {limit}");
        assert!(rows.is_sorted_by(|a, b| a.number < b.number), "{rows:?}");
    }
    // A cursor stays right while rows are added.
    let first = store.list_deliveries(ids[0], EVERYTHING, None, 4).await.expect("list_deliveries");
    write(store, vec![Delivery { attempt: 8, ..attempt(ids[0], &ann, 1) }]).await;
    let rest = store.list_deliveries(ids[0], EVERYTHING, first.next, 9).await;
    let rest = rest.expect("list_deliveries").rows;
    let attempts: Vec<_> = rest.iter().map(|it| it.delivery.attempt).collect();
    assert_eq!(attempts, [5, 6, 7, 8]);
}

/// A filter takes what has all that it names; a time window has its beginning and not its end.
pub async fn a_filter_narrows_the_log(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let id = fill(store, &ann, &["e1"]).await[0];
    let of_ben = fill(store, &ben, &["e2"]).await[0];
    let mut rows = Vec::new();
    for (millis, channel, outcome) in [
        (1, Channel::WebSocket, Outcome::Delivered),
        (2, Channel::Apns, Outcome::Retrying),
        (3, Channel::Apns, Outcome::Delivered),
        (4, Channel::WebPush, Outcome::Failed),
        (5, Channel::Fcm, Outcome::Skipped),
    ] {
        rows.push(Delivery { channel, outcome, ..attempt(id, &ann, millis) });
    }
    write(store, rows).await;
    write(store, vec![attempt(of_ben, &ben, 6)]).await;
    let channel = Some(Channel::Apns);
    let outcome = Some(Outcome::Delivered);
    for (filter, expected) in [
        (EVERYTHING, vec![1, 2, 3, 4, 5]),
        (DeliveryFilter { channel, ..EVERYTHING }, vec![2, 3]),
        (DeliveryFilter { outcome, ..EVERYTHING }, vec![1, 3]),
        (DeliveryFilter { channel, outcome, ..EVERYTHING }, vec![3]),
        (DeliveryFilter { since: Some(at(3)), ..EVERYTHING }, vec![3, 4, 5]),
        (DeliveryFilter { until: Some(at(3)), ..EVERYTHING }, vec![1, 2]),
        (DeliveryFilter { since: Some(at(2)), until: Some(at(5)), ..EVERYTHING }, vec![2, 3, 4]),
        (DeliveryFilter { since: Some(at(9)), ..EVERYTHING }, vec![]),
    ] {
        let mut listed = times(&pages_of(store, &ann, filter, ALL).await[0].rows);
        listed.reverse();
        assert_eq!(listed, expected, "{filter:?}");
        for limit in [1, 2, ALL] {
            let pages = pages_of_one(store, id, filter, limit).await;
            let rows: Vec<_> = pages.into_iter().flat_map(|it| it.rows).collect();
            assert_eq!(times(&rows), expected, "{filter:?}");
        }
        let rows = rows_of(read(store, Some(&ann), filter, None, 2).await);
        assert_eq!(times(&rows), expected, "{filter:?}");
    }
    let all = rows_of(read(store, None, EVERYTHING, None, ALL).await);
    assert_eq!(times(&all), [1, 2, 3, 4, 5, 6]);
    assert_eq!((&all[0].delivery.user, &all[5].delivery.user), (&ann, &ben));
    let nobody = user("nobody");
    assert!(rows_of(read(store, Some(&nobody), EVERYTHING, None, ALL).await).is_empty());
}

/// Whoever goes on where the last page ended gets what was written since, once and in order.
pub async fn the_whole_log_is_read_in_the_order_of_writing(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let of_ann = fill(store, &ann, &["e1"]).await[0];
    let of_ben = fill(store, &ben, &["e1"]).await[0];
    let nothing = store.read_log(None, EVERYTHING, None, 9).await.expect("read_log");
    assert_eq!((nothing.rows.len(), nothing.complete), (0, true));
    // Times run backwards here: the order is that of writing.
    write(store, vec![attempt(of_ann, &ann, 9), attempt(of_ann, &ann, 8)]).await;
    write(store, vec![attempt(of_ben, &ben, 7)]).await;
    for limit in 1..=4 {
        let rows = rows_of(read(store, None, EVERYTHING, None, limit).await);
        assert_eq!(times(&rows), [9, 8, 7], "in pages of {limit}");
        assert!(rows.is_sorted_by_key(|it| it.number), "{rows:?}");
    }
    let upto = read(store, None, EVERYTHING, Some(nothing.upto), ALL).await[0].upto;
    let after = store.read_log(None, EVERYTHING, Some(upto), 9).await.expect("read_log");
    assert_eq!((after.rows.len(), after.upto, after.complete), (0, upto, true));
    write(store, vec![attempt(of_ann, &ann, 6)]).await;
    let rows = rows_of(read(store, None, EVERYTHING, Some(upto), 9).await);
    assert_eq!(times(&rows), [6]);
    assert!(rows[0].number > upto);
    // A row says where it stands, too.
    let rows = rows_of(read(store, None, EVERYTHING, None, ALL).await);
    let rest = rows_of(read(store, None, EVERYTHING, Some(rows[1].number), ALL).await);
    assert_eq!(rest, rows[2..]);
}

/// A number is never used twice, also when all rows have been forgotten meanwhile.
pub async fn a_number_of_the_log_is_never_used_twice(store: &dyn Store) {
    let ann = user("ann");
    let id = fill(store, &ann, &["e1"]).await[0];
    write(store, (1..=3).map(|millis| attempt(id, &ann, millis)).collect()).await;
    let upto = read(store, None, EVERYTHING, None, ALL).await[0].upto;
    let cutoffs = Cutoffs { deliveries: Some(at(100)), ..Cutoffs::default() };
    while !store.forget(cutoffs, 10).await.expect("forget").complete {}
    assert!(rows_of(read(store, None, EVERYTHING, None, ALL).await).is_empty());
    write(store, vec![attempt(id, &ann, 101)]).await;
    let rows = rows_of(read(store, None, EVERYTHING, Some(upto), ALL).await);
    assert_eq!(times(&rows), [101]);
}

/// However rare what is wanted, a page looks at so many rows and says where to go on.
pub async fn a_page_of_the_log_is_bounded_whatever_the_filter(store: &dyn Store) {
    let ann = user("ann");
    let ids = fill(store, &ann, &["e1", "e2"]).await;
    let wanted = |id, millis| Delivery { outcome: Outcome::Failed, ..attempt(id, &ann, millis) };
    let many = MAX_LOG_LOOKS as u64 + 10;
    write(store, vec![wanted(ids[0], 0)]).await;
    write(store, (1..=many).map(|millis| attempt(ids[1], &ann, millis)).collect()).await;
    write(store, vec![wanted(ids[1], many + 1)]).await;
    let filter = DeliveryFilter { outcome: Some(Outcome::Failed), ..EVERYTHING };

    let pages = pages_of(store, &ann, filter, 10).await;
    let found: Vec<_> = pages.iter().map(|it| times(&it.rows)).collect();
    assert_eq!(found, [vec![many + 1], vec![0]]);
    let pages = pages_of_one(store, ids[1], filter, 10).await;
    let found: Vec<_> = pages.iter().map(|it| times(&it.rows)).collect();
    assert_eq!(found, [vec![], vec![many + 1]]);
    let pages = read(store, None, filter, None, 10).await;
    let found: Vec<_> = pages.iter().map(|it| times(&it.rows)).collect();
    assert_eq!(found, [vec![0], vec![many + 1]]);
    // Nobody's rows are passed over as those of others are.
    let of_ben = read(store, Some(&user("ben")), EVERYTHING, None, 10).await;
    assert!(rows_of(of_ben).is_empty());
}

/// A time window gives what is in it, wherever in a long log it is, also where rows came late.
pub async fn a_time_is_found_in_a_long_log(store: &dyn Store) {
    const ROWS: u64 = 30_000;
    let ann = user("ann");
    let id = fill(store, &ann, &["e1"]).await[0];
    const APART_MS: u64 = 20;
    // Each seventh row was written a hundred rows late, and fifty seconds of them in another order.
    let gathered = 6_000..8_500_u64;
    let time = |number: u64| {
        let number = match number {
            _ if gathered.contains(&number) => gathered.end - 1 - (number - gathered.start),
            _ if number.is_multiple_of(7) => number.saturating_sub(100),
            _ => number,
        };
        number * APART_MS
    };
    write(store, (0..ROWS).map(|number| attempt(id, &ann, time(number))).collect()).await;
    let windows =
        [(0, 100), (1, ROWS), (4_500, 4_600), (7_000, 7_010), (29_950, 30_000), (30_001, 30_002)];
    for (since, until) in windows.map(|(since, until)| (since * APART_MS, until * APART_MS)) {
        let filter =
            DeliveryFilter { since: Some(at(since)), until: Some(at(until)), ..EVERYTHING };
        let rows = rows_of(read(store, None, filter, None, 1_000).await);
        let expected: Vec<_> =
            (0..ROWS).map(time).filter(|it| (since..until).contains(it)).collect();
        assert_eq!(times(&rows), expected, "{since}..{until}");
    }
    // It neither begins at the first row nor goes on to the last.
    let (since, until) = (Some(at(2_000 * APART_MS)), Some(at(2_001 * APART_MS)));
    let filter = DeliveryFilter { since, until, ..EVERYTHING };
    let whole = rows_of(read(store, None, EVERYTHING, None, ALL).await);
    let pages = read(store, None, filter, None, 1_000).await;
    assert!(pages[pages.len() - 1].upto < whole[29_500].number, "it looked at everything");
}

const WRITERS: usize = 6;
const WRITES: u64 = 30;

/// Whoever follows the log while many write to it misses no row.
pub async fn a_reader_of_the_log_misses_nothing_that_is_written_meanwhile(
    stores: &[Arc<dyn Store>],
) {
    let users: Vec<_> = (0..WRITERS).map(|number| user(&format!("u{number}"))).collect();
    let mut writers = JoinSet::new();
    for ((number, whose), store) in (0_u64..).zip(&users).zip(stores.iter().cycle()) {
        let id = fill(&*stores[0], whose, &["e1"]).await[0];
        let store = Arc::clone(store);
        let whose = whose.clone();
        writers.spawn(async move {
            for round in 0..WRITES {
                // Long and short transactions, so that they end in another order than they began.
                let rows = if (number + round).is_multiple_of(3) { 40 } else { 1 };
                let millis = |row: u64| 1_000_000 * number + 1_000 * round + row;
                let rows = (0..rows).map(|row| attempt(id, &whose, millis(row)));
                write(&*store, rows.collect()).await;
            }
        });
    }
    let reader = &*stores[stores.len() - 1];
    let mut followed: Vec<LoggedDelivery> = Vec::new();
    let mut upto = DeliveryNumber(0);
    loop {
        let ended = writers.is_empty();
        for page in read(reader, None, EVERYTHING, Some(upto), 50).await {
            upto = page.upto;
            followed.extend(page.rows);
        }
        if ended {
            break;
        }
        while let Some(done) = writers.try_join_next() {
            done.expect("a writer");
        }
    }
    assert!(followed.is_sorted_by(|a, b| a.number < b.number), "out of order, or twice");
    let all = rows_of(read(reader, None, EVERYTHING, None, ALL).await);
    assert_eq!(followed.len(), all.len(), "rows were missed");
    assert_eq!(followed, all);
}
