//! The rules of the port.

use crate::harness::open_temporary;

tidings_testkit::contract_tests!(
    tidings_testkit::contract_graph, open_temporary;
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

/// The same rules while segments take changes in and snapshots are written all the time.
mod while_checkpoints_run {
    use crate::harness::open_checkpointing;

    tidings_testkit::contract_tests!(
        tidings_testkit::contract_graph, open_checkpointing;
        a_block_hides_both_from_each_other,
        a_block_removes_the_follows_between_the_two,
        a_cursor_outlives_the_edges_around_it,
        a_page_has_at_most_what_was_asked_for,
        an_edge_that_comes_back_is_the_newest,
        an_import_keeps_its_order_and_the_edges_that_exist,
        an_import_leaves_blocked_follows_out,
        blocks_and_mutes_come_in_exact_pages,
        counts_follow_every_change,
        friends_are_those_who_follow_back_newest_follow_first,
        ids_of_128_bytes_and_of_any_script_are_kept_apart,
        lists_are_newest_first_with_their_times,
        pages_are_exact_while_others_come_and_go,
        pages_are_exact_while_writers_run,
        random_operations_agree_with_a_naive_model,
        whoever_has_two_reasons_stays_hidden_when_one_goes,
    );
}
