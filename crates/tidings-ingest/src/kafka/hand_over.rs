//! From the client's memory into the queue of a partition.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

use super::{chunk::Chunk, link::Link, partition::Partition};

/// How long a full partition is waited for before it is paused. Pausing throws away what the client
/// has read ahead: not worth it when the store is merely slower than the broker.
pub(super) const ROOM_WAIT: Duration = Duration::from_millis(100);

/// Copies a record out of the client's memory.
pub(super) fn write(chunk: &mut Chunk, message: &BorrowedMessage<'_>) {
    chunk.push(message.offset(), message.key(), message.payload());
    let Some(headers) = message.headers() else { return };
    // The binding panics on a name that is not UTF-8, which any producer can write.
    let copied = catch_unwind(AssertUnwindSafe(|| {
        for header in headers.iter() {
            chunk.push_header(header.key, header.value);
        }
    }));
    if copied.is_err() {
        chunk.mark_headers_unreadable();
    }
}

/// Waits shortly until a full partition has room again; says whether it has.
pub(super) fn wait_for_room(partition: &Partition, link: &Link) -> bool {
    let deadline = Instant::now() + ROOM_WAIT;
    loop {
        if partition.account.has_room_or_rings() {
            return true;
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return false;
        }
        link.bell.wait(patience);
        if link.bell.answer() && !partition.account.has_room_or_rings() {
            // It rang for something else, which is looked after now.
            link.bell.ring();
            return false;
        }
    }
}
