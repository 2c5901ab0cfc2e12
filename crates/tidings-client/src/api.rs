//! The HTTP API.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode, Url, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use tidings_core::{
    device::Platform,
    ids::{DeviceId, UserId},
};

use crate::error::{ApiError, Problem};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A node's HTTP API. Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: Arc<Url>,
}

/// What became of a request's events.
#[derive(Debug, Clone, Deserialize)]
pub struct EventsAnswer {
    /// Events with new notifications, or with nobody to tell.
    pub stored: u64,
    /// Events whose notifications were all stored before.
    pub duplicates: u64,
    /// Events that are not valid.
    pub rejected: u64,
    /// Events to be sent again.
    pub failed: u64,
    /// One entry per event.
    pub results: Vec<EventResult>,
}

/// What became of one event.
#[derive(Debug, Clone, Deserialize)]
pub struct EventResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// The event's id, if it has one.
    #[serde(default)]
    pub id: Option<String>,
    /// `stored`, `duplicate`, `rejected` or `failed`.
    pub status: String,
    /// Notifications that are new.
    pub notifications: u64,
    /// Recipients who had theirs already.
    pub duplicates: u64,
    /// Why it was rejected or failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The field that is at fault.
    #[serde(default)]
    pub field: Option<String>,
}

/// A part of an inbox, newest first.
#[derive(Debug, Clone, Deserialize)]
pub struct InboxPage {
    /// The notifications as JSON.
    pub items: Vec<Box<RawValue>>,
    /// Where to go on; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
    /// Notifications of the whole inbox that are neither read nor archived.
    pub unread: u64,
    /// The newest notification; 0 for an empty inbox.
    pub last_seq: u64,
}

/// An inbox's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Counters {
    /// Notifications that are neither read nor archived.
    pub unread: u64,
    /// The newest notification; 0 for an empty inbox.
    pub last_seq: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Imported {
    /// Lines with an edge.
    pub lines: u64,
    /// Edges that are new.
    pub added: u64,
}

impl Api {
    /// The API of the node at `url`, for example `http://127.0.0.1:7700`, with a server key or a
    /// user's token if the node wants one.
    ///
    /// # Errors
    ///
    /// [`ApiError::Address`].
    pub fn new(url: &str, bearer: Option<&str>) -> Result<Self, ApiError> {
        let bad_address = || ApiError::Address { url: url.to_owned() };
        let base = Url::parse(url).map_err(|_| bad_address())?;
        if base.cannot_be_a_base() {
            return Err(bad_address());
        }
        let mut headers = header::HeaderMap::new();
        if let Some(bearer) = bearer {
            let value = format!("Bearer {bearer}");
            let mut value = header::HeaderValue::from_str(&value).map_err(|_| bad_address())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .default_headers(headers)
            .build()
            .map_err(|_| bad_address())?;
        Ok(Self { http, base: Arc::new(base) })
    }

    /// Reports one event and returns how many notifications are new.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; when it [is transient](ApiError::is_transient), report the event again.
    pub async fn post_event(&self, event: &Value) -> Result<u64, ApiError> {
        let answer: EventsAnswer =
            self.send(Method::POST, &["v1", "events"], event.to_string()).await?;
        Ok(answer.results.iter().map(|result| result.notifications).sum())
    }

    /// Reports several events in one request.
    ///
    /// # Errors
    ///
    /// [`ApiError`], also when not one of the events was stored; when it
    /// [is transient](ApiError::is_transient), report them again.
    pub async fn post_events(&self, events: &[Value]) -> Result<EventsAnswer, ApiError> {
        // A list of values has no way to fail.
        let body = serde_json::to_string(events).unwrap_or_default();
        self.send(Method::POST, &["v1", "events"], body).await
    }

    /// Reports several events as NDJSON.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn post_lines(&self, lines: String) -> Result<EventsAnswer, ApiError> {
        self.send(Method::POST, &["v1", "events", "batch"], lines).await
    }

    /// Registers a device.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn put_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        platform: Platform,
        token: &str,
        app: &str,
    ) -> Result<(), ApiError> {
        let path = ["v1", "users", user.as_str(), "devices", device.as_str()];
        let body = json!({"platform": platform, "token": token, "app": app});
        let _registered: Value = self.send(Method::PUT, &path, body.to_string()).await?;
        Ok(())
    }

    /// Registers a browser by its `PushSubscription`, as a page serializes it.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn put_browser(
        &self,
        user: &UserId,
        device: &DeviceId,
        subscription: &Value,
        app: &str,
    ) -> Result<(), ApiError> {
        let path = ["v1", "users", user.as_str(), "devices", device.as_str()];
        let body = json!({"platform": "webpush", "subscription": subscription, "app": app});
        let _registered: Value = self.send(Method::PUT, &path, body.to_string()).await?;
        Ok(())
    }

    /// The counters of an inbox.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn counters(&self, user: &UserId) -> Result<Counters, ApiError> {
        self.send(Method::GET, &["v1", "users", user.as_str(), "inbox"], String::new()).await
    }

    /// Up to `limit` notifications of an inbox, newest first, from `cursor` on, which is
    /// [`InboxPage::next`] of the page before.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn inbox(
        &self,
        user: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<InboxPage, ApiError> {
        let mut url = self.url(&["v1", "users", user.as_str(), "notifications"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
        }
        self.send_to(Method::GET, url, String::new()).await
    }

    /// Makes a user follow another. Following twice is following once.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn put_follow(&self, follower: &UserId, followee: &UserId) -> Result<(), ApiError> {
        let path = ["v1", "users", follower.as_str(), "following", followee.as_str()];
        let _followed: Value = self.send(Method::PUT, &path, String::new()).await?;
        Ok(())
    }

    pub(crate) fn url(&self, path: &[&str]) -> Url {
        let mut url = (*self.base).clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Ids may hold any character: segments are escaped one by one.
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: String,
    ) -> Result<T, ApiError> {
        self.send_to(method, self.url(path), body).await
    }

    pub(crate) async fn send_to<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: String,
    ) -> Result<T, ApiError> {
        let bytes = self.exchange(method, url, body).await?;
        // Nothing to say is `null` to the types.
        let json: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(json).map_err(|source| self.unreadable(source))
    }

    /// Reads an answer that is text.
    pub(crate) async fn fetch(&self, url: Url) -> Result<String, ApiError> {
        let bytes = self.exchange(Method::GET, url, String::new()).await?;
        String::from_utf8(bytes).map_err(|error| {
            use serde::de::Error as _;
            self.unreadable(serde_json::Error::custom(error))
        })
    }

    pub(crate) fn unreadable(&self, source: serde_json::Error) -> ApiError {
        ApiError::Unreadable { url: self.base.to_string(), source }
    }

    /// Sends a request and reads the body of an answer that is no refusal.
    async fn exchange(&self, method: Method, url: Url, body: String) -> Result<Vec<u8>, ApiError> {
        let unreachable = |source: reqwest::Error| ApiError::Unreachable {
            url: self.base.to_string(),
            source: source.without_url(),
        };
        let answer = self.http.request(method, url).body(body).send().await.map_err(unreachable)?;
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let bytes = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        Err(refusal(status, &bytes, retry_after))
    }
}

fn refusal(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> ApiError {
    // What stands between us and the node (a proxy) may answer with anything.
    let Problem { kind, title, detail } = serde_json::from_slice(body).unwrap_or_default();
    let title = if title.is_empty() {
        status.canonical_reason().unwrap_or("refused").to_owned()
    } else {
        title
    };
    ApiError::Refused { status: status.as_u16(), kind, title, detail, retry_after }
}
