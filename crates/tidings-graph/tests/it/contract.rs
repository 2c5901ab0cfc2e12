//! The rules of the port.

use crate::harness::open_temporary;

tidings_testkit::contract_tests!(
    tidings_testkit::contract_graph, open_temporary;
    a_cursor_of_another_list_is_refused,
    a_cursor_outlives_the_edges_around_it,
    a_page_has_at_most_what_was_asked_for,
    a_user_cannot_follow_themself,
    an_edge_that_comes_back_is_the_newest,
    an_import_keeps_its_order_and_the_edges_that_exist,
    an_import_leaves_self_follows_out_and_is_idempotent,
    an_import_of_nothing_adds_nothing,
    counts_follow_every_change,
    following_twice_is_following_once_with_the_first_time,
    friends_are_those_who_follow_back_newest_follow_first,
    ids_of_128_bytes_and_of_any_script_are_kept_apart,
    is_following_knows_the_direction,
    lists_are_newest_first_with_their_times,
    pages_are_exact_while_others_come_and_go,
    pages_are_exact_while_writers_run,
    random_operations_agree_with_a_naive_model,
    the_store_gives_a_sign_of_life,
    unfollowing_is_idempotent,
    unknown_users_have_no_edges,
    what_is_not_a_cursor_is_refused,
);
