//! The rules of the port, with the cache in between.

use std::{ops::Deref, time::Duration};

use tidings_testkit::{
    contract_graph::agree,
    services::{redis_url, unique_name},
};

use crate::{
    around::With,
    scene::{Any, Far, Node, config, shared_config, two_nodes},
};

/// The rules of the port, on the stores that an async function gives.
macro_rules! rules {
    ($open:path) => {
        tidings_testkit::contract_tests!(
            tidings_testkit::contract_graph, $open;
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

/// A store and what it needs.
struct Kept<T>(T);

impl Deref for Kept<Node> {
    type Target = tidings_graph::GraphCache;
    fn deref(&self) -> &tidings_graph::GraphCache {
        &self.0
    }
}

impl Deref for Kept<With<Any>> {
    type Target = With<Any>;
    fn deref(&self) -> &With<Any> {
        &self.0
    }
}

async fn open_one_node() -> Kept<Node> {
    Kept(Node::open(Far::open(Duration::ZERO), &config()).await)
}

async fn open_two_nodes() -> Kept<With<Any>> {
    let config = shared_config(&redis_url(), &unique_name("cache"));
    Kept(two_nodes(Far::open(Duration::ZERO), &config).await)
}

async fn open_two_nodes_far_away() -> Kept<With<Any>> {
    let config = shared_config(&redis_url(), &unique_name("cache"));
    Kept(two_nodes(Far::open(Duration::from_micros(500)), &config).await)
}

mod one_node {
    rules!(super::open_one_node);
}

mod two_nodes {
    rules!(super::open_two_nodes);
}

mod two_nodes_far_away {
    rules!(super::open_two_nodes_far_away);
}

#[tokio::test]
async fn two_nodes_and_a_graph_without_a_cache_give_the_same_answers() {
    let (cached, other) = (open_two_nodes().await, Far::open(Duration::ZERO));
    agree(&*cached, other.0.near(), 7, 3_000).await;
}
