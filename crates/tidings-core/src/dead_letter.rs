//! Inputs that could not become notifications.

use std::fmt;

use serde::Serialize;

use crate::clock::Timestamp;

/// The number of a dead letter, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What could not be done with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is not an event.
    Decode,
    /// Its audience cannot be worked out.
    Plan,
    /// The store refuses it, whatever else is stored with it.
    Store,
}

impl Stage {
    /// The name in JSON, in metrics and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Plan => "plan",
            Self::Store => "store",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Decode, Self::Plan, Self::Store].into_iter().find(|it| it.as_str() == name)
    }
}

/// Where a record stands in Kafka, and what it carried besides its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOrigin {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's headers, in their order; a name may occur many times.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Where an input came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A request.
    Http,
    /// A record.
    Kafka(RecordOrigin),
    /// A fan-out: the event, for the follower who could not be told.
    FanOut,
}

impl Origin {
    /// The name in JSON, in metrics and in a store.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Kafka(_) => "kafka",
            Self::FanOut => "fan_out",
        }
    }
}

/// An input that could not become notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Where it came from.
    pub origin: Origin,
    /// What could not be done with it.
    pub stage: Stage,
    /// Why.
    pub reason: String,
    /// The input as it came, cut to what the caller chooses to keep.
    pub payload: Vec<u8>,
    /// How long the input was, in bytes: more than `payload` has if that was cut.
    pub payload_bytes: u64,
    /// When it came.
    pub at: Timestamp,
}

impl NewDeadLetter {
    /// Whether the payload is not whole.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        u64::try_from(self.payload.len()).is_ok_and(|kept| kept < self.payload_bytes)
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let record = match &self.origin {
            Origin::Http | Origin::FanOut => 0,
            Origin::Kafka(record) => {
                let headers = record.headers.iter();
                let headers: usize = headers
                    .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len))
                    .sum();
                record.topic.len() + record.key.as_ref().map_or(0, Vec::len) + headers
            }
        };
        64 + self.reason.len() + self.payload.len() + record
    }
}

/// An input that could not become notifications, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// The input and why it was refused.
    pub letter: NewDeadLetter,
}
