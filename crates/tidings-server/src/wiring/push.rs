//! The push side of a node: credentials, and the dispatcher that sends with them.

use std::{sync::Arc, time::Duration};

use tidings_core::{clock::Clock, route::RoutingPolicy};
use tidings_delivery::dispatcher::{DispatcherConfig, DispatcherHandle, PushDispatcher};
use tidings_ingest::pipeline::AfterCommit;
use tokio_util::sync::CancellationToken;

use super::{credentials::Credentials, routing::routing_policy, stores::Stores};
use crate::config::Config;

/// The push side of a node.
pub(super) struct Push {
    dispatcher: PushDispatcher,
    handle: DispatcherHandle,
    pub(super) credentials: Arc<Credentials>,
    /// What the intake plans by, too.
    pub(super) routing: Arc<RoutingPolicy>,
}

impl Push {
    pub(super) fn new(
        config: &Config,
        stores: &Stores,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let section = &config.push;
        let routing = Arc::new(routing_policy(&config.routing)?);
        let credentials = Arc::new(Credentials::new(Arc::clone(clock)));
        credentials.read(section)?;
        let config = DispatcherConfig {
            lease: Duration::from_millis(section.lease_ms),
            send_timeout: Duration::from_millis(section.request_timeout_ms),
            retry: section.retry,
            ..DispatcherConfig::default()
        };
        let (dispatcher, handle) = PushDispatcher::new(
            config,
            stores.store(),
            stores.store(),
            credentials.lanes(),
            Arc::clone(&routing),
            Arc::clone(clock),
        );
        Ok(Self { dispatcher, handle, credentials, routing })
    }

    /// What the intake calls after a commit.
    pub(super) fn waker(&self) -> AfterCommit {
        let handle = self.handle.clone();
        Arc::new(move || handle.wake())
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        self.dispatcher.run(stop).await;
    }
}
