//! Clients that count what they are given.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tidings_client::{Subscription, SubscriptionConfig, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;
use tokio::task::JoinSet;

use crate::until::until;

pub(crate) fn subscription(url: &str, user: &str) -> Subscription {
    let mut config = SubscriptionConfig::new(url, &format!("user:{user}"));
    config.last_seq = Some(0);
    config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 20, cap_ms: 500 };
    Subscription::open(config)
}

struct Client {
    name: String,
    user: usize,
    /// It was given exactly 1 to this, in order.
    seq: Arc<AtomicU64>,
}

/// Clients of many users, and what was wrong.
#[derive(Default)]
pub(crate) struct Clients {
    clients: Vec<Client>,
    faults: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Clients {
    pub(crate) fn connect(&mut self, url: &str, user: usize) {
        let mut subscription = subscription(url, &user_name(user));
        let seq = Arc::new(AtomicU64::new(0));
        let name = format!("{} at {url}", user_name(user));
        self.clients.push(Client { name: name.clone(), user, seq: Arc::clone(&seq) });
        let faults = Arc::clone(&self.faults);
        self.tasks.spawn(async move {
            loop {
                let fault = match subscription.next().await {
                    Ok(SubscriptionEvent::Notification(arrival)) => {
                        let before = seq.swap(arrival.seq, Ordering::SeqCst);
                        (arrival.seq != before + 1)
                            .then(|| format!("{} came after {before}", arrival.seq))
                    }
                    Ok(SubscriptionEvent::Gap { after, got }) => {
                        Some(format!("{got} was sent after {after}"))
                    }
                    Ok(SubscriptionEvent::Repeated { seq }) => Some(format!("{seq} came again")),
                    Ok(_) => None,
                    Err(error) => Some(error.to_string()),
                };
                if let Some(fault) = fault {
                    return faults.lock().unwrap().push(format!("{name}: {fault}"));
                }
            }
        });
    }

    fn check(&self) {
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// Waits until every client has as many as `told` says of its user, or more.
    pub(crate) async fn until_caught_up(&self, what: &str, told: &[u64]) {
        let lacks = |client: &&Client| client.seq.load(Ordering::SeqCst) < told[client.user];
        until(what, async || {
            self.check();
            !self.clients.iter().any(|client| lacks(&client))
        })
        .await;
    }

    /// Expects that every client has exactly as many as `told` says of its user.
    pub(crate) async fn expect(mut self, told: &[u64]) {
        self.until_caught_up("every client has everything", told).await;
        self.tasks.shutdown().await;
        self.check();
        for client in &self.clients {
            let seq = client.seq.load(Ordering::SeqCst);
            assert_eq!(seq, told[client.user], "{} has more than was sent", client.name);
        }
    }
}

pub(crate) fn user_name(number: usize) -> String {
    format!("user-{number}")
}
