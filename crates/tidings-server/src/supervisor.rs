//! Owns the tasks of a node, notices when one ends, and stops them in order.

use std::{future::Future, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// A task ended although nobody had asked it to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The task panicked.
    #[error("{stage} failed")]
    Failed {
        /// The stage it belongs to.
        stage: &'static str,
        /// The panic.
        #[source]
        source: JoinError,
    },
    /// The task returned.
    #[error("{stage} ended by itself")]
    Ended {
        /// The stage it belongs to.
        stage: &'static str,
    },
}

struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    async fn ended(&mut self) {
        while let Some(result) = self.tasks.join_next().await {
            if let Err(error) = result {
                tracing::error!(stage = self.name, %error, "a task failed while stopping");
            }
        }
    }
}

/// The tasks of a node, in the order in which they are stopped.
#[derive(Default)]
pub struct Supervisor {
    stages: Vec<Stage>,
}

impl Supervisor {
    /// Adds a stage that is stopped after those added before. `start` gets the token that stops it.
    pub fn add<F>(&mut self, name: &'static str, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(start(stop.clone()));
        self.stages.push(Stage { name, stop, tasks });
    }

    /// Adds a stage if there is what it needs.
    pub fn add_if<T, F>(
        &mut self,
        name: &'static str,
        part: Option<T>,
        start: impl FnOnce(T, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(part) = part {
            self.add(name, |stop| start(part, stop));
        }
    }

    /// Waits for a task that ends although it should not.
    pub async fn watch(&mut self) -> SupervisorError {
        loop {
            for stage in &mut self.stages {
                match stage.tasks.try_join_next() {
                    Some(Ok(())) => return SupervisorError::Ended { stage: stage.name },
                    Some(Err(source)) => {
                        return SupervisorError::Failed { stage: stage.name, source };
                    }
                    None => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops stage after stage within `grace` in all. Who is late is named in the log and dropped.
    pub async fn stop(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        for mut stage in self.stages {
            stage.stop.cancel();
            match timeout_at(deadline, stage.ended()).await {
                Ok(()) => tracing::debug!(stage = stage.name, "stopped"),
                Err(_) => tracing::error!(
                    stage = stage.name,
                    "did not stop within server.shutdown_grace_ms and is cut off"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stages_stop_in_their_order_and_a_late_one_does_not_hold_up_the_rest() {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::default();
        for name in ["first", "second"] {
            let stopped = Arc::clone(&stopped);
            supervisor.add(name, |stop| async move {
                stop.cancelled().await;
                stopped.lock().unwrap().push(name);
            });
        }
        supervisor.add("late", |_| std::future::pending());
        let last = Arc::clone(&stopped);
        supervisor.add("last", |stop| async move {
            stop.cancelled().await;
            last.lock().unwrap().push("last");
        });
        supervisor.stop(Duration::from_secs(5)).await;
        assert_eq!(stopped.lock().unwrap()[..2], ["first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_is_noticed_with_its_name() {
        let mut supervisor = Supervisor::default();
        supervisor.add("fine", |stop| async move { stop.cancelled().await });
        supervisor.add("broken", |_| async { panic!("broken on purpose") });
        let error = supervisor.watch().await;
        assert!(matches!(error, SupervisorError::Failed { stage: "broken", .. }), "{error}");
    }
}
