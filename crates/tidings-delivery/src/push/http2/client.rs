//! The connection that is in use, and how it is replaced.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Version, header::CONTENT_LENGTH, uri::PathAndQuery};
use tidings_core::error_chain::ErrorChain;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Answer, ConnectionConfig, Http2Error, Trust, config::Endpoint, connection::Connection,
    error::ConnectError,
};

/// After a failed attempt to connect, requests fail at once for this long: a queue of them must not
/// become a queue of attempts.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How often one request is sent again at once because the server did not take it.
const MAX_REPLAYS: u32 = 8;

/// A POST request.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Talks to one host over one HTTP/2 connection at a time.
///
/// The connection is made when it is first needed, and replaced when it breaks, ends or falls
/// silent; what is under way on the old one is left to finish. Dropping the client ends them all.
pub(crate) struct Http2Client {
    endpoint: Endpoint,
    trust: Trust,
    config: ConnectionConfig,
    current: Mutex<Option<Arc<Connection>>>,
    /// Held by whoever connects; holds what became of the last attempt.
    connecting: tokio::sync::Mutex<Attempts>,
    drivers: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Attempts {
    made: u64,
    failure: Option<(Instant, Arc<ConnectError>)>,
}

impl Http2Client {
    pub(crate) fn new(endpoint: Endpoint, trust: Trust, config: ConnectionConfig) -> Self {
        Self {
            endpoint,
            trust,
            config,
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::default(),
            drivers: Mutex::new(JoinSet::new()),
        }
    }

    /// When a request that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout()
    }

    /// Sends `outgoing` and reads its answer by `deadline`.
    ///
    /// Sent again only if the server has provably not processed it. Safe to drop at any point: the
    /// stream is reset.
    pub(crate) async fn post(
        &self,
        outgoing: &Outgoing,
        deadline: Instant,
    ) -> Result<Answer, Http2Error> {
        let mut replays = 0;
        loop {
            let connection = self.connection(deadline).await?;
            let sent_at = Instant::now();
            let sent = connection.send(self.head(outgoing), outgoing.body.clone(), deadline).await;
            let error = match sent {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match &error {
                Http2Error::NotAnsweredInTime if !connection.is_silent_for(sent_at.elapsed()) => {}
                // Too many streams for the moment: the same connection is right. Its limit is
                // followed, so waiting for a place takes care of the rest.
                Http2Error::NotTaken(source) if source.is_reset() => {}
                Http2Error::NotSentInTime => {}
                _ => self.retire(connection.id()),
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
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|it| it.id() == connection) {
            *current = None;
        }
    }

    fn usable(&self) -> Option<Arc<Connection>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|it| !it.is_closed()).cloned()
    }

    async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>, Http2Error> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let asked_at = Instant::now();
        let attempts = timeout_at(deadline, self.connecting.lock()).await;
        let mut attempts = attempts.map_err(|_| Http2Error::NotSentInTime)?;
        // Whoever held the lock before may have connected, or failed while we waited.
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        if let Some((failed_at, error)) = &attempts.failure
            && (*failed_at >= asked_at || failed_at.elapsed() < RECONNECT_PAUSE)
        {
            return Err(Http2Error::Connect(Arc::clone(error)));
        }
        let give_up_at = Instant::now() + self.config.connect_timeout();
        let id = attempts.made;
        attempts.made += 1;
        let max_streams = usize::from(u16::try_from(self.config.max_streams).unwrap_or(u16::MAX));
        let open = Connection::open(id, &self.endpoint, &self.trust, max_streams);
        let opened = match timeout_at(give_up_at.min(deadline), open).await {
            Ok(opened) => opened,
            // This request was short of time; that says little about the host.
            Err(_) if deadline < give_up_at => return Err(Http2Error::NotSentInTime),
            Err(_) => Err(ConnectError::TimedOut),
        };
        match opened {
            Ok((connection, driver)) => {
                attempts.failure = None;
                Ok(self.adopt(connection, driver))
            }
            Err(error) => {
                let error = Arc::new(error);
                tracing::warn!(host = self.endpoint.host, error = %ErrorChain(&*error), "cannot connect");
                attempts.failure = Some((Instant::now(), Arc::clone(&error)));
                Err(Http2Error::Connect(error))
            }
        }
    }

    fn adopt(
        &self,
        connection: Connection,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Connection> {
        tracing::debug!(host = self.endpoint.host, connection = connection.id(), "connected");
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        // Connections that have ended are seen off when the next one comes: there are few.
        while let Some(ended) = drivers.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection to a push service failed");
            }
        }
        drivers.spawn(driver);
        let connection = Arc::new(connection);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(&connection));
        connection
    }

    fn head(&self, outgoing: &Outgoing) -> Request<()> {
        let mut head = Request::new(());
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(http::uri::Scheme::HTTPS);
        uri.authority = Some(self.endpoint.authority.clone());
        uri.path_and_query = Some(outgoing.path.clone());
        // All three parts are there, which is all that is asked for; a URL without them would be
        // refused by the library, and the request reported as not sent.
        *head.uri_mut() = http::Uri::from_parts(uri).unwrap_or_default();
        *head.method_mut() = http::Method::POST;
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = outgoing.headers.clone();
        head.headers_mut().insert(CONTENT_LENGTH, outgoing.body.len().into());
        head
    }
}
