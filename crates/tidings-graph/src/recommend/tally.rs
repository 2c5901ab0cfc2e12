//! Sums per user, gathered at random and read in the order of arrival.

use super::adjacency::Node;

/// Slots that a tally keeps when it is cleared, if it did not need more.
const LEAST_SLOTS: usize = 1 << 12;
/// Users whose slots are brought from memory together.
const VISITED: usize = 64;
/// Marks a slot in which nobody is.
const EMPTY: u64 = u64::MAX;

/// `N` sums for each user that was added to: a hash table whose size goes by the users it holds, not by
/// those of the graph, so that it stays in the processor's cache and is the same for any store.
#[derive(Debug)]
pub(super) struct Tally<const N: usize> {
    /// A user's number above, their place in `nodes` and `sums` below; at most half are taken.
    slots: Vec<u64>,
    nodes: Vec<Node>,
    sums: Vec<[f32; N]>,
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self { slots: vec![EMPTY; LEAST_SLOTS], nodes: Vec::new(), sums: Vec::new() }
    }
}

impl<const N: usize> Tally<N> {
    pub(super) fn clear(&mut self) {
        let wanted = (4 * self.nodes.len()).next_power_of_two().max(LEAST_SLOTS);
        if self.slots.len() > wanted {
            self.slots = vec![EMPTY; wanted];
        } else {
            self.slots.fill(EMPTY);
        }
        self.nodes.clear();
        self.sums.clear();
    }

    /// Where the user is looked for first.
    fn home(&self, node: Node) -> usize {
        // The numbers of users are dense: one multiplication spreads them (Knuth, The Art of Computer
        // Programming, 6.4).
        let hash = u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(hash).unwrap_or(0) & (self.slots.len() - 1)
    }

    /// The slot of the user, or the one to put them in.
    fn slot(&self, node: Node) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.home(node);
        while self.slots[slot] != EMPTY && self.slots[slot] >> 32 != u64::from(node) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The sums of a user, which begin at zero.
    pub(super) fn of(&mut self, node: Node) -> &mut [f32; N] {
        let mut slot = self.slot(node);
        if self.slots[slot] == EMPTY {
            if 2 * (self.nodes.len() + 1) > self.slots.len() {
                self.grow();
                slot = self.slot(node);
            }
            self.slots[slot] = u64::from(node) << 32 | self.nodes.len() as u64;
            self.nodes.push(node);
            self.sums.push([0.0; N]);
        }
        let place = place(self.slots[slot]);
        &mut self.sums[place]
    }

    /// Shows `visit` the sums of each of `nodes`, one after the other; they begin at zero.
    pub(super) fn visit(&mut self, nodes: &[Node], mut visit: impl FnMut(Node, &mut [f32; N])) {
        let mut slots = [EMPTY; VISITED];
        for nodes in nodes.chunks(VISITED) {
            while 2 * (self.nodes.len() + nodes.len()) > self.slots.len() {
                self.grow();
            }
            // One after the other, each slot would be waited for; none of these waits for another.
            for (slot, node) in slots.iter_mut().zip(nodes) {
                *slot = self.slots[self.home(*node)];
            }
            for (slot, node) in slots.iter().zip(nodes) {
                // Nobody leaves a slot.
                if *slot >> 32 == u64::from(*node) && *slot != EMPTY {
                    visit(*node, &mut self.sums[place(*slot)]);
                } else {
                    visit(*node, self.of(*node));
                }
            }
        }
    }

    /// The sums of a user; zeros for one that nothing was added to.
    pub(super) fn get(&self, node: Node) -> [f32; N] {
        match self.slots[self.slot(node)] {
            EMPTY => [0.0; N],
            taken => self.sums[place(taken)],
        }
    }

    /// Sets the sums of a user back to zero.
    pub(super) fn zero(&mut self, node: Node) {
        let slot = self.slots[self.slot(node)];
        if slot != EMPTY {
            self.sums[place(slot)] = [0.0; N];
        }
    }

    /// All users, in the order in which they came, with their sums.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Node, &[f32; N])> + Clone {
        self.nodes.iter().copied().zip(&self.sums)
    }

    /// Changes the sums of all.
    pub(super) fn each(&mut self, change: impl FnMut(&mut [f32; N])) {
        self.sums.iter_mut().for_each(change);
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; 2 * self.slots.len()];
        for place in 0..self.nodes.len() {
            let slot = self.slot(self.nodes[place]);
            self.slots[slot] = u64::from(self.nodes[place]) << 32 | place as u64;
        }
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_apart_whatever_the_table_has_grown_to() {
        let mut tally = Tally::<2>::default();
        for round in 0..3u16 {
            for node in (0..20_000).map(|it| it * 7) {
                let sums = tally.of(node);
                sums[0] += 1.0;
                sums[1] += f32::from(round);
            }
        }
        assert_eq!(tally.iter().count(), 20_000);
        assert_eq!(tally.get(7 * 19_999), [3.0, 3.0]);
        assert_eq!(tally.get(8), [0.0, 0.0]);
        assert!(tally.iter().map(|it| it.0).eq((0..20_000).map(|it| it * 7)));
        // Many at once, some twice and some new, come to the same.
        let nodes: Vec<_> = (0..40_000).map(|it| it % 30_000 * 7).collect();
        tally.visit(&nodes, |node, sums| {
            assert_eq!(sums[0] > 0.0, node < 7 * 20_000 || sums[1] > 0.0);
            sums[1] += 1.0;
        });
        assert_eq!(tally.iter().count(), 30_000);
        assert_eq!([0, 7 * 9_999, 7 * 19_999].map(|it| tally.get(it)[1]), [5.0, 5.0, 4.0]);
        assert_eq!([7 * 20_000, 7 * 29_999].map(|it| tally.get(it)), [[0.0, 1.0]; 2]);
        tally.clear();
        assert_eq!((tally.iter().count(), tally.get(7)), (0, [0.0, 0.0]));
        tally.of(u32::MAX)[0] = 4.0;
        assert_eq!(tally.get(u32::MAX), [4.0, 0.0]);
        tally.clear();
        assert_eq!(tally.slots.len(), LEAST_SLOTS);
    }
}
