//! The rules of the port.

use crate::harness::open_empty;

tidings_testkit::graph_contract_tests!(open_empty);
