//! Contract suites of the ports, and the harness for the real services. A development dependency only.

pub mod contract;
pub mod contract_graph;
pub mod services;

/// Makes a test of each rule of a suite, with a value of its own from `$open`.
///
/// `$open` is an async function whose value derefs to what the rules take, and keeps alive what that
/// needs, such as a temporary directory.
#[macro_export]
macro_rules! contract_tests {
    ($suite:path, $open:path; $($rule:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $rule() {
            use $suite as suite;
            suite::$rule(&*$open().await).await;
        })+
    };
}

/// Makes tests of all rules of all store ports, in a module for each suite.
///
/// `$open` opens a store of its own, which keeps [`DEAD_LETTERS_MAX`] letters; `$open_nodes` several
/// handles to one, as what derefs to a slice of `Arc<dyn Store>`: one for each of at least three
/// nodes, or the same one many times if the adapter is for one process. A rule that is missing here
/// is run on no adapter: add it with the rule.
///
/// [`DEAD_LETTERS_MAX`]: contract::dead_letter_store::DEAD_LETTERS_MAX
#[macro_export]
macro_rules! store_contract_tests {
    ($open:path, $open_nodes:path) => {
        mod notifications {
            $crate::contract_tests!(
                $crate::contract::notification_store, $open;
                a_batch_may_hold_duplicates,
                acknowledge_never_goes_back_or_beyond,
                many_are_acknowledged_at_once,
                stretches_are_joined_where_nothing_is_missing,
                an_unknown_user_has_an_empty_inbox,
                append_twice_stores_once,
                archived_notifications_leave_newest_and_stay_in_after,
                concurrent_appends_leave_no_holes,
                content_is_kept_byte_for_byte,
                events_without_recipients_are_stored,
                find_gives_a_notification_by_its_id,
                first_content_stands,
                ids_may_be_long_and_of_any_script,
                ids_of_other_inboxes_are_ignored,
                grouped_reads_agree_with_single_ones,
                heads_come_in_the_order_of_the_question,
                list_after_pages_to_the_end,
                pages_after_reach_to_the_head_they_show,
                pages_after_read_many_inboxes_at_once,
                list_newest_pages_to_the_beginning,
                marking_up_to_a_place_spares_what_comes_later,
                marks_keep_their_first_time,
                one_source_does_not_shadow_another,
                random_operations_agree_with_the_model,
                seq_is_contiguous_and_in_batch_order,
                the_store_gives_a_sign_of_life,
                unread_counts_what_is_neither_read_nor_archived,
                what_an_append_answers_can_be_read,
            );
        }
        mod devices {
            $crate::contract_tests!(
                $crate::contract::device_store, $open;
                a_token_is_unique_per_platform_and_app,
                a_token_moves_between_users,
                devices_are_listed_by_id,
                everything_of_a_device_is_kept,
                other_devices_are_counted,
                registering_again_refreshes_a_device,
                removing_a_device_is_idempotent,
            );
        }
        mod deliveries {
            $crate::contract_tests!(
                $crate::contract::delivery_store, $open;
                a_lease_that_is_not_settled_ends,
                a_dead_token_is_tried_again_only_if_the_device_has_another,
                a_prune_spares_a_device_that_was_registered_again,
                a_push_falls_due_at_its_time,
                a_push_that_is_put_off_moves_under_its_lease_only,
                a_settlement_may_be_of_ten_thousand_devices,
                a_retry_of_one_device_out_of_many_finds_that_one,
                a_settled_push_stays_settled,
                a_settlement_under_an_old_lease_changes_nothing_but_the_log,
                deliveries_are_listed_in_order,
                retries_fall_due_per_device,
                the_oldest_pushes_are_leased_first,
                without_a_device_nothing_falls_due,
            );
        }
        mod delivery_log {
            $crate::contract_tests!(
                $crate::contract::delivery_log, $open;
                a_filter_narrows_the_log,
                a_number_of_the_log_is_never_used_twice,
                a_page_of_the_log_is_bounded_whatever_the_filter,
                a_time_is_found_in_a_long_log,
                the_log_of_a_notification_is_listed_page_by_page,
                the_log_of_a_user_is_listed_newest_first,
                the_whole_log_is_read_in_the_order_of_writing,
            );
        }
        mod dead_letters {
            $crate::contract_tests!(
                $crate::contract::dead_letter_store, $open;
                a_record_is_kept_whole,
                dead_letters_are_capped,
                dead_letters_are_counted,
                dead_letters_are_listed_newest_first,
                removing_a_dead_letter_is_idempotent,
            );
        }
        mod checkpoints {
            $crate::contract_tests!(
                $crate::contract::checkpoint_store, $open;
                a_batch_that_was_committed_holds_and_stores_nothing_new,
                a_claim_raises_the_epoch_and_says_where_to_go_on,
                a_stale_advance_is_fenced,
                advances_of_a_partition_hold_in_order,
                an_advance_moves_the_position_with_its_batch,
                checkpoints_are_listed_by_topic_and_partition,
                dead_letters_of_a_batch_are_capped,
                one_fenced_partition_stops_the_whole_batch,
                setting_a_checkpoint_fences,
            );
        }
        mod fan_outs {
            $crate::contract_tests!(
                $crate::contract::fan_out_store, $open;
                a_claim_gives_what_a_worker_needs,
                a_fan_out_that_ended_stays_ended,
                a_lease_that_is_not_kept_ends,
                a_letter_of_a_step_that_was_committed_is_kept_once,
                a_step_by_a_late_worker_is_fenced,
                a_step_moves_a_fan_out_on_with_its_rows,
                a_page_that_is_prepared_is_not_stored,
                a_step_that_was_committed_holds,
                an_event_begins_one_fan_out,
                the_backlog_counts_what_is_unfinished,
                a_fan_out_of_another_graph_is_not_claimed,
                the_oldest_fan_outs_are_claimed_first,
                fan_outs_that_are_given_back_take_turns,
            );
        }
        mod retention {
            $crate::contract_tests!(
                $crate::contract::retention_store, $open;
                an_event_goes_with_its_last_notification,
                an_event_on_its_way_stays,
                an_inbox_is_forgotten_from_its_beginning,
                devices_that_were_not_registered_for_long_are_forgotten,
                expired_notifications_are_forgotten,
                old_deliveries_and_answers_are_forgotten,
                old_notifications_are_forgotten,
                pushes_of_forgotten_notifications_go,
                small_pieces_add_up,
                without_a_cutoff_nothing_is_forgotten,
            );
        }
        mod answers {
            $crate::contract_tests!(
                $crate::contract::answer_store, $open;
                an_answer_is_found_by_its_key,
                the_first_answer_stands,
            );
        }
        mod revocations {
            $crate::contract_tests!(
                $crate::contract::revocation_store, $open;
                a_reader_misses_none_that_are_made_meanwhile,
                old_revocations_are_forgotten,
                revocations_are_listed_in_their_order,
                the_latest_revocation_of_a_user_stands,
            );
        }
        mod recommendation_feedback {
            $crate::contract_tests!(
                $crate::contract::recommendation_feedback_store, $open;
                a_reader_misses_none_that_change_meanwhile,
                an_erased_user_is_gone_from_both_sides,
                dismissals_are_kept_until_they_are_taken_back,
                impressions_are_counted,
                impressions_at_once_are_all_counted,
                old_impressions_are_forgotten,
                the_newest_feedback_is_kept,
                the_unrecommendable_are_listed_in_their_order,
            );
        }
        mod several_nodes {
            mod appends {
                $crate::contract_tests!(
                    $crate::contract::several_nodes, $open_nodes;
                    a_partition_moves_between_nodes_under_load,
                    nodes_append_to_the_same_inboxes,
                    nodes_claim_one_partition,
                    nodes_mark_and_append_at_once,
                    nodes_race_with_the_same_batch,
                );
            }
            mod deliveries {
                $crate::contract_tests!(
                    $crate::contract::delivery_store, $open_nodes;
                    claims_of_several_workers_are_disjoint,
                );
            }
            mod delivery_log {
                $crate::contract_tests!(
                    $crate::contract::delivery_log, $open_nodes;
                    a_reader_of_the_log_misses_nothing_that_is_written_meanwhile,
                );
            }
            mod fan_outs {
                $crate::contract_tests!(
                    $crate::contract::fan_out_store, $open_nodes;
                    claims_of_several_workers_are_disjoint,
                );
            }
        }
    };
}
