//! What events of a request are written in.

use axum::http::{HeaderMap, header};
use tidings_core::{
    clock::Timestamp,
    event::{EventError, IncomingEvent},
};

/// Media types of CloudEvents in structured mode ("HTTP Protocol Binding for CloudEvents", 3.2 and 3.3).
const CLOUD_EVENT: &str = "application/cloudevents+json";
const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// As Tidings has it.
    Plain,
    /// CloudEvents 1.0 in structured mode.
    CloudEvent,
}

impl Envelope {
    /// By the `Content-Type`, whatever its parameters. One that says nothing of CloudEvents says nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type =
            media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        if is(CLOUD_EVENT) || is(CLOUD_EVENTS) { Self::CloudEvent } else { Self::Plain }
    }

    /// Reads an event and checks every limit.
    pub(super) fn open(self, json: &[u8], now: Timestamp) -> Result<IncomingEvent, EventError> {
        match self {
            Self::Plain => IncomingEvent::from_json(json, now),
            Self::CloudEvent => IncomingEvent::from_cloud_event(json, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_says_what_events_are_written_in() {
        for (media_type, envelope) in [
            ("application/json", Envelope::Plain),
            ("text/plain; charset=utf-8", Envelope::Plain),
            ("application/cloudevents", Envelope::Plain),
            ("application/cloudevents+json", Envelope::CloudEvent),
            ("Application/CloudEvents+JSON; charset=UTF-8", Envelope::CloudEvent),
            ("application/cloudevents-batch+json", Envelope::CloudEvent),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
            assert_eq!(Envelope::of(&headers), envelope, "{media_type}");
        }
        assert_eq!(Envelope::of(&HeaderMap::new()), Envelope::Plain);
    }
}
