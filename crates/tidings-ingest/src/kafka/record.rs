//! From a record to an event, by the format of its topic and its headers.

use std::sync::Arc;

use tidings_core::{
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin},
    event::{EventError, IncomingEvent, MAX_EVENT_BYTES},
};

use super::{
    account::{Account, Shares},
    chunk::{Chunk, Record},
    config::RecordFormat,
};

/// Why a record is not an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It has no value: a tombstone, or a mistake.
    #[error("the record has no value")]
    NoValue,
    /// Its value is longer than any event.
    #[error("the value has {got} bytes, the limit is {MAX_EVENT_BYTES}")]
    TooLong {
        /// Bytes it has.
        got: usize,
    },
    /// A header cannot be read.
    #[error("the name of a header is not UTF-8")]
    HeaderName,
    /// Its value is not an event.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl RecordError {
    /// Path of the field that is at fault; empty for the record as a whole.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Event(error) => error.field(),
            Self::NoValue | Self::TooLong { .. } | Self::HeaderName => "",
        }
    }
}

/// Reads a dead letter as the event that it may be by now: the decoder, or the topic's format, may have
/// changed since.
///
/// # Errors
///
/// [`RecordError`] when it is still none.
pub fn decode_letter(
    letter: &NewDeadLetter,
    format: RecordFormat,
    now: Timestamp,
) -> Result<IncomingEvent, RecordError> {
    let Origin::Kafka(origin) = &letter.origin else {
        return Ok(match format {
            RecordFormat::CloudEvents => IncomingEvent::from_cloud_event(&letter.payload, now)?,
            RecordFormat::Tidings | RecordFormat::Auto => {
                IncomingEvent::from_json(&letter.payload, now)?
            }
        });
    };
    let account = Account::new(Shares::new(usize::MAX, usize::MAX), Arc::default());
    let mut chunk = Chunk::new(account);
    chunk.push(origin.offset, origin.key.as_deref(), Some(&letter.payload));
    for (name, value) in &origin.headers {
        chunk.push_header(name, value.as_deref());
    }
    decode(chunk.record(0), format, now)
}

/// How one record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tidings,
    Structured,
    Binary,
}

/// Reads the event of a record.
pub(super) fn decode(
    record: Record<'_>,
    format: RecordFormat,
    now: Timestamp,
) -> Result<IncomingEvent, RecordError> {
    if !record.headers_are_readable() {
        return Err(RecordError::HeaderName);
    }
    let value = record.value().ok_or(RecordError::NoValue)?;
    if value.len() > MAX_EVENT_BYTES {
        return Err(RecordError::TooLong { got: value.len() });
    }
    Ok(match mode(record, format) {
        Mode::Tidings => IncomingEvent::from_json(value, now)?,
        Mode::Structured => IncomingEvent::from_cloud_event(value, now)?,
        Mode::Binary => IncomingEvent::from_cloud_event_binary(attributes(record), value, now)?,
    })
}

fn mode(record: Record<'_>, format: RecordFormat) -> Mode {
    let is_binary = || record.header("ce_specversion").is_some();
    match format {
        RecordFormat::Tidings => Mode::Tidings,
        _ if is_binary() => Mode::Binary,
        RecordFormat::CloudEvents => Mode::Structured,
        RecordFormat::Auto if is_structured(record) => Mode::Structured,
        RecordFormat::Auto => Mode::Tidings,
    }
}

/// By the media type, whatever its parameters ("Kafka Protocol Binding for CloudEvents", 3.3).
fn is_structured(record: Record<'_>) -> bool {
    const STRUCTURED: &[u8] = b"application/cloudevents+json";
    let content_type = record.header("content-type").unwrap_or_default();
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(STRUCTURED)
}

/// The attributes of an event in binary mode: each in a header `ce_…`, the type of the data in
/// `content-type` ("Kafka Protocol Binding for CloudEvents", 3.2).
fn attributes<'a>(record: Record<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    record.headers().filter_map(|(name, value)| {
        let value = value.unwrap_or_default();
        if name.eq_ignore_ascii_case("content-type") {
            return Some(("datacontenttype", value));
        }
        let (prefix, rest) = name.split_at_checked(3)?;
        prefix.eq_ignore_ascii_case("ce_").then_some((rest, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(format: RecordFormat, headers: &[(&str, &str)]) -> Mode {
        let mut chunk = Chunk::new(Arc::clone(&Account::for_tests()));
        chunk.push(0, None, None);
        for (name, value) in headers {
            chunk.push_header(name, Some(value.as_bytes()));
        }
        mode(chunk.record(0), format)
    }

    #[test]
    fn headers_tell_the_format_where_the_topic_does_not() {
        let structured = [("Content-Type", "application/cloudevents+json; charset=UTF-8")];
        let binary = [("content-type", "application/json"), ("ce_specversion", "1.0")];
        let neither = [("content-type", "application/json"), ("trace", "1")];
        for (format, headers, expected) in [
            (RecordFormat::Auto, &structured[..], Mode::Structured),
            (RecordFormat::Auto, &binary, Mode::Binary),
            (RecordFormat::Auto, &neither, Mode::Tidings),
            (RecordFormat::Auto, &[], Mode::Tidings),
            (RecordFormat::Tidings, &binary, Mode::Tidings),
            (RecordFormat::CloudEvents, &neither, Mode::Structured),
            (RecordFormat::CloudEvents, &binary, Mode::Binary),
        ] {
            assert_eq!(mode_of(format, headers), expected, "{format:?} {headers:?}");
        }
    }
}
