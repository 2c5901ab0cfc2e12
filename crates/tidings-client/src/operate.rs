//! The part of the HTTP API that operators use: dead letters, the delivery log, and how far Kafka was
//! read.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::{
    api::{Api, EventsAnswer},
    error::ApiError,
};

/// An input that could not become notifications, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// `http`, `kafka` or `fan_out`.
    pub origin: String,
    /// `decode`, `plan` or `store`: what could not be done with it.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// Its topic, if it was a record.
    #[serde(default)]
    pub topic: Option<String>,
    /// Its partition, if it was a record.
    #[serde(default)]
    pub partition: Option<i32>,
    /// Its offset, if it was a record.
    #[serde(default)]
    pub offset: Option<i64>,
    /// The first 256 bytes of the input, with what is not UTF-8 replaced.
    pub preview: String,
    /// How long the input was.
    pub payload_bytes: u64,
    /// When it came.
    pub at: String,
}

/// A part of the dead letters, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterPage {
    /// The letters.
    pub items: Vec<DeadLetter>,
    /// Where to go on; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
    /// How many letters there are in all.
    pub total: u64,
}

/// Which part of the delivery log is wanted; all unless it is narrowed. Times are RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryLogQuery {
    /// Attempts that ended at this time or later.
    pub since: Option<String>,
    /// Attempts that ended before this time.
    pub until: Option<String>,
    /// `websocket`, `apns`, `fcm` or `webpush`.
    pub channel: Option<String>,
    /// `delivered`, `retrying`, `failed` or `skipped`.
    pub outcome: Option<String>,
    /// Whose.
    pub user: Option<String>,
}

/// A part of the delivery log, in the order in which it was written.
#[derive(Debug, Clone, Deserialize)]
pub struct DeliveryLogPage {
    /// The attempts as JSON.
    pub items: Vec<Box<RawValue>>,
    /// Where to go on; `None` if that is all for now.
    #[serde(default)]
    pub next: Option<String>,
    /// Everything up to this number has been given; as a cursor it leads to what came later.
    pub upto: u64,
}

/// A part of the delivery log of one notification, oldest first.
#[derive(Debug, Clone, Deserialize)]
pub struct NotificationLogPage {
    /// The attempts as JSON.
    pub items: Vec<Box<RawValue>>,
    /// Where to go on; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// How far a partition was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// How often it was taken over.
    pub epoch: u64,
    /// The first record that is not stored; `None` before the first was.
    #[serde(default)]
    pub next_offset: Option<i64>,
}

impl Api {
    /// Up to `limit` dead letters, newest first, from `cursor` on, which is [`DeadLetterPage::next`]
    /// of the page before.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn dead_letters(
        &self,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<DeadLetterPage, ApiError> {
        let mut url = self.url(&["v1", "dead-letters"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
        }
        self.send_to(Method::GET, url, String::new()).await
    }

    /// One dead letter, as JSON with everything that is kept of it.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn dead_letter(&self, id: u64) -> Result<Value, ApiError> {
        self.send(Method::GET, &["v1", "dead-letters", &id.to_string()], String::new()).await
    }

    /// Takes a dead letter in again, as it is or, with `event`, as this event; removes it if that
    /// succeeds.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; the letter is kept then.
    pub async fn replay_dead_letter(
        &self,
        id: u64,
        event: Option<String>,
    ) -> Result<EventsAnswer, ApiError> {
        let path = ["v1", "dead-letters", &id.to_string(), "replay"];
        self.send(Method::POST, &path, event.unwrap_or_default()).await
    }

    /// Removes a dead letter; fine if there is none.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn drop_dead_letter(&self, id: u64) -> Result<(), ApiError> {
        let path = ["v1", "dead-letters", &id.to_string()];
        self.send(Method::DELETE, &path, String::new()).await
    }

    /// Up to `limit` attempts of the delivery log after `cursor`, which is a number,
    /// [`DeliveryLogPage::next`] or [`DeliveryLogPage::upto`].
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn read_deliveries(
        &self,
        wanted: &DeliveryLogQuery,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<DeliveryLogPage, ApiError> {
        let mut url = self.url(&["v1", "deliveries"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            for (name, value) in [
                ("since", wanted.since.as_deref()),
                ("until", wanted.until.as_deref()),
                ("channel", wanted.channel.as_deref()),
                ("outcome", wanted.outcome.as_deref()),
                ("user", wanted.user.as_deref()),
                ("cursor", cursor),
            ] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
        }
        self.send_to(Method::GET, url, String::new()).await
    }

    /// Up to `limit` attempts to deliver a notification, from `cursor` on, which is
    /// [`NotificationLogPage::next`] of the page before.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; also when there is no such notification.
    pub async fn notification_deliveries(
        &self,
        notification: &str,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<NotificationLogPage, ApiError> {
        let mut url = self.url(&["v1", "notifications", notification, "deliveries"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
        }
        self.send_to(Method::GET, url, String::new()).await
    }

    /// How far each partition was stored.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn offsets(&self) -> Result<Vec<Offset>, ApiError> {
        self.send(Method::GET, &["v1", "offsets"], String::new()).await
    }

    /// Moves a partition to `next_offset`, or to where a new partition starts.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn put_offset(
        &self,
        topic: &str,
        partition: i32,
        next_offset: Option<i64>,
    ) -> Result<Offset, ApiError> {
        let path = ["v1", "offsets", topic, &partition.to_string()];
        let body = json!({ "next_offset": next_offset });
        self.send(Method::PUT, &path, body.to_string()).await
    }
}
