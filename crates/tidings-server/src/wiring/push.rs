//! The push side of a node: providers by platform, and the dispatcher that feeds them.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tidings_core::{clock::Clock, ports::PushProvider};
use tidings_delivery::{
    dispatcher::{DispatcherConfig, DispatcherHandle, PushDispatcher},
    push::{ApnsAuth, ApnsClient, ApnsConfig, ConnectionConfig, FcmClient, FcmConfig, SecretText},
};
use tidings_ingest::pipeline::AfterCommit;
use tokio_util::sync::CancellationToken;

use super::stores::Stores;
use crate::config::{ApnsSection, FcmSection, PushSection};

/// The push side of a node.
pub(super) struct Push {
    dispatcher: PushDispatcher,
    handle: DispatcherHandle,
}

impl Push {
    pub(super) fn new(
        section: &PushSection,
        stores: &Stores,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let connection = ConnectionConfig {
            request_timeout_ms: section.request_timeout_ms,
            ..ConnectionConfig::default()
        };
        let mut providers: Vec<Arc<dyn PushProvider>> = Vec::new();
        if is_set(&section.apns.key_file) {
            let client = apns(&section.apns, &connection, clock);
            providers.push(Arc::new(client.context("push.apns cannot be set up")?));
        }
        if is_set(&section.fcm.service_account_file) {
            let client = fcm(&section.fcm, &connection, clock);
            providers.push(Arc::new(client.context("push.fcm cannot be set up")?));
        }
        let config = DispatcherConfig {
            concurrency: section.concurrency,
            lease: Duration::from_millis(section.lease_ms),
            retry: section.retry,
            ..DispatcherConfig::default()
        };
        let (dispatcher, handle) =
            PushDispatcher::new(config, stores.store(), providers, Arc::clone(clock));
        Ok(Self { dispatcher, handle })
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

fn apns(
    section: &ApnsSection,
    connection: &ConnectionConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<ApnsClient> {
    let auth = ApnsAuth::Token {
        key_pem: SecretText::new(read(&section.key_file)?),
        key_id: section.key_id.clone(),
        team_id: section.team_id.clone(),
    };
    let mut config = ApnsConfig::new(auth);
    config.endpoint = Some(section.endpoint.clone());
    config.ca_pem = read_if_set(&section.ca_file)?;
    config.connection = connection.clone();
    Ok(ApnsClient::new(config, Arc::clone(clock))?)
}

fn fcm(
    section: &FcmSection,
    connection: &ConnectionConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<FcmClient> {
    let account = SecretText::new(read(&section.service_account_file)?);
    let mut config = FcmConfig::new(account);
    config.endpoint.clone_from(&section.endpoint);
    config.ca_pem = read_if_set(&section.ca_file)?;
    config.connection = connection.clone();
    Ok(FcmClient::new(config, Arc::clone(clock))?)
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn read_if_set(path: &Path) -> anyhow::Result<Option<String>> {
    is_set(path).then(|| read(path)).transpose()
}
