//! The rules of `NotificationStore`.

mod append;
mod grouped;
mod list;
mod mark;

pub use append::{
    a_batch_may_hold_duplicates, append_twice_stores_once, concurrent_appends_leave_no_holes,
    content_is_kept_byte_for_byte, events_without_recipients_are_stored, first_content_stands,
    ids_may_be_long_and_of_any_script, one_source_does_not_shadow_another,
    seq_is_contiguous_and_in_batch_order, what_an_append_answers_can_be_read,
};
pub use grouped::{
    grouped_reads_agree_with_single_ones, heads_come_in_the_order_of_the_question,
    pages_after_reach_to_the_head_they_show, pages_after_read_many_inboxes_at_once,
};
pub use list::{
    an_unknown_user_has_an_empty_inbox, archived_notifications_leave_newest_and_stay_in_after,
    find_gives_a_notification_by_its_id, list_after_pages_to_the_end,
    list_newest_pages_to_the_beginning,
};
pub use mark::{
    acknowledge_never_goes_back_or_beyond, ids_of_other_inboxes_are_ignored,
    many_are_acknowledged_at_once, marking_up_to_a_place_spares_what_comes_later,
    marks_keep_their_first_time, stretches_are_joined_where_nothing_is_missing,
    the_store_gives_a_sign_of_life, unread_counts_what_is_neither_read_nor_archived,
};

pub use super::model::random_operations_agree_with_the_model;
