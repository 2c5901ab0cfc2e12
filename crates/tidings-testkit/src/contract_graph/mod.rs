//! The contract of [`SocialGraphStore`]: each rule takes an empty store.
//!
//! A rule panics when it is broken. Run all of them with
//! [`graph_contract_tests!`](crate::graph_contract_tests).
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "panicking is how a rule says that it is broken"
)]

mod agree;
mod aversions;
mod bulk;
mod edges;
mod hidden;
mod intersections;
mod model;
mod naive;
mod pages;

use tidings_core::{
    clock::Timestamp,
    follow::{Edge, Follow},
    ids::UserId,
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

pub use agree::agree;
pub use aversions::{
    a_block_refuses_follows_both_ways_while_it_stands, a_block_removes_the_follows_between_the_two,
    a_cursor_of_other_blocks_or_mutes_is_refused, a_mute_leaves_follows_alone,
    a_pair_may_have_a_block_and_a_mute, a_user_cannot_block_or_mute_themself,
    an_import_leaves_blocked_follows_out, blocking_and_muting_are_idempotent,
    blocks_and_mutes_come_in_exact_pages, blocks_in_both_directions_stand_apart,
};
pub use bulk::{
    a_user_with_many_edges_is_erased_whole, an_erased_user_is_gone_from_every_list,
    an_erased_user_is_not_counted, an_erased_user_starts_anew, an_export_can_be_imported_again,
    an_export_has_every_edge_once, an_export_is_exact_while_edges_come_and_go,
    an_export_refuses_what_is_not_its_cursor, an_import_takes_blocks_and_mutes,
    stats_follow_every_change,
};
pub use edges::{
    a_user_cannot_follow_themself, an_edge_that_comes_back_is_the_newest,
    an_import_keeps_its_order_and_the_edges_that_exist,
    an_import_leaves_self_follows_out_and_is_idempotent, an_import_of_nothing_adds_nothing,
    counts_follow_every_change, following_twice_is_following_once_with_the_first_time,
    ids_of_128_bytes_and_of_any_script_are_kept_apart, is_following_knows_the_direction,
    unfollowing_is_idempotent, unknown_users_have_no_edges,
};
pub use hidden::{
    a_block_hides_both_from_each_other, a_long_question_is_answered_in_its_order,
    a_mute_hides_the_muted_from_the_muter_only, nobody_is_hidden_where_nobody_turned_away,
    whoever_has_two_reasons_stays_hidden_when_one_goes,
};
pub use intersections::{
    a_cursor_of_another_intersection_is_refused, common_follows_are_those_whom_both_follow,
    followers_you_know_are_followed_by_you, intersections_are_exact_while_others_come_and_go,
    many_questions_are_answered_in_their_order, neighbours_of_many_are_answered_in_their_order,
    the_most_followed_come_first, what_is_rare_among_many_is_found,
};
pub use model::random_operations_agree_with_a_naive_model;
pub use pages::{
    a_cursor_of_another_list_is_refused, a_cursor_outlives_the_edges_around_it,
    a_page_has_at_most_what_was_asked_for, friends_are_those_who_follow_back_newest_follow_first,
    lists_are_newest_first_with_their_times, pages_are_exact_while_others_come_and_go,
    pages_are_exact_while_writers_run, the_store_gives_a_sign_of_life,
    what_is_not_a_cursor_is_refused,
};

/// Makes tests of all rules of the graph port, where it stands.
///
/// `$open` opens an empty graph of its own; see [`contract_tests!`](crate::contract_tests). A rule that
/// is missing here is run on no adapter: add it with the rule.
#[macro_export]
macro_rules! graph_contract_tests {
    ($open:path) => {
        $crate::contract_tests!(
            $crate::contract_graph, $open;
            a_block_hides_both_from_each_other,
            a_block_refuses_follows_both_ways_while_it_stands,
            a_block_removes_the_follows_between_the_two,
            a_cursor_of_another_intersection_is_refused,
            a_cursor_of_another_list_is_refused,
            a_cursor_of_other_blocks_or_mutes_is_refused,
            a_cursor_outlives_the_edges_around_it,
            a_long_question_is_answered_in_its_order,
            a_mute_hides_the_muted_from_the_muter_only,
            a_mute_leaves_follows_alone,
            a_page_has_at_most_what_was_asked_for,
            a_pair_may_have_a_block_and_a_mute,
            a_user_cannot_block_or_mute_themself,
            a_user_cannot_follow_themself,
            a_user_with_many_edges_is_erased_whole,
            an_edge_that_comes_back_is_the_newest,
            an_erased_user_is_gone_from_every_list,
            an_erased_user_is_not_counted,
            an_erased_user_starts_anew,
            an_export_can_be_imported_again,
            an_export_has_every_edge_once,
            an_export_is_exact_while_edges_come_and_go,
            an_export_refuses_what_is_not_its_cursor,
            an_import_keeps_its_order_and_the_edges_that_exist,
            an_import_leaves_blocked_follows_out,
            an_import_leaves_self_follows_out_and_is_idempotent,
            an_import_of_nothing_adds_nothing,
            an_import_takes_blocks_and_mutes,
            blocking_and_muting_are_idempotent,
            blocks_and_mutes_come_in_exact_pages,
            blocks_in_both_directions_stand_apart,
            common_follows_are_those_whom_both_follow,
            counts_follow_every_change,
            followers_you_know_are_followed_by_you,
            following_twice_is_following_once_with_the_first_time,
            friends_are_those_who_follow_back_newest_follow_first,
            ids_of_128_bytes_and_of_any_script_are_kept_apart,
            intersections_are_exact_while_others_come_and_go,
            is_following_knows_the_direction,
            lists_are_newest_first_with_their_times,
            many_questions_are_answered_in_their_order,
            neighbours_of_many_are_answered_in_their_order,
            the_most_followed_come_first,
            nobody_is_hidden_where_nobody_turned_away,
            pages_are_exact_while_others_come_and_go,
            pages_are_exact_while_writers_run,
            random_operations_agree_with_a_naive_model,
            stats_follow_every_change,
            the_store_gives_a_sign_of_life,
            unfollowing_is_idempotent,
            unknown_users_have_no_edges,
            what_is_not_a_cursor_is_refused,
            what_is_rare_among_many_is_found,
            whoever_has_two_reasons_stays_hidden_when_one_goes,
        );
    };
}

/// More pages than any list of a rule has: a list that never ends fails instead.
const MOST_PAGES: usize = 10_000;

fn user(id: &str) -> UserId {
    UserId::new(id).expect("the id is one")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn follow(follower: &str, followee: &str, millis: i64) -> Follow {
    Follow { follower: user(follower), followee: user(followee), at: at(millis) }
}

/// Adds an edge that has to be new.
async fn add(store: &dyn SocialGraphStore, follower: &str, followee: &str, millis: i64) {
    let added = store.add_follow(&user(follower), &user(followee), at(millis)).await;
    assert!(added.expect("the edge is added"), "{follower} -> {followee} is new");
}

/// Imports follows; gives how many are new.
async fn import(store: &dyn SocialGraphStore, follows: Vec<Follow>) -> Result<u64, GraphError> {
    store.import_edges(follows.into_iter().map(Edge::from).collect()).await
}

/// Removes an edge that has to exist.
async fn remove(store: &dyn SocialGraphStore, follower: &str, followee: &str) {
    let removed = store.remove_follow(&user(follower), &user(followee)).await;
    assert!(removed.expect("the edge is removed"), "{follower} -> {followee} exists");
}

/// A list of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Followers,
    Following,
    Friends,
}

const LISTS: [List; 3] = [List::Followers, List::Following, List::Friends];

/// A user in a list: who is at the other end, and since when unless it is a list of friends.
type Listed = (String, Option<i64>);

/// Reads one page of any list.
async fn page(
    store: &dyn SocialGraphStore,
    list: List,
    of: &UserId,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Page<Listed> {
    let show = |id: UserId, at: Option<Timestamp>| (id.to_string(), at.map(Timestamp::as_millis));
    match list {
        List::Followers => {
            let page = store.get_followers(of, cursor, limit).await.expect("followers are listed");
            assert!(page.items.iter().all(|it| it.followee == *of), "others' followers are listed");
            let items = page.items.into_iter().map(|it| show(it.follower, Some(it.at))).collect();
            Page { items, next: page.next }
        }
        List::Following => {
            let page = store.get_following(of, cursor, limit).await.expect("following is listed");
            assert!(page.items.iter().all(|it| it.follower == *of), "others' follows are listed");
            let items = page.items.into_iter().map(|it| show(it.followee, Some(it.at))).collect();
            Page { items, next: page.next }
        }
        List::Friends => {
            let page = store.get_mutual_follows(of, cursor, limit).await;
            let page = page.expect("friends are listed");
            Page {
                items: page.items.into_iter().map(|id| show(id, None)).collect(),
                next: page.next,
            }
        }
    }
}

/// Reads a list to its end, `limit` at a time.
async fn whole(store: &dyn SocialGraphStore, list: List, of: &str, limit: usize) -> Vec<Listed> {
    let of = user(of);
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = page(store, list, &of, cursor.as_ref(), limit).await;
        assert!(page.items.len() <= limit, "a page has at most what was asked for");
        items.extend(page.items);
        let Some(next) = page.next else { return items };
        cursor = Some(next);
    }
    panic!("the list of {of} does not end");
}

/// The users of a list, without times.
async fn names(store: &dyn SocialGraphStore, list: List, of: &str) -> Vec<String> {
    whole(store, list, of, 100).await.into_iter().map(|(name, _)| name).collect()
}
