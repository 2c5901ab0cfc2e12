//! A node that is alone.

use tidings_core::{
    batch::AppendedEvent,
    ids::UserId,
    ports::{Attendance, RealtimeBus, SessionHint},
};

/// The bus of a node that is alone: there is nobody to tell, and nobody else knows anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcessBus;

impl RealtimeBus for InProcessBus {
    fn publish_notification(&self, _: &AppendedEvent) {}

    fn publish_hint(&self, _: &UserId, _: &SessionHint) {}

    fn prompt_all(&self) -> bool {
        false
    }

    fn announce(&self, _: &UserId, _: Attendance) {}

    fn is_online_elsewhere(&self, _: &UserId) -> bool {
        false
    }
}
