//! The threads that wait for the server, so that the runtime's do not.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    bolt::{Bolt, Deadline},
    error::Failure,
    measure,
};

/// Queries that may wait for a connection; more wait in their callers.
const QUEUE: usize = 1_024;

type Job = Box<dyn FnOnce(&Bolt) + Send>;

/// Threads that run queries, one connection each.
///
/// They end when this is dropped, each once its query is over. Nobody waits for that: a server that
/// is silent must not hold up a node that stops.
pub(super) struct Threads {
    jobs: mpsc::Sender<Job>,
    time: Duration,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Threads {
    pub(super) fn start(bolt: &Arc<Bolt>, threads: usize, time: Duration) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let (bolt, queue) = (Arc::clone(bolt), Arc::clone(&queue));
            let serve = move || serve(&bolt, &queue);
            // Not joined, see above; the handle's end is that of the queue.
            let _handle = thread::Builder::new().name("tidings-neo4j".to_owned()).spawn(serve)?;
        }
        Ok(Self { jobs, time })
    }

    /// Runs `work` on one of the threads; gives up when the time is over. What has begun then goes on
    /// for as long as the server lets it, what has not is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Bolt, Deadline) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run_within(self.time, work).await
    }

    /// The same with a time of its own.
    pub(super) async fn run_within<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&Bolt, Deadline) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let deadline = Deadline::after(time);
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |bolt| {
            if !reply.is_closed() {
                // The caller may give up meanwhile.
                let _gone = reply.send(work(bolt, deadline));
            }
        });
        let asked = async {
            self.jobs.send(job).await.map_err(|_| Failure::Closed)?;
            answer.await.map_err(|_| Failure::Closed)?
        };
        tokio::time::timeout(time, asked).await.unwrap_or_else(|_| Err(deadline.passed()))
    }
}

fn serve(bolt: &Bolt, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // Whoever waits for a job holds the lock, and the others wait for that.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        measure::busy(1.0);
        // A fault in the driver costs its query, not the thread.
        if catch_unwind(AssertUnwindSafe(|| job(bolt))).is_err() {
            tracing::error!("a query to Neo4j panicked");
        }
        measure::busy(-1.0);
    }
}
