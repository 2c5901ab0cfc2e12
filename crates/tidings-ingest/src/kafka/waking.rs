//! Wakes the threads of the client that fetch.
//!
//! To the client a resume is a flag. Its thread for a broker looks at flags when something happens on
//! that broker's connection, and once a second: when all partitions of a broker were paused nothing
//! happens there, and a resumed one is read on up to a second late. A request to the broker is
//! something that happens. What it answers is of no interest, and questions whose answers are must not
//! wait behind it, so this is a thread of its own, beside the one of [`Asker`](super::asking::Asker).
//!
//! The request goes to the leader. Where records come from a replica (`client.rack`) that is no help.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use rdkafka::{Offset, consumer::BaseConsumer};

use super::{asking::offsets, context::Context, partition::Partition};

/// Whoever can be woken.
pub(super) trait Fetchers: Send + Sync {
    /// Makes something happen on the connections to the brokers of these partitions.
    fn wake(&self, partitions: &[Arc<Partition>]);
}

impl Fetchers for BaseConsumer<Context> {
    fn wake(&self, partitions: &[Arc<Partition>]) {
        // A broker that is away has nothing to fetch from; it is reported elsewhere.
        if let Err(error) = offsets(self, partitions, Offset::End) {
            tracing::debug!(%error, "a request that was to wake the Kafka client was not answered");
        }
    }
}

struct Call {
    whom: Arc<dyn Fetchers>,
    partitions: Vec<Arc<Partition>>,
}

/// Whose fetching has to go on, and the thread that sees to it. Owned by the thread that polls.
pub(super) struct Waker {
    resumed: Vec<Arc<Partition>>,
    /// Closed to end the thread.
    calls: Option<mpsc::SyncSender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (calls, to_make) = mpsc::sync_channel::<Call>(1);
        let thread = thread::Builder::new().name("kafka-wake".to_owned()).spawn(move || {
            while let Ok(Call { whom, partitions }) = to_make.recv() {
                whom.wake(&partitions);
            }
        })?;
        Ok(Self { resumed: Vec::new(), calls: Some(calls), thread: Some(thread) })
    }

    /// Notes that a partition was resumed.
    pub(super) fn note_resumed(&mut self, partition: &Arc<Partition>) {
        if !self.resumed.iter().any(|it| Arc::ptr_eq(it, partition)) {
            self.resumed.push(Arc::clone(partition));
        }
    }

    /// Wakes those who fetch what was resumed. Never waits: while a call is under way and another waits,
    /// what is resumed waits for the next time.
    pub(super) fn wake<T: Fetchers + 'static>(&mut self, whom: &Arc<T>) {
        if self.resumed.is_empty() {
            return;
        }
        let whom: Arc<dyn Fetchers> = Arc::<T>::clone(whom);
        let call = Call { whom, partitions: std::mem::take(&mut self.resumed) };
        match self.calls.as_ref().map(|calls| calls.try_send(call)) {
            Some(Ok(())) => {}
            Some(Err(mpsc::TrySendError::Full(call))) => self.resumed = call.partitions,
            _ => tracing::error!("the thread that wakes the Kafka client has failed"),
        }
    }

    /// Waits until the thread has ended, so that it is not the last to hold the client.
    pub(super) fn close(&mut self) {
        self.calls = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that wakes the Kafka client has failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A client whose calls last until it is told to go on.
    struct Slow {
        calls: Mutex<Vec<Vec<i32>>>,
        go: Mutex<mpsc::Receiver<()>>,
    }

    impl Fetchers for Slow {
        fn wake(&self, partitions: &[Arc<Partition>]) {
            self.go.lock().unwrap().recv().unwrap();
            let numbers = partitions.iter().map(|it| it.id.partition).collect();
            self.calls.lock().unwrap().push(numbers);
        }
    }

    #[test]
    fn whatever_is_resumed_is_woken_and_nobody_waits_for_it() {
        let (going, go) = mpsc::channel();
        let client = Arc::new(Slow { calls: Mutex::default(), go: Mutex::new(go) });
        let mut waker = Waker::start().unwrap();
        let partitions: Vec<_> = (0..20).map(Partition::for_tests).collect();
        waker.wake(&client);
        for partition in &partitions {
            waker.note_resumed(partition);
            waker.note_resumed(partition);
            // No call ends before all are noted.
            waker.wake(&client);
        }
        assert!(client.calls.lock().unwrap().is_empty());
        (0..20).for_each(|_| going.send(()).unwrap());
        while !waker.resumed.is_empty() {
            waker.wake(&client);
            thread::yield_now();
        }
        waker.close();
        let calls = client.calls.lock().unwrap();
        assert_eq!(calls.concat(), (0..20).collect::<Vec<_>>());
        assert!(calls.len() <= 4, "{calls:?}");
    }
}
