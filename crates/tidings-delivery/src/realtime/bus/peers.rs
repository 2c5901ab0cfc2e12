//! The other nodes, as far as they were heard: what of theirs is missing, and who is online there.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    items::RunId,
    shard::{SHARDS, ShardIndex, ShardSet, UserHash},
};

/// Nodes that are listened to at most.
const PEERS: usize = 1_024;

/// When silence means something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// A node that is silent this long may have died with something stored and not said.
    pub(super) doubt: Duration,
    /// A node that is silent this long is gone, and its users with it.
    pub(super) gone: Duration,
}

struct Peer {
    /// The number of the last message that was heard, or known to be lost, of each shard.
    heard: [u64; SHARDS],
    heard_at: Instant,
    is_doubtful: bool,
    /// It has said a heartbeat.
    is_greeted: bool,
    online: Box<[HashSet<UserHash>; SHARDS]>,
}

impl Peer {
    fn users(&self) -> usize {
        self.online.iter().map(HashSet::len).sum()
    }
}

/// What a heartbeat told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Something was lost on these.
    pub(super) gaps: ShardSet,
    /// The node was not known before: it does not know our users either.
    pub(super) is_new: bool,
}

/// The other nodes. Plain decisions of what was heard and when.
pub(super) struct Peers {
    me: RunId,
    silence: Silence,
    users_max: usize,
    users: usize,
    known: HashMap<RunId, Peer>,
    /// When our own heartbeat last came back.
    echo: Option<Instant>,
}

impl Peers {
    /// Nobody was heard yet. At most `users_max` users of other nodes are remembered.
    pub(super) fn new(me: RunId, silence: Silence, users_max: usize) -> Self {
        Self { me, silence, users_max, users: 0, known: HashMap::new(), echo: None }
    }

    /// Whether the bus carries: what this node says comes back to it.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.echo.is_some_and(|echo| now.duration_since(echo) < self.silence.doubt)
    }

    /// Forgets the echo, for a new connection.
    pub(super) fn forget_echo(&mut self) {
        self.echo = None;
    }

    /// Nodes that are heard now.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A message of a shard: whether it is to be read, and whether something before it is missing.
    pub(super) fn hear_message(
        &mut self,
        from: RunId,
        shard: ShardIndex,
        number: u64,
        now: Instant,
    ) -> Heard {
        if from == self.me {
            return Heard::Own;
        }
        let Some(peer) = self.peer(from, now) else { return Heard::Next };
        let last = std::mem::replace(&mut peer.heard[usize::from(shard.get())], number);
        if number == last + 1 {
            return Heard::Next;
        }
        // Also one that goes back: a server between us said things twice, or in another order.
        Heard::AfterGap
    }

    /// A heartbeat, with the number of the last message of each shard.
    pub(super) fn hear_heartbeat(
        &mut self,
        from: RunId,
        numbers: &[u64; SHARDS],
        now: Instant,
    ) -> Told {
        if from == self.me {
            self.echo = Some(now);
            return Told::default();
        }
        let Some(peer) = self.peer(from, now) else { return Told::default() };
        peer.is_doubtful = false;
        // By the heartbeat: what a node says at its start comes before that, and is all it says.
        let is_new = !std::mem::replace(&mut peer.is_greeted, true);
        let mut gaps = ShardSet::NONE;
        for shard in ShardIndex::all() {
            let (said, heard) =
                (numbers[usize::from(shard.get())], &mut peer.heard[usize::from(shard.get())]);
            if said > *heard {
                *heard = said;
                gaps.insert(shard);
            }
        }
        Told { gaps, is_new }
    }

    /// The node stops, and has said all it had to say.
    pub(super) fn hear_last_words(&mut self, from: RunId) {
        self.forget(from);
    }

    /// Looks for nodes that have gone silent: whether one may have died with something unsaid.
    pub(super) fn lapse(&mut self, now: Instant) -> bool {
        let (mut in_doubt, mut gone) = (false, Vec::new());
        for (run, peer) in &mut self.known {
            let silent = now.duration_since(peer.heard_at);
            if silent >= self.silence.doubt && !peer.is_doubtful {
                peer.is_doubtful = true;
                in_doubt = true;
            }
            if silent >= self.silence.gone {
                // Once more: a transaction of a node that died may end after it.
                in_doubt = true;
                gone.push(*run);
            }
        }
        gone.into_iter().for_each(|run| self.forget(run));
        in_doubt
    }

    fn forget(&mut self, run: RunId) {
        if let Some(peer) = self.known.remove(&run) {
            self.users -= peer.users();
        }
    }

    fn peer(&mut self, from: RunId, now: Instant) -> Option<&mut Peer> {
        if self.known.len() >= PEERS && !self.known.contains_key(&from) {
            return None;
        }
        let peer = self.known.entry(from).or_insert_with(|| Peer {
            heard: [0; SHARDS],
            heard_at: now,
            is_doubtful: false,
            is_greeted: false,
            online: Box::new(std::array::from_fn(|_| HashSet::new())),
        });
        peer.heard_at = now;
        Some(peer)
    }

    /// A user came to another node, or left it.
    pub(super) fn set_online(&mut self, at: RunId, user: UserHash, online: bool) {
        let Some(peer) = self.known.get_mut(&at) else { return };
        let users = &mut peer.online[usize::from(user.shard().get())];
        if !online {
            self.users -= usize::from(users.remove(&user));
        } else if self.users < self.users_max {
            self.users += usize::from(users.insert(user));
        }
    }

    /// All users of a shard that have sessions at another node.
    pub(super) fn set_present(&mut self, at: RunId, shard: ShardIndex, mut users: Vec<UserHash>) {
        let Some(peer) = self.known.get_mut(&at) else { return };
        let known = &mut peer.online[usize::from(shard.get())];
        self.users -= known.len();
        users.truncate(self.users_max.saturating_sub(self.users));
        *known = users.into_iter().collect();
        self.users += known.len();
    }

    /// Whether a node that is heard has sessions of the user.
    pub(super) fn is_online(&self, user: UserHash) -> bool {
        let shard = usize::from(user.shard().get());
        self.known.values().any(|peer| peer.online[shard].contains(&user))
    }

    /// Users of other nodes that are remembered; one who is at two counts twice.
    pub(super) fn users(&self) -> usize {
        self.users
    }
}

/// What a message is to those who hear it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Our own, which came back.
    Own,
    /// The next one.
    Next,
    /// Not the next one: something is missing.
    AfterGap,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: RunId = RunId(1);
    const OTHER: RunId = RunId(2);
    const SILENCE: Silence =
        Silence { doubt: Duration::from_millis(750), gone: Duration::from_secs(3) };

    fn peers() -> (Peers, Instant) {
        (Peers::new(ME, SILENCE, 3), Instant::now())
    }

    fn shard() -> ShardIndex {
        ShardIndex::new(5).unwrap()
    }

    fn numbers(number: u64) -> [u64; SHARDS] {
        let mut numbers = [0; SHARDS];
        numbers[5] = number;
        numbers
    }

    #[test]
    fn a_number_that_is_left_out_is_a_gap() {
        let (mut peers, now) = peers();
        assert_eq!(peers.hear_message(OTHER, shard(), 1, now), Heard::Next);
        assert_eq!(peers.hear_message(OTHER, shard(), 2, now), Heard::Next);
        assert_eq!(peers.hear_message(OTHER, shard(), 4, now), Heard::AfterGap);
        assert_eq!(peers.hear_message(OTHER, shard(), 5, now), Heard::Next);
        assert_eq!(peers.hear_message(ME, shard(), 9, now), Heard::Own);
    }

    #[test]
    fn the_last_message_is_missed_by_the_heartbeat_and_once() {
        let (mut peers, now) = peers();
        peers.hear_message(OTHER, shard(), 1, now);
        assert!(peers.hear_heartbeat(OTHER, &numbers(1), now).is_new, "it said something before");
        assert_eq!(peers.hear_heartbeat(OTHER, &numbers(1), now), Told::default());
        let told = peers.hear_heartbeat(OTHER, &numbers(2), now);
        assert!(told.gaps.contains(shard()) && told.gaps.iter().count() == 1);
        assert_eq!(peers.hear_heartbeat(OTHER, &numbers(2), now), Told::default());
        assert_eq!(peers.hear_message(OTHER, shard(), 3, now), Heard::Next);
    }

    #[test]
    fn a_node_that_was_not_known_may_have_said_things_before() {
        let (mut peers, now) = peers();
        let told = peers.hear_heartbeat(OTHER, &numbers(7), now);
        assert!(told.is_new && told.gaps.contains(shard()));
    }

    #[test]
    fn a_silent_node_is_doubted_and_then_forgotten_with_its_users() {
        let (mut peers, now) = peers();
        let ann = UserHash::of_text("ann");
        peers.hear_heartbeat(OTHER, &numbers(0), now);
        peers.set_online(OTHER, ann, true);
        assert!(!peers.lapse(now + SILENCE.doubt / 2));
        assert!(peers.lapse(now + SILENCE.doubt));
        assert!(!peers.lapse(now + SILENCE.doubt * 2), "it was doubted already");
        assert!(peers.is_online(ann));
        assert!(peers.lapse(now + SILENCE.gone));
        assert!(!peers.is_online(ann) && peers.users() == 0 && peers.len() == 0);
    }

    #[test]
    fn a_node_that_takes_its_leave_is_not_doubted() {
        let (mut peers, now) = peers();
        peers.hear_heartbeat(OTHER, &numbers(0), now);
        peers.hear_last_words(OTHER);
        assert!(!peers.lapse(now + SILENCE.gone));
    }

    #[test]
    fn presence_is_what_was_said_last_and_has_a_bound() {
        let (mut peers, now) = peers();
        peers.hear_heartbeat(OTHER, &numbers(0), now);
        let users = ["a", "b", "c", "d"].map(UserHash::of_text);
        users.iter().for_each(|user| peers.set_online(OTHER, *user, true));
        assert_eq!((peers.users(), peers.is_online(users[3])), (3, false));
        peers.set_online(OTHER, users[0], false);
        peers.set_present(OTHER, users[1].shard(), vec![]);
        assert!(!peers.is_online(users[0]) && !peers.is_online(users[1]));
        peers.set_present(OTHER, users[3].shard(), vec![users[3]]);
        assert!(peers.is_online(users[3]));
    }

    #[test]
    fn the_bus_is_up_while_what_this_node_says_comes_back() {
        let (mut peers, now) = peers();
        assert!(!peers.is_up(now));
        peers.hear_heartbeat(ME, &numbers(0), now);
        assert!(peers.is_up(now + SILENCE.doubt / 2) && !peers.is_up(now + SILENCE.doubt));
    }
}
