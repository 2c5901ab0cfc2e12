//! A connection to Redis or Valkey that speaks and listens (RESP3): one server, or a cluster with
//! sharded channels.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisResult,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};
use tokio::sync::mpsc;

/// Messages that may wait to be read. Beyond it they are dropped, which is a gap.
const UNREAD: usize = 1_024;

/// The bus cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisBusError {
    /// The URL is not one of Redis.
    // The driver's own words may hold the URL, and with it the password.
    #[error("the URL is not one of redis:// or rediss://")]
    Url,
}

/// Makes connections.
pub(super) struct Connector {
    server: Server,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

enum Server {
    One(Box<redis::Client>),
    Cluster(String),
}

impl Connector {
    pub(super) fn new(
        url: &str,
        sharded: bool,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> Result<Self, RedisBusError> {
        let info = url.into_connection_info().map_err(|_| RedisBusError::Url)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = redis::Client::open(info.set_redis_settings(settings))
            .map_err(|_| RedisBusError::Url)?;
        let server =
            if sharded { Server::Cluster(url.to_owned()) } else { Server::One(Box::new(client)) };
        Ok(Self { server, connect_timeout, answer_timeout })
    }

    /// Connects; what is heard comes out of the queue.
    pub(super) async fn connect(&self) -> RedisResult<(Link, mpsc::Receiver<PushInfo>)> {
        let (heard, unread) = mpsc::channel(UNREAD);
        let hear = move |push: PushInfo| {
            heard.try_send(push).inspect_err(|_| {
                metrics::counter!("tidings_bus_unread_dropped_total").increment(1);
            })
        };
        let link = match &self.server {
            Server::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.connect_timeout))
                    .set_response_timeout(Some(self.answer_timeout))
                    .set_push_sender(hear);
                Link::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Server::Cluster(url) => {
                let client: ClusterClient = ClusterClientBuilder::new([url.as_str()])
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(self.connect_timeout)
                    .response_timeout(self.answer_timeout)
                    .push_sender(hear)
                    .build()?;
                Link::Cluster(client.get_async_connection().await?)
            }
        };
        Ok((link, unread))
    }
}

/// A connection.
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Whether it makes itself anew when a server of the cluster goes.
    pub(super) fn mends_itself(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    pub(super) async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::One(link) => link.subscribe(channels).await,
            Self::Cluster(link) => {
                // One at a time: each has a slot of its own, and may be on another server.
                for channel in channels {
                    link.ssubscribe(channel).await?;
                }
                Ok(())
            }
        }
    }

    /// Says messages, and waits until the server has them all.
    pub(super) async fn publish(&mut self, messages: &[(&str, &[u8])]) -> RedisResult<()> {
        match self {
            Self::One(link) => {
                let mut pipe = redis::pipe();
                for (channel, message) in messages {
                    pipe.cmd("PUBLISH").arg(*channel).arg(*message).ignore();
                }
                pipe.exec_async(link).await
            }
            Self::Cluster(link) => {
                let said = messages.iter().map(|(channel, message)| {
                    let mut link = link.clone();
                    async move {
                        let mut publish = redis::cmd("SPUBLISH");
                        publish.arg(*channel).arg(*message);
                        publish.exec_async(&mut link).await
                    }
                });
                try_join_all(said).await.map(drop)
            }
        }
    }
}
