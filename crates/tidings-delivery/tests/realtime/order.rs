//! Whatever happens to broadcasts, connections and the store, a client sees 1, 2, 3 … and misses nothing.

use std::time::Duration;

use proptest::prelude::*;
use tidings_core::{batch::AppendedEvent, ports::LiveNotifications};

use crate::doubles::{Client, Sent, Server, ann};

/// What happens next.
#[derive(Debug, Clone)]
enum Happening {
    /// A notification is stored, and its broadcast arrives.
    Tell,
    /// A notification is stored, and its broadcast is lost.
    Lose,
    /// A notification is stored, and its broadcast is held back.
    Delay,
    /// A broadcast that was held back arrives, perhaps out of order.
    Arrive(usize),
    /// A broadcast that was held back arrives, and will arrive again.
    Repeat(usize),
    /// The client reads some of what was sent.
    Read(usize),
    /// The connection breaks, and the client comes back as one that saw so many fewer: any place that
    /// it really had.
    Reconnect(u64),
    /// The store cannot be read from now on.
    Gone,
    /// The store can be read again.
    Back,
    /// Someone who knows no more has the sessions read from the store.
    Prompt,
    /// So many milliseconds pass.
    Pass(u64),
    /// Tasks run.
    Run(usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        4 => Just(Happening::Tell),
        2 => Just(Happening::Lose),
        2 => Just(Happening::Delay),
        2 => (0usize..8).prop_map(Happening::Arrive),
        1 => (0usize..8).prop_map(Happening::Repeat),
        3 => (1usize..6).prop_map(Happening::Read),
        1 => (0u64..4).prop_map(Happening::Reconnect),
        1 => Just(Happening::Gone),
        2 => Just(Happening::Back),
        1 => Just(Happening::Prompt),
        1 => (1u64..40_000).prop_map(Happening::Pass),
        3 => (1usize..10).prop_map(Happening::Run),
    ];
    proptest::collection::vec(one, 1..120)
}

struct World {
    server: Server,
    client: Client,
    last: u64,
    stored: u64,
    held: Vec<AppendedEvent>,
    /// Whether the connection is known to have ended.
    ended: bool,
    /// Frames that the connection takes while the client does not read.
    unread: usize,
}

impl World {
    /// Takes what the client was sent, and checks that it is next.
    fn take(&mut self, sent: Sent) {
        match sent {
            Sent::Frame(frame) if frame["type"] == "notification" => {
                let seq = frame["seq"].as_u64().unwrap();
                assert_eq!(seq, self.last + 1, "out of order, or a hole");
                assert_eq!(frame["notification"]["event_id"], format!("e{seq}"));
                self.last = seq;
            }
            Sent::Frame(_) => self.client.pong(),
            // Silent, too slow, the store is gone, old sessions still there: a client comes back.
            Sent::Close(4408 | 4508 | 1012 | 4429) => self.ended = true,
            Sent::Close(code) => panic!("closed with {code}"),
        }
    }

    /// Comes back as a client that has everything up to `from`.
    async fn resume(&mut self, from: u64) {
        self.client = self.server.connect(self.unread);
        self.last = from;
        let hello = serde_json::json!({"type": "hello", "token": "user:ann", "last_seq": from});
        self.client.say(&hello).await;
        self.ended = false;
        // A welcome, or a close.
        let answer = self.client.hear().await;
        self.take(answer);
    }

    /// Reads until the client has everything, and comes back as often as it must.
    async fn catch_up(&mut self) {
        for _ in 0..10_000 {
            if self.last == self.stored {
                return;
            }
            if self.ended {
                self.resume(self.last).await;
            }
            match self.client.hear_or_end().await {
                Some(sent) => self.take(sent),
                None => self.ended = true,
            }
        }
        panic!("only {} of {} arrived", self.last, self.stored);
    }

    async fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell => {
                self.stored += 1;
                self.server.tell();
            }
            Happening::Lose => {
                self.stored += 1;
                self.server.inbox.append_one();
            }
            Happening::Delay => {
                self.stored += 1;
                self.held.push(self.server.inbox.append_one());
            }
            Happening::Arrive(at) if at < self.held.len() => {
                let appended = self.held.remove(at);
                self.server.pool.broadcast_notification(&appended);
            }
            Happening::Repeat(at) if at < self.held.len() => {
                self.server.pool.broadcast_notification(&self.held[at]);
            }
            Happening::Arrive(_) | Happening::Repeat(_) => {}
            Happening::Read(count) => {
                for _ in 0..count {
                    if let Some(sent) = self.client.heard() {
                        self.take(sent);
                    }
                }
            }
            Happening::Reconnect(fewer) => self.resume(self.last.saturating_sub(fewer)).await,
            Happening::Gone => self.server.inbox.set_gone(true),
            Happening::Back => self.server.inbox.set_gone(false),
            Happening::Prompt => self.server.pool.prompt_look(&ann()),
            Happening::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Happening::Run(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_client_sees_every_notification_once_and_in_order(
        happenings in happenings(), mailbox in 1usize..5, page in 1usize..5,
        unread in 1usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut server = Server::new(mailbox, page);
            let client = server.welcome_slow(Some(0), unread).await;
            let held = Vec::new();
            let mut world =
                World { server, client, last: 0, stored: 0, held, ended: false, unread };
            for happening in happenings {
                world.happen(happening).await;
            }
            world.happen(Happening::Back).await;
            // One more, which arrives: whatever was lost before it has to come first.
            world.happen(Happening::Tell).await;
            world.catch_up().await;
            // And nothing comes twice.
            tokio::time::sleep(Duration::from_secs(1)).await;
            while let Some(sent) = world.client.heard() {
                world.take(sent);
            }
        });
    }
}
