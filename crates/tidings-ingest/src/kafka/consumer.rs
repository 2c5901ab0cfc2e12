//! The consumer as the node sees it: made, run, looked at.

use std::{sync::Arc, thread, time::Duration};

use rdkafka::consumer::BaseConsumer;
use tidings_core::{clock::Clock, error_chain::ErrorChain, ports::CheckpointStore};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    account::Shares,
    asking::Asker,
    claim,
    config::KafkaConfig,
    context::Context,
    deps::Deps,
    health::{Board, KafkaHealthHandle},
    letter::DeadLetterTopics,
    link::{Link, Notice},
    measure,
    options::{self, KafkaSetupError},
    partition::Partition,
    poll::{Poller, PollerParts},
    waking::Waker,
};
use crate::{pipeline::PipelineHandle, planner::Planner};

/// How long leaving the group may take.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked whether a person has moved the position of a stopped partition.
const LOOK_AT_CLAIMS: Duration = Duration::from_secs(5);
/// Partitions that may wait for their worker to be started.
const WORKERS_QUEUE: usize = 256;

/// Reads events from Kafka and stores what they become, each once. See [the module](super).
pub struct KafkaNotificationConsumer {
    config: Arc<KafkaConfig>,
    planner: Planner,
    pipeline: PipelineHandle,
    checkpoints: Arc<dyn CheckpointStore>,
    clock: Arc<dyn Clock>,
    topics: Option<DeadLetterTopics>,
    board: Arc<Board>,
    consumer: BaseConsumer<Context>,
}

impl KafkaNotificationConsumer {
    /// A consumer that reads `config.topics` once it is [run](Self::run). Connects to no broker yet.
    ///
    /// # Errors
    ///
    /// [`KafkaSetupError`] when an option is reserved, or librdkafka refuses the configuration.
    pub fn new(
        config: KafkaConfig,
        planner: Planner,
        pipeline: PipelineHandle,
        checkpoints: Arc<dyn CheckpointStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KafkaSetupError> {
        measure::describe();
        let board = Arc::new(Board::default());
        let consumer = options::client(&config, &board)?;
        let topics = DeadLetterTopics::new(&config)?;
        let config = Arc::new(config);
        Ok(Self { config, planner, pipeline, checkpoints, clock, topics, board, consumer })
    }

    /// Where to ask how it is doing.
    #[must_use]
    pub fn health(&self) -> KafkaHealthHandle {
        KafkaHealthHandle(Arc::clone(&self.board))
    }

    /// Reads until `stop`; then fetches no more, finishes the batches that are being stored, leaves the
    /// group and returns. What was fetched and not begun is read again by whoever comes next.
    ///
    /// Also a consumer that has failed for good (another node has its static id) returns at `stop`
    /// only: the rest of the node goes on, and the health says why nothing is read.
    ///
    /// Dropping the future instead loses nothing either: it is what a crash does.
    pub async fn run(self, stop: CancellationToken) {
        let link = Arc::new(Link::default());
        let _close_at_the_end = CloseOnDrop(Arc::clone(&link));
        let (workers, mut new_partitions) = mpsc::channel(WORKERS_QUEUE);
        let parts = PollerParts {
            config: Arc::clone(&self.config),
            board: Arc::clone(&self.board),
            link: Arc::clone(&link),
            shares: Shares::new(self.config.queue_bytes, self.config.partition_queue_bytes),
            workers,
        };
        let mut closed = match start_polling(self.consumer, parts) {
            Ok(closed) => closed,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "nothing is read from Kafka");
                self.board.set_fatal(ErrorChain(&error).to_string());
                return stop.cancelled().await;
            }
        };
        let deps = Arc::new(Deps {
            config: self.config,
            planner: self.planner,
            pipeline: self.pipeline,
            checkpoints: self.checkpoints,
            clock: self.clock,
            topics: self.topics,
            stop: stop.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_moved(Arc::clone(&deps), Arc::clone(&link), Arc::clone(&self.board)));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(partition) = new_partitions.recv() => {
                    tasks.spawn(claim::serve(Arc::clone(&deps), Arc::clone(&link), partition));
                }
                Some(done) = tasks.join_next() => log_panic(done),
                _ = &mut closed => {
                    // It says why itself, unless it has panicked.
                    self.board.set_fatal_if_none("the thread that polls Kafka has failed");
                    return stop.cancelled().await;
                }
            }
        }
        link.drain();
        // The thread must not wait for a queue that nobody empties.
        drop(new_partitions);
        while let Some(done) = tasks.join_next().await {
            log_panic(done);
        }
        link.close();
        if timeout(CLOSE_WAIT, closed).await.is_err() {
            tracing::error!(
                "the Kafka consumer did not leave its group in time; the broker will see"
            );
        }
    }
}

/// Starts the thread that polls; the receiver ends when it has.
fn start_polling(
    consumer: BaseConsumer<Context>,
    parts: PollerParts,
) -> Result<oneshot::Receiver<()>, KafkaSetupError> {
    options::subscribe(&consumer, &parts.config)?;
    let asker = Asker::start(Arc::clone(&parts.link)).map_err(KafkaSetupError::Thread)?;
    let waker = Waker::start().map_err(KafkaSetupError::Thread)?;
    let (running, closed) = oneshot::channel();
    let poller = Poller::new(parts, asker, waker);
    thread::Builder::new()
        .name("kafka-poll".to_owned())
        .spawn(move || {
            poller.run(consumer);
            drop(running);
        })
        .map_err(KafkaSetupError::Thread)?;
    Ok(closed)
}

/// Claims partitions anew whose position was moved by hand: where no record comes, and where none is
/// read because the partition is stopped, no batch would notice.
async fn watch_moved(deps: Arc<Deps>, link: Arc<Link>, board: Arc<Board>) {
    loop {
        tokio::select! {
            () = deps.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AT_CLAIMS) => {}
        }
        let claimed = board.claimed();
        if claimed.is_empty() {
            continue;
        }
        let checkpoints = tokio::select! {
            () = deps.stop.cancelled() => return,
            listed = deps.checkpoints.list_checkpoints(&deps.config.group) => listed,
        };
        // Asked again soon if it fails.
        let Ok(checkpoints) = checkpoints else { continue };
        for partition in claimed {
            let now = checkpoints.iter().find(|(id, _)| *id == partition.id);
            if now.is_some_and(|(_, checkpoint)| checkpoint.epoch > partition.epoch()) {
                tracing::info!(partition = %partition.id, "the position was moved: reading again");
                reclaim(&link, partition);
            }
        }
    }
}

fn reclaim(link: &Link, partition: Arc<Partition>) {
    link.tell(Notice::Reclaim { partition });
}

fn log_panic(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!(%error, "the worker of a partition failed");
    }
}

/// Lets the thread end when the consumer is dropped, however that comes.
struct CloseOnDrop(Arc<Link>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
