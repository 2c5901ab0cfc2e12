//! The rules of every port, on PostgreSQL.

tidings_testkit::store_contract_tests!(
    crate::postgres_open::open_postgres,
    crate::postgres_open::open_postgres_nodes
);

mod with_the_smallest_sizes {
    mod notifications {
        tidings_testkit::contract_tests!(
            tidings_testkit::contract::notification_store,
            crate::postgres_open::open_tiny_postgres;
            a_batch_may_hold_duplicates,
            concurrent_appends_leave_no_holes,
            random_operations_agree_with_the_model,
        );
    }

    mod retention {
        tidings_testkit::contract_tests!(
            tidings_testkit::contract::retention_store,
            crate::postgres_open::open_tiny_postgres;
            old_notifications_are_forgotten,
            small_pieces_add_up,
        );
    }
}
