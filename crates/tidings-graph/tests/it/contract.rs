//! The rules of the port.

use crate::harness::{open_checkpointing, open_temporary};

tidings_testkit::graph_contract_tests!(open_temporary);

/// The same while segments take changes in and snapshots are written all the time.
mod while_checkpoints_run {
    tidings_testkit::graph_contract_tests!(super::open_checkpointing);
}
