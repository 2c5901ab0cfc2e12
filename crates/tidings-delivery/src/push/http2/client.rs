//! Sends requests, and sends again what the server did not take.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version, header::CONTENT_LENGTH, uri::PathAndQuery};
use tidings_core::error_chain::ErrorChain;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Answer, ConnectionConfig, CredentialSlot, Http2Error, Trust,
    config::Endpoint,
    connection::Connection,
    error::ConnectError,
    pool::{Entered, Place, Pool},
    pulse::PulseLimits,
};

/// How often one request is sent again at once because the server did not take it.
const MAX_REPLAYS: u32 = 32;

/// A POST request.
pub(crate) struct Outgoing<'a> {
    pub(crate) path: &'a PathAndQuery,
    pub(crate) body: &'a Bytes,
}

/// Talks to one host over a few HTTP/2 connections.
///
/// Connections are made when they are needed, and replaced when they break, end or fall silent; what
/// is under way on the old ones is left to finish. Dropping the client ends them all.
pub(crate) struct Http2Client {
    host: Arc<Host>,
    config: ConnectionConfig,
    /// One task for each connection: it makes the connection and moves its bytes.
    tasks: Mutex<JoinSet<()>>,
}

/// What the tasks of all connections share.
struct Host {
    endpoint: Endpoint,
    trust: Trust,
    config: ConnectionConfig,
    pool: Arc<Pool>,
}

impl Http2Client {
    pub(crate) fn new(endpoint: Endpoint, trust: Trust, config: ConnectionConfig) -> Self {
        let most = |number: u32| usize::from(u16::try_from(number).unwrap_or(u16::MAX));
        let pool = Arc::new(Pool::new(most(config.connections_max), most(config.max_streams)));
        let host = Host { endpoint, trust, config: config.clone(), pool };
        Self { host: Arc::new(host), config, tasks: Mutex::default() }
    }

    /// When a request that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout()
    }

    /// Sends `outgoing` and reads its answer by `deadline`.
    ///
    /// `headers` is asked anew for each connection that is tried; `None` from it means that this
    /// connection will not do, and retires it. Sent again only if the server has provably not
    /// processed it. Safe to drop at any point: the stream is reset.
    pub(crate) async fn post(
        &self,
        outgoing: Outgoing<'_>,
        deadline: Instant,
        mut headers: impl FnMut(&CredentialSlot) -> Option<HeaderMap>,
    ) -> Result<Answer, Http2Error> {
        let mut replays = 0;
        loop {
            let place = self.place(deadline).await?;
            let connection = place.connection();
            let sent_at = Instant::now();
            let sent = match headers(&connection.credential) {
                Some(headers) => {
                    let head = self.head(&outgoing, headers);
                    connection.send(head, outgoing.body.clone(), deadline).await
                }
                None => Err(Http2Error::Closed),
            };
            let error = match sent {
                Ok(answer) => {
                    self.leave(place);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let is_dead = matches!(error, Http2Error::NotAnsweredInTime)
                && connection.vitals.is_silent_for(sent_at.elapsed());
            if error.ends_connection() || is_dead {
                self.retire(connection.id());
            }
            if !error.is_unprocessed() || replays >= MAX_REPLAYS || Instant::now() >= deadline {
                return Err(error);
            }
            replays += 1;
        }
    }

    /// Sends no more requests on the connection that `answer` came on.
    pub(crate) fn retire_connection_of(&self, answer: &Answer) {
        self.retire(answer.connection);
    }

    fn retire(&self, connection: u64) {
        if self.host.pool.retire(connection) {
            self.open_another();
        }
    }

    async fn place(&self, deadline: Instant) -> Result<Place, Http2Error> {
        let began = Instant::now();
        let (place, opens) = match self.host.pool.enter()? {
            Entered::At(place) => return Ok(place),
            Entered::Waits { place, opens } => (place, opens),
        };
        if opens {
            self.open_another();
        }
        match timeout_at(deadline, place).await {
            Ok(granted) => granted.unwrap_or(Err(Http2Error::Closed)),
            // Still without any connection: it is not that there is no room.
            Err(_) if self.host.pool.is_empty() => {
                Err(Http2Error::Connect(Arc::new(ConnectError::TimedOut)))
            }
            Err(_) if self.host.pool.is_silent_since(began) => Err(Http2Error::Silent),
            Err(_) => Err(Http2Error::NotSentInTime),
        }
    }

    fn leave(&self, place: Place) {
        if place.give_back() {
            self.open_another();
        }
    }

    fn open_another(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are seen off when the next one begins: there are few.
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection to a push service failed");
            }
        }
        tasks.spawn(Arc::clone(&self.host).serve());
    }

    fn head(&self, outgoing: &Outgoing<'_>, headers: HeaderMap) -> Request<()> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(http::uri::Scheme::HTTPS);
        uri.authority = Some(self.host.endpoint.authority.clone());
        uri.path_and_query = Some(outgoing.path.clone());
        let mut head = Request::new(());
        // All three parts are there, which is all that is asked for; a URL without them would be
        // refused by the library, and the request reported as not sent.
        *head.uri_mut() = http::Uri::from_parts(uri).unwrap_or_default();
        *head.method_mut() = Method::POST;
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = headers;
        head.headers_mut().insert(CONTENT_LENGTH, outgoing.body.len().into());
        head
    }
}

impl Host {
    /// Makes a connection and moves its bytes until it ends; then another, if someone waits for it.
    async fn serve(self: Arc<Self>) {
        loop {
            let id = self.pool.next_id();
            match self.open(id).await {
                Ok((connection, driver)) => {
                    let host = &self.endpoint.host;
                    tracing::debug!(host, connection = id, "connected to a push service");
                    self.pool.add(Arc::new(connection));
                    driver.await;
                    if !self.pool.retire(id) {
                        return;
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    let host = &self.endpoint.host;
                    tracing::warn!(host, error = %ErrorChain(&*error), "cannot connect");
                    self.pool.fail(&error);
                    return;
                }
            }
        }
    }

    async fn open(
        &self,
        id: u64,
    ) -> Result<(Connection, impl Future<Output = ()> + Send + use<>), ConnectError> {
        let pulse = PulseLimits::of(&self.config);
        let open = Connection::open(id, &self.endpoint, &self.trust, &self.pool, pulse);
        timeout(self.config.connect_timeout(), open).await.unwrap_or(Err(ConnectError::TimedOut))
    }
}
