//! Personalised page rank by forward push (Andersen, Chung, Lang: "Local Graph Partitioning using
//! `PageRank` Vectors", 2006).

use std::collections::VecDeque;

use super::{super::graph::Adjacency, sums::Sums};

/// How far a walk is pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push {
    /// The share of walks that end at each step.
    pub(super) stop: f64,
    /// A user is pushed on whose residual exceeds this for each of their edges.
    pub(super) epsilon: f64,
    /// No user is pushed any more once this many edges were.
    pub(super) edges: usize,
}

/// What a push needs; as large as the graph.
#[derive(Debug)]
pub(super) struct PushSpace {
    residuals: Vec<f64>,
    is_queued: Vec<bool>,
    queue: VecDeque<u32>,
    /// Who has had a residual, some of them more than once.
    reached: Vec<u32>,
}

impl PushSpace {
    pub(super) fn new(users: usize) -> Self {
        Self {
            residuals: vec![0.0; users],
            is_queued: vec![false; users],
            queue: VecDeque::new(),
            reached: Vec::new(),
        }
    }
}

impl Push {
    /// Adds to `sums` where walks from `user` end, about.
    pub(super) fn run(self, user: u32, graph: &Adjacency, space: &mut PushSpace, sums: &mut Sums) {
        let PushSpace { residuals, is_queued, queue, reached } = space;
        residuals[user as usize] = 1.0;
        is_queued[user as usize] = true;
        reached.push(user);
        queue.push_back(user);
        let mut pushed = 0;
        while pushed < self.edges {
            let Some(from) = queue.pop_front() else { break };
            is_queued[from as usize] = false;
            let residual = std::mem::take(&mut residuals[from as usize]);
            sums.add(from, self.stop * residual);
            let list = graph.of(from);
            pushed += list.len();
            let share = (1.0 - self.stop) * residual / list.len() as f64;
            for to in list {
                let residual = &mut residuals[*to as usize];
                if *residual == 0.0 {
                    reached.push(*to);
                }
                *residual += share;
                let is_queued = &mut is_queued[*to as usize];
                if !*is_queued && *residual > self.epsilon * graph.degree(*to).max(1) as f64 {
                    queue.push_back(*to);
                    *is_queued = true;
                }
            }
        }
        // What was not pushed on counts where it lies: it ranks the users at the edge.
        for user in reached.drain(..) {
            let residual = std::mem::take(&mut residuals[user as usize]);
            if residual > 0.0 {
                sums.add(user, self.stop * residual);
            }
        }
        for user in queue.drain(..) {
            is_queued[user as usize] = false;
        }
    }
}
