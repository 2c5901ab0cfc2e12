//! Which lane a job goes to.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_core::{batch::NotificationBatch, checkpoint::PartitionId};
use tokio::sync::mpsc;

use super::gathering::Job;

/// The way into one lane.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) direct: mpsc::Sender<Job>,
    pub(super) pages: mpsc::Sender<Job>,
    waiting: AtomicUsize,
}

impl Entrance {
    pub(super) fn new(direct: mpsc::Sender<Job>, pages: mpsc::Sender<Job>) -> Self {
        Self { direct, pages, waiting: AtomicUsize::new(0) }
    }
}

/// Which lane a job is in. Jobs of one lane are stored in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneNumber(usize);

/// The lane that a partition's jobs are in, for as long as there are any.
#[derive(Debug)]
struct InLane {
    lane: usize,
    jobs: usize,
}

/// The ways into all lanes.
#[derive(Debug)]
pub(super) struct Entrances {
    lanes: Box<[Entrance]>,
    partitions: Mutex<HashMap<PartitionId, InLane>>,
}

impl Entrances {
    pub(super) fn new(lanes: Vec<Entrance>) -> Self {
        Self { lanes: lanes.into(), partitions: Mutex::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Jobs in all lanes: waiting, or being stored.
    pub(super) fn waiting_jobs(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn at(&self, counted: &Counted) -> &Entrance {
        &self.lanes[counted.lane]
    }

    /// Counts a job to the emptiest lane, so that none waits while a lane is idle; but to the lane
    /// where its partition has another job, whose position it goes on from, and to `beside` if the job is to
    /// be stored after one there.
    pub(super) fn choose(
        self: &Arc<Self>,
        batch: &NotificationBatch,
        beside: Option<LaneNumber>,
    ) -> Counted {
        let partition = batch.advances().first().map(|advance| advance.partition.clone());
        let lane = match &partition {
            None => beside.map_or_else(|| self.emptiest(), |LaneNumber(lane)| lane),
            Some(partition) => match self.partitions().entry(partition.clone()) {
                Entry::Occupied(mut there) => {
                    there.get_mut().jobs += 1;
                    there.get().lane
                }
                Entry::Vacant(free) => free.insert(InLane { lane: self.emptiest(), jobs: 1 }).lane,
            },
        };
        self.lanes[lane].waiting.fetch_add(1, Ordering::Relaxed);
        Counted { entrances: Arc::clone(self), lane, partition }
    }

    fn emptiest(&self) -> usize {
        let load = |lane: &usize| self.lanes[*lane].waiting.load(Ordering::Relaxed);
        (0..self.lanes.len()).min_by_key(load).unwrap_or_default()
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<PartitionId, InLane>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a job for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    entrances: Arc<Entrances>,
    lane: usize,
    partition: Option<PartitionId>,
}

impl Counted {
    pub(super) fn lane(&self) -> LaneNumber {
        LaneNumber(self.lane)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Self { entrances, lane, partition } = self;
        entrances.lanes[*lane].waiting.fetch_sub(1, Ordering::Relaxed);
        let Some(partition) = partition.take() else { return };
        if let Entry::Occupied(mut there) = entrances.partitions().entry(partition) {
            there.get_mut().jobs -= 1;
            if there.get().jobs == 0 {
                there.remove();
            }
        }
    }
}
