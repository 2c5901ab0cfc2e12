//! One assignment of a partition from its claim to its end.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    deps::{Deps, Ended},
    link::{Link, Notice},
    measure,
    partition::Partition,
    status::{Status, StopReason},
    worker::Worker,
};

/// Claims a partition and stores its records until it is gone, fenced or stopped.
pub(super) async fn serve(deps: Arc<Deps>, link: Arc<Link>, partition: Arc<Partition>) {
    let mut failing = StopOnPanic { partition: &partition, link: &link, armed: true };
    let ended = match claim(&deps, &link, &partition).await {
        Ok(begin) => Worker::new(deps, Arc::clone(&partition), begin).run().await,
        Err(ended) => ended,
    };
    failing.armed = false;
    match ended {
        Ended::Gone | Ended::Stopping => {}
        Ended::Fenced => {
            metrics::counter!(measure::FENCED).increment(1);
            tracing::warn!(
                partition = %partition.id,
                "somebody else has claimed the partition or moved its position: nothing of the last \
                 batch was stored, and it is claimed anew if it is still assigned to this node"
            );
            partition.set_status(Status::Claiming);
            link.tell(Notice::Reclaim { partition: Arc::clone(&partition) });
        }
        Ended::Stopped(reason) => {
            partition.stop(reason);
            link.tell(Notice::Stopped { partition: Arc::clone(&partition) });
        }
    }
}

/// A partition without a worker would be fetched until its share is full, and nobody would know why.
struct StopOnPanic<'a> {
    partition: &'a Arc<Partition>,
    link: &'a Link,
    armed: bool,
}

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if self.armed && std::thread::panicking() {
            self.partition.stop(StopReason::Failed);
            self.link.tell(Notice::Stopped { partition: Arc::clone(self.partition) });
        }
    }
}

/// Raises the epoch and reads the position, however long the store takes, and lets fetching begin.
/// Returns the position that has to be stored at once, if there is one.
async fn claim(deps: &Deps, link: &Link, partition: &Arc<Partition>) -> Result<Option<i64>, Ended> {
    if partition.fenced > 0 {
        // Who else believes to own it gets time to learn that it does not.
        deps.sleep(partition, deps.backoff(partition.fenced.saturating_add(3))).await?;
    }
    let mut attempt = 0;
    let checkpoint = loop {
        let claimed = tokio::select! {
            () = partition.gone.cancelled() => return Err(Ended::Gone),
            () = deps.stop.cancelled() => return Err(Ended::Stopping),
            claimed = deps.checkpoints.claim_partition(&partition.id) => claimed,
        };
        match claimed {
            Ok(checkpoint) => break checkpoint,
            Err(error) => {
                attempt += 1;
                deps.wait(partition, attempt, "the partition was not claimed", &error).await?;
            }
        }
    };
    partition.set_checkpoint(&checkpoint);
    partition.set_status(Status::Claiming);
    let (begin, begun) = oneshot::channel();
    link.tell(Notice::Claimed { partition: Arc::clone(partition), begin });
    tokio::select! {
        () = partition.gone.cancelled() => Err(Ended::Gone),
        () = deps.stop.cancelled() => Err(Ended::Stopping),
        begin = begun => begin.map_err(|_| Ended::Gone),
    }
}
