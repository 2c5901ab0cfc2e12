//! The threads of a store: who starts them waits for them.

use std::{
    io,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

/// Threads that end when their queue does.
///
/// Dropping waits for them, and blocks while they finish what is queued: end them with
/// [`Threads::ended`] wherever there is a choice.
#[derive(Debug)]
pub(super) struct Threads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Its other end is held by the threads; it closes when the last of them ends.
    running: watch::Receiver<()>,
}

impl Threads {
    /// Starts one thread named `name` for each of `bodies`.
    pub(super) fn start(
        name: &str,
        bodies: impl IntoIterator<Item = impl FnOnce() + Send + 'static>,
    ) -> io::Result<Self> {
        let (alive, running) = watch::channel(());
        let mut handles = Vec::new();
        for body in bodies {
            let alive = alive.clone();
            handles.push(thread::Builder::new().name(name.to_owned()).spawn(move || {
                body();
                drop(alive);
            })?);
        }
        Ok(Self { handles: Mutex::new(handles), running })
    }

    /// Returns when all threads have ended. Does not end them: close their queue first.
    pub(super) async fn ended(&self) {
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
        // Nothing is left to wait for but the kernel.
        self.join();
    }

    fn join(&self) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in handles.drain(..) {
            if handle.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.join();
    }
}
