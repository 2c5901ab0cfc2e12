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

impl RecordOrigin {
    /// The header that stands last when the record had more than is kept: what it had, in words.
    pub const CUT_HEADER: &str = "__tidings.cut";

    /// The record with at most `most` bytes of its key, and then of headers: these stay whole, in
    /// their order, up to the first for which there is no room. What is left out is told by a header
    /// [`Self::CUT_HEADER`].
    #[must_use]
    pub fn cut_to(mut self, most: usize) -> Self {
        let key_bytes = self.key.as_ref().map_or(0, Vec::len);
        if let Some(key) = &mut self.key {
            key.truncate(most);
        }
        let mut room = most.saturating_sub(key_bytes);
        let fitting = self.headers.iter().take_while(|header| {
            let left = room.checked_sub(header_bytes(header));
            room = left.unwrap_or(room);
            left.is_some()
        });
        let fitting = fitting.count();
        if key_bytes <= most && fitting == self.headers.len() {
            return self;
        }
        let left_out = self.headers.split_off(fitting);
        let bytes: usize = left_out.iter().map(header_bytes).sum();
        let cut = format!(
            "key of {key_bytes} bytes; {} headers of {bytes} bytes left out",
            left_out.len()
        );
        self.headers.push((Self::CUT_HEADER.to_owned(), Some(cut.into_bytes())));
        self
    }
}

/// About what a header takes, besides its name and value: its place in a list.
const HEADER_BYTES: usize = 32;

fn header_bytes((name, value): &(String, Option<Vec<u8>>)) -> usize {
    HEADER_BYTES + name.len() + value.as_ref().map_or(0, Vec::len)
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
                let headers: usize = record.headers.iter().map(header_bytes).sum();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: usize, headers: &[usize]) -> RecordOrigin {
        let headers = headers.iter().map(|len| ("h".to_owned(), Some(vec![7; *len])));
        RecordOrigin {
            topic: "t".to_owned(),
            partition: 0,
            offset: 1,
            key: Some(vec![0xff; key]),
            headers: headers.chain([("none".to_owned(), None)]).collect(),
        }
    }

    fn said(record: &RecordOrigin) -> Option<&str> {
        let (name, value) = record.headers.last()?;
        (name == RecordOrigin::CUT_HEADER).then(|| str::from_utf8(value.as_ref().unwrap()).unwrap())
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let whole = record(100, &[10, 20]);
        assert_eq!(whole.clone().cut_to(100 + 43 + 53 + 36), whole);
    }

    #[test]
    fn headers_that_do_not_fit_are_left_out_from_the_first_on_and_counted() {
        let cut = record(100, &[10, 5_000, 20]).cut_to(1_000);
        assert_eq!(cut.key, record(100, &[]).key);
        assert_eq!(cut.headers.len(), 2);
        let words = "key of 100 bytes; 3 headers of 5122 bytes left out";
        assert_eq!(said(&cut), Some(words));
    }

    #[test]
    fn a_long_key_is_cut_and_leaves_no_room() {
        let cut = record(2_000, &[10]).cut_to(1_000);
        assert_eq!(cut.key.as_ref().unwrap().len(), 1_000);
        assert_eq!(said(&cut), Some("key of 2000 bytes; 2 headers of 79 bytes left out"));
    }

    #[test]
    fn many_empty_headers_are_not_free() {
        let mut many = record(0, &[]);
        many.headers = vec![(String::new(), None); 1_000_000];
        assert!(many.cut_to(65_536).headers.len() <= 2_049);
    }
}
