//! What waits to be said: bounded, and never waited for by those who fill it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    items::{RunId, put_shard_header},
    shard::{SHARDS, ShardIndex},
};

/// Items are added to a message until it has this many bytes. What is said between two sendings is one
/// message per shard, however many notifications it is of.
const MESSAGE_BYTES: usize = 32 << 10;

/// A message of a shard.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) shard: ShardIndex,
    pub(super) bytes: Vec<u8>,
    number: u64,
}

struct State {
    messages: VecDeque<Outgoing>,
    /// The place in the order of all messages that the first of `messages` has.
    first: u64,
    /// The place of the message of each shard that may still be added to.
    open: [Option<u64>; SHARDS],
    /// The number of the last message of each shard.
    numbers: [u64; SHARDS],
    /// The same of those that have left the outbox, sent or dropped.
    gone: [u64; SHARDS],
    bytes: usize,
}

/// What waits to be said. Each message has its shard's next number from the start: one that is dropped
/// leaves a gap, which the others notice.
pub(super) struct Outbox {
    run: RunId,
    state: Mutex<State>,
    ready: Notify,
    limit_bytes: usize,
}

impl Outbox {
    pub(super) fn new(run: RunId, limit_bytes: usize) -> Self {
        let state = State {
            messages: VecDeque::new(),
            first: 0,
            open: [None; SHARDS],
            numbers: [0; SHARDS],
            gone: [0; SHARDS],
            bytes: 0,
        };
        Self { run, state: Mutex::new(state), ready: Notify::new(), limit_bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds items to the shard's message. When there is no room, the oldest messages are dropped.
    pub(super) fn put(&self, shard: ShardIndex, write: impl FnOnce(&mut Vec<u8>)) {
        {
            let mut state = self.state();
            let message = state.open_message(self.run, shard);
            let before = message.bytes.len();
            write(&mut message.bytes);
            let written = message.bytes.len() - before;
            state.bytes += written;
            while state.bytes > self.limit_bytes && state.messages.len() > 1 {
                state.pop();
                metrics::counter!("tidings_bus_dropped_total").increment(1);
            }
        }
        self.ready.notify_one();
    }

    /// Takes the oldest messages, at least one if there is any, up to `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Vec<Outgoing> {
        let mut state = self.state();
        let (mut taken, mut size) = (Vec::new(), 0);
        while size < bytes {
            let Some(message) = state.pop() else { break };
            size += message.bytes.len();
            taken.push(message);
        }
        metrics::gauge!("tidings_bus_queue_bytes").set(state.bytes as f64);
        taken
    }

    /// Drops all that waits: it is too old to be of use.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        while state.pop().is_some() {
            metrics::counter!("tidings_bus_dropped_total").increment(1);
        }
    }

    /// For each shard, the number of the last message that has left.
    pub(super) fn gone(&self) -> [u64; SHARDS] {
        self.state().gone
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().messages.is_empty()
    }

    /// Waits until something may wait. Cancel-safe: a wake-up that nobody took is kept.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }
}

impl State {
    fn open_message(&mut self, run: RunId, shard: ShardIndex) -> &mut Outgoing {
        let slot = usize::from(shard.get());
        let waiting = self.open[slot].and_then(|place| place.checked_sub(self.first));
        let index = waiting.and_then(|index| usize::try_from(index).ok());
        let has_room = |it: &Outgoing| it.shard == shard && it.bytes.len() < MESSAGE_BYTES;
        let index = match index.filter(|index| self.messages.get(*index).is_some_and(has_room)) {
            Some(index) => index,
            None => {
                self.numbers[slot] += 1;
                let number = self.numbers[slot];
                let mut bytes = Vec::new();
                put_shard_header(&mut bytes, run, shard, number);
                self.bytes += bytes.len();
                self.open[slot] = Some(self.first + self.messages.len() as u64);
                self.messages.push_back(Outgoing { shard, bytes, number });
                self.messages.len() - 1
            }
        };
        &mut self.messages[index]
    }

    fn pop(&mut self) -> Option<Outgoing> {
        let message = self.messages.pop_front()?;
        self.first += 1;
        self.bytes -= message.bytes.len();
        self.gone[usize::from(message.shard.get())] = message.number;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(index: u8) -> ShardIndex {
        ShardIndex::new(index).unwrap()
    }

    #[test]
    fn what_is_said_between_two_sendings_is_one_message_per_shard() {
        let outbox = Outbox::new(RunId(1), 1 << 20);
        for _ in 0..100 {
            outbox.put(shard(3), |out| out.push(b'x'));
            outbox.put(shard(4), |out| out.push(b'y'));
        }
        let sent = outbox.take(usize::MAX);
        assert_eq!(sent.iter().map(|it| it.shard.get()).collect::<Vec<_>>(), [3, 4]);
        assert!(sent[0].bytes.ends_with(&[b'x'; 100]));
        outbox.put(shard(3), |out| out.push(b'z'));
        assert_eq!(outbox.take(usize::MAX)[0].number, 2);
    }

    #[test]
    fn a_full_outbox_drops_the_oldest_and_leaves_a_gap() {
        let outbox = Outbox::new(RunId(1), 3 * MESSAGE_BYTES);
        for _ in 0..10 {
            outbox.put(shard(3), |out| out.resize(out.len() + MESSAGE_BYTES, 0));
        }
        assert!(outbox.state().bytes <= 3 * MESSAGE_BYTES);
        let numbers: Vec<_> = outbox.take(usize::MAX).iter().map(|it| it.number).collect();
        assert_eq!(numbers, [9, 10]);
        assert_eq!(outbox.gone()[3], 10);
        assert!(outbox.is_empty() && outbox.state().bytes == 0);
    }
}
