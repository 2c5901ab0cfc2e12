//! The rules of every port.

mod notifications {
    tidings_testkit::contract_tests!(
        tidings_testkit::contract::notification_store, crate::open::open_sqlite;
        a_batch_may_hold_duplicates,
        acknowledge_never_goes_back_or_beyond,
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
        list_after_pages_to_the_end,
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

mod notifications_with_the_smallest_sizes {
    tidings_testkit::contract_tests!(
        tidings_testkit::contract::notification_store, crate::open::open_tiny_sqlite;
        a_batch_may_hold_duplicates,
        concurrent_appends_leave_no_holes,
        random_operations_agree_with_the_model,
    );
}

mod devices {
    tidings_testkit::contract_tests!(
        tidings_testkit::contract::device_store, crate::open::open_sqlite;
        a_token_is_unique_per_platform_and_app,
        a_token_moves_between_users,
        devices_are_listed_by_id,
        registering_again_refreshes_a_device,
        removing_a_device_is_idempotent,
    );
}

mod deliveries {
    tidings_testkit::contract_tests!(
        tidings_testkit::contract::delivery_store, crate::open::open_sqlite;
        a_lease_that_is_not_settled_ends,
        a_prune_spares_a_device_that_was_registered_again,
        a_push_falls_due_at_its_time,
        a_settled_push_stays_settled,
        deliveries_are_listed_in_order,
        retries_fall_due_per_device,
        the_oldest_pushes_are_leased_first,
        without_a_device_nothing_falls_due,
    );
}

mod dead_letters {
    tidings_testkit::contract_tests!(
        tidings_testkit::contract::dead_letter_store, crate::open::open_sqlite;
        dead_letters_are_capped,
        dead_letters_are_listed_newest_first,
        removing_a_dead_letter_is_idempotent,
    );
}
