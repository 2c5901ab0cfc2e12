//! `ApnsClient` and `FcmClient`, as the dispatcher has them.

use tidings_core::{clock::SystemClock, delivery::Verdict, ports::PushProvider};
use tidings_delivery::push::{
    ApnsAuth, ApnsClient, ApnsConfig, ConnectionConfig, FcmClient, FcmConfig, SecretText,
};

use std::sync::Arc;

use super::Settings;
use crate::push::{simulator::Service, story::Pushes};

pub(super) struct Ours {
    client: Box<dyn PushProvider>,
    pushes: Pushes,
}

impl Ours {
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let access = &settings.access;
        let connection = ConnectionConfig {
            connections_max: settings.connections,
            ..ConnectionConfig::default()
        };
        let ca_pem = Some(std::fs::read_to_string(&access.ca_file)?);
        let secret = |file| anyhow::Ok(SecretText::new(std::fs::read_to_string(file)?));
        let clock = Arc::new(SystemClock);
        let client: Box<dyn PushProvider> = match access.service {
            Service::Apns => {
                let mut config = ApnsConfig::new(ApnsAuth::Token {
                    key_pem: secret(&access.key_file)?,
                    key_id: access.key_id.clone(),
                    team_id: access.team_id.clone(),
                });
                config.endpoint = Some(access.url.clone());
                config.ca_pem = ca_pem;
                config.connection = connection;
                Box::new(ApnsClient::new(config, clock)?)
            }
            Service::Fcm => {
                let mut config = FcmConfig::new(secret(&access.account_file)?);
                config.endpoint.clone_from(&access.url);
                config.ca_pem = ca_pem;
                config.connection = connection;
                Box::new(FcmClient::new(config, clock)?)
            }
        };
        Ok(Self { client, pushes: Pushes::new(access.service, settings.devices)? })
    }

    /// Sends one push and says whether it was accepted.
    pub(super) async fn push(&self, number: u64) -> bool {
        let push = self.pushes.push(number);
        self.client.send(&push).await.verdict == Verdict::Delivered
    }
}
