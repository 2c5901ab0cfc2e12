//! Whatever happens to broadcasts and connections, a client sees 1, 2, 3 … and misses nothing.

use proptest::prelude::*;
use tidings_core::{batch::AppendedEvent, ports::LiveNotifications};

use crate::doubles::{Client, Sent, Server};

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
    /// The connection breaks, and the client comes back.
    Reconnect,
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
        1 => Just(Happening::Reconnect),
        3 => (1usize..10).prop_map(Happening::Run),
    ];
    proptest::collection::vec(one, 1..120)
}

/// Takes what the client was sent, and checks that it is next.
fn take(sent: Sent, last: &mut u64) {
    let Sent::Frame(frame) = sent else { panic!("closed: {sent:?}") };
    if frame["type"] == "notification" {
        let seq = frame["seq"].as_u64().unwrap();
        assert_eq!(seq, *last + 1, "out of order, or a hole");
        assert_eq!(frame["notification"]["event_id"], format!("e{seq}"));
        *last = seq;
    }
}

struct World {
    server: Server,
    client: Client,
    last: u64,
    stored: u64,
    held: Vec<AppendedEvent>,
    /// Frames that the connection takes while the client does not read.
    unread: usize,
}

impl World {
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
                        take(sent, &mut self.last);
                    }
                }
            }
            Happening::Reconnect => {
                let (last, unread) = (Some(self.last), self.unread);
                self.client = self.server.welcome_slow(last, unread).await;
            }
            Happening::Run(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
            let mut world = World { server, client, last: 0, stored: 0, held, unread };
            for happening in happenings {
                world.happen(happening).await;
            }
            // One more, which arrives: whatever was lost before it has to come first.
            world.happen(Happening::Tell).await;
            while world.last < world.stored {
                let sent = world.client.hear().await;
                take(sent, &mut world.last);
            }
        });
    }
}
