//! Where a connection goes, and its limits.

use std::time::Duration;

use http::uri::{Authority, Scheme, Uri};
use rustls::pki_types::ServerName;
use serde::Deserialize;

use crate::push::PushSetupError;

/// Limits of the connections to a push service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionConfig {
    /// How long a connection may take to be made, TLS included, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one push may take, waiting for a free stream and replays included, in milliseconds.
    pub request_timeout_ms: u64,
    /// Requests under way at a time on one connection, if the server allows as many. 1 to 65,535.
    pub max_streams: u32,
    /// Connections at a time, 1 to 64. One is made when it is first needed, each further one when
    /// all places on the others are taken.
    pub connections_max: u32,
    /// With requests under way, silence on a connection for this long is answered with a PING, in
    /// milliseconds.
    pub ping_busy_ms: u64,
    /// Without any, for this long. Apple asks for an hour.
    pub ping_idle_ms: u64,
    /// A connection that does not answer a PING for this long is given up, in milliseconds.
    pub ping_timeout_ms: u64,
}

impl Default for ConnectionConfig {
    /// 10 s to connect, 15 s per push (Google asks for at least 10 s), 4 connections of 1,000
    /// streams, which is what APNs allows on each as a rule. A connection is asked after 3 s of
    /// silence and given up 3 s later, so that pushes are back before their own time is up.
    fn default() -> Self {
        Self {
            connect_timeout_ms: 10_000,
            request_timeout_ms: 15_000,
            max_streams: 1_000,
            connections_max: 4,
            ping_busy_ms: 3_000,
            ping_idle_ms: 60 * 60 * 1_000,
            ping_timeout_ms: 3_000,
        }
    }
}

impl ConnectionConfig {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// The host that a client talks to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(super) authority: Authority,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) server_name: ServerName<'static>,
}

impl Endpoint {
    /// Reads `https://host` or `https://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, PushSetupError> {
        let bad = || PushSetupError::Endpoint { endpoint: text.to_owned() };
        let uri: Uri = text.parse().map_err(|_| bad())?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad());
        }
        Self::of(&uri).ok_or_else(bad)
    }

    /// The host of an `https` URL; `None` if it is not one.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return None;
        }
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?.clone();
        // A literal IPv6 address has brackets in a URL, and nowhere else.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = ServerName::try_from(host.clone()).ok()?;
        let port = authority.port_u16().unwrap_or(443);
        Some(Self { authority, host, port, server_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_and_nothing_but_a_host_and_a_port() {
        let endpoint = Endpoint::parse("https://api.push.apple.com").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("api.push.apple.com", 443));
        let endpoint = Endpoint::parse("https://[::1]:2197").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 2197));
        for bad in
            ["", "api.push.apple.com", "http://a", "https://a/b", "https://a?b", "https://u@a"]
        {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
