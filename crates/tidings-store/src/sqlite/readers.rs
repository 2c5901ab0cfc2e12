//! Threads with read-only connections.
//!
//! Own threads rather than the runtime's blocking pool: a connection keeps its page and statement
//! caches warm, other blocking work cannot keep reads waiting, and closing can wait for them.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tidings_core::ports::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::{Closed, Failure, unavailable},
    threads::Threads,
};

enum Message {
    Read(Box<dyn FnOnce(&Connection) + Send>),
    Close,
}

/// Reads beside the writer.
#[derive(Debug)]
pub(super) struct Readers {
    // Before the threads: they end when the queue does, and dropping them waits for that.
    queue: mpsc::Sender<Message>,
    threads: Threads,
}

impl Readers {
    pub(super) fn start(connections: Vec<Connection>, queue_len: usize) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(queue_len.max(1));
        let messages = Arc::new(Mutex::new(messages));
        let bodies = connections.into_iter().map(|conn| {
            let messages = Arc::clone(&messages);
            move || serve(&conn, &messages)
        });
        let threads = Threads::start("tidings-read", bodies)?;
        Ok(Self { queue, threads })
    }

    /// Runs `query` on one of the connections; waits for a place in the queue if it is full.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        op: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |conn: &Connection| {
            // Nobody waits any more: spare the work.
            if !reply.is_closed() {
                let _gone = reply.send(query(conn));
            }
        });
        let sent = self.queue.send(Message::Read(job)).await;
        sent.map_err(|_| unavailable(op, Closed))?;
        match answer.await {
            Ok(result) => result.map_err(|failure| failure.into_store_error(op)),
            Err(_) => Err(unavailable(op, Closed)),
        }
    }

    /// Answers what is queued, refuses what comes after, and waits for the threads.
    pub(super) async fn close(&self) {
        // Fails when it is closed already, which is as good.
        let _closed = self.queue.send(Message::Close).await;
        self.threads.ended().await;
    }
}

fn serve(conn: &Connection, messages: &Mutex<mpsc::Receiver<Message>>) {
    loop {
        // One thread waits in the queue, the others for the lock: whoever is free gets the next.
        let mut queue = messages.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.blocking_recv() {
            Some(Message::Read(job)) => {
                drop(queue);
                job(conn);
            }
            Some(Message::Close) => queue.close(),
            None => break,
        }
    }
}
