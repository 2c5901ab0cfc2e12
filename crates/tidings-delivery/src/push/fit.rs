//! What is left out when a push would be too large.
//!
//! In this order, and only as far as needed: `data`; the end of the body; the end of the title;
//! `object`. Texts are cut between characters and end in `…`. A push that was cut says so
//! (`truncated`), so that the app can load the whole notification by its id.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::value::RawValue;
use tidings_core::{
    delivery::Push,
    device::Platform,
    event::{Event, ObjectRef},
};
use tokio::time::Instant;

/// So many types of events back, and for so long, a cut is not told again.
const RECENT_CUTS: usize = 64;
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// The parts of a push that may be cut or left out.
#[derive(Debug, Clone)]
pub(super) struct Content<'a> {
    pub(super) title: Cow<'a, str>,
    pub(super) body: Cow<'a, str>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) object: Option<&'a ObjectRef>,
    pub(super) truncated: bool,
}

/// A message as it goes out.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The whole request body.
    pub(super) message: Vec<u8>,
    /// The part of it that the service limits, in bytes.
    pub(super) payload_bytes: usize,
    cut: Option<Cut>,
}

impl Rendered {
    pub(super) fn new(message: Vec<u8>, payload_bytes: usize) -> Self {
        Self { message, payload_bytes, cut: None }
    }
}

/// How a push was cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// How large it was before.
    whole_bytes: usize,
    /// The last part that had to be cut; those that go before it are gone.
    upto: &'static str,
}

/// Tells of pushes that were cut: each counts, and each type of event is logged once an hour, however
/// many pushes there are.
pub(super) struct Cuts {
    platform: Platform,
    recent: Mutex<VecDeque<Told>>,
}

struct Told {
    event_type: String,
    upto: &'static str,
    at: Instant,
}

impl Cuts {
    pub(super) fn new(platform: Platform) -> Self {
        Self { platform, recent: Mutex::default() }
    }

    /// Tells of `push`, if what was made of it was cut; gives the last part that had to be cut.
    pub(super) fn note(&self, push: &Push, rendered: &Rendered) -> Option<&'static str> {
        let Cut { whole_bytes, upto } = rendered.cut?;
        let channel = self.platform.as_str();
        let labels = [("channel", channel), ("upto", upto)];
        metrics::counter!("tidings_push_truncated_total", &labels).increment(1);
        let event = &push.notification.event;
        if self.is_new(&event.event_type, upto) {
            tracing::warn!(
                "event.type" = event.event_type,
                event.id = %event.id,
                notification.id = %push.notification.id,
                channel,
                upto,
                whole_bytes,
                payload_bytes = rendered.payload_bytes,
                "pushes of a type of event are too large and are cut; told once an hour"
            );
        }
        Some(upto)
    }

    fn is_new(&self, event_type: &str, upto: &'static str) -> bool {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|it| now.duration_since(it.at) < PAUSE);
        if recent.iter().any(|it| it.event_type == event_type && it.upto == upto) {
            return false;
        }
        if recent.len() == RECENT_CUTS {
            recent.pop_front();
        }
        recent.push_back(Told { event_type: event_type.to_owned(), upto, at: now });
        true
    }
}

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum FitError {
    #[error("{payload_bytes} bytes are left of the payload, and {limit_bytes} are allowed")]
    TooLarge { payload_bytes: usize, limit_bytes: usize },
    #[error("the payload cannot be written as json")]
    Json(#[from] serde_json::Error),
}

/// Renders as much of `event` as `limit_bytes` of payload allow.
///
/// `render` has to give a larger payload for a longer text.
pub(super) fn fit<'a>(
    event: &'a Event,
    limit_bytes: usize,
    render: impl Fn(&Content<'a>) -> Result<Rendered, serde_json::Error>,
) -> Result<Rendered, FitError> {
    let content = Content {
        title: Cow::Borrowed(&event.title),
        body: Cow::Borrowed(&event.body),
        data: event.data.as_deref(),
        object: event.object.as_ref(),
        truncated: false,
    };
    let whole = render(&content)?;
    if whole.payload_bytes <= limit_bytes {
        return Ok(whole);
    }
    let whole_bytes = whole.payload_bytes;
    let (rendered, upto) = cut_to_fit(event, content, limit_bytes, render)?;
    Ok(Rendered { cut: Some(Cut { whole_bytes, upto }), ..rendered })
}

/// What is left, and the last part that had to be cut.
fn cut_to_fit<'a>(
    event: &'a Event,
    mut content: Content<'a>,
    limit_bytes: usize,
    render: impl Fn(&Content<'a>) -> Result<Rendered, serde_json::Error>,
) -> Result<(Rendered, &'static str), FitError> {
    content.truncated = true;
    content.data = None;
    let fits = |content: &Content<'a>| {
        let rendered = render(content)?;
        Ok::<_, FitError>((rendered.payload_bytes <= limit_bytes).then_some(rendered))
    };
    if let Some(rendered) = fits(&content)? {
        return Ok((rendered, "data"));
    }
    let cuts = [
        ("body", |content: &mut Content<'a>, text| content.body = text, &*event.body),
        ("title", |content: &mut Content<'a>, text| content.title = text, &*event.title),
    ] as [(_, fn(&mut Content<'a>, Cow<'a, str>), &'a str); 2];
    for (part, put, text) in cuts {
        put(&mut content, Cow::Borrowed(""));
        if let Some(shortest) = fits(&content)? {
            let longest = longest(text, shortest, |cut| {
                put(&mut content, Cow::Owned(cut));
                fits(&content)
            });
            return Ok((longest?, part));
        }
    }
    content.object = None;
    let rest = render(&content)?;
    let payload_bytes = rest.payload_bytes;
    if payload_bytes <= limit_bytes {
        Ok((rest, "object"))
    } else {
        Err(FitError::TooLarge { payload_bytes, limit_bytes })
    }
}

/// The rendering with the longest beginning of `text` that fits; `shortest` is that without any.
fn longest(
    text: &str,
    shortest: Rendered,
    mut fits: impl FnMut(String) -> Result<Option<Rendered>, FitError>,
) -> Result<Rendered, FitError> {
    let mut best = shortest;
    // `fitting` bytes fit, `too_many` do not: the whole text was tried before.
    let (mut fitting, mut too_many) = (0, text.len());
    while too_many - fitting > 1 {
        let middle = usize::midpoint(fitting, too_many);
        match fits(cut(text, middle))? {
            Some(rendered) => (fitting, best) = (middle, rendered),
            None => too_many = middle,
        }
    }
    Ok(best)
}

/// At most the first `bytes` of `text`, and an ellipsis.
fn cut(text: &str, bytes: usize) -> String {
    let mut cut = text[..text.floor_char_boundary(bytes)].trim_end().to_owned();
    if !cut.is_empty() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_core::{clock::Timestamp, event::IncomingEvent};

    use super::*;

    fn event(title: &str, body: &str, data: &str, url: &str) -> std::sync::Arc<Event> {
        let json = serde_json::json!({
            "id": "e", "source": "s", "type": "t", "audience": {"users": ["ann"]},
            "title": title, "body": body, "data": data,
            "object": {"type": "post", "id": "p", "url": url},
        });
        let now = Timestamp::from_millis(0);
        IncomingEvent::from_json(json.to_string().as_bytes(), now).unwrap().event
    }

    fn render(content: &Content<'_>) -> Result<Rendered, serde_json::Error> {
        let message = serde_json::to_vec(&serde_json::json!({
            "title": content.title, "body": content.body, "data": content.data,
            "object": content.object, "truncated": content.truncated,
        }))?;
        let payload_bytes = message.len();
        Ok(Rendered::new(message, payload_bytes))
    }

    fn upto(event: &Event, limit_bytes: usize) -> Option<&'static str> {
        fit(event, limit_bytes, render).unwrap().cut.map(|cut| cut.upto)
    }

    fn fitted(event: &Event, limit_bytes: usize) -> serde_json::Value {
        let rendered = fit(event, limit_bytes, render).unwrap();
        assert!(rendered.payload_bytes <= limit_bytes);
        serde_json::from_slice(&rendered.message).unwrap()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let out = fitted(&event("title", "body", "data", "url"), 4_096);
        assert_eq!((&out["body"], &out["data"]), (&"body".into(), &"data".into()));
        assert_eq!(out["truncated"], false);
    }

    #[test]
    fn data_goes_first_then_the_end_of_the_body_then_of_the_title_then_the_object() {
        let long = "word ".repeat(40);
        let text = long.trim_end();
        let event = event(text, text, text, "url");
        let out = fitted(&event, 520);
        assert_eq!((&out["title"], &out["body"]), (&text.into(), &text.into()));
        assert_eq!((&out["data"], &out["truncated"]), (&serde_json::Value::Null, &true.into()));
        let out = fitted(&event, 400);
        assert_eq!(out["title"], text);
        assert!(out["body"].as_str().unwrap().starts_with("word word "), "{out}");
        assert!(out["body"].as_str().unwrap().ends_with('…'), "{out}");
        let out = fitted(&event, 200);
        assert_eq!(out["body"], "");
        assert!(out["title"].as_str().unwrap().ends_with('…'), "{out}");
        assert_eq!(out["object"]["id"], "p");
        let out = fitted(&event, 75);
        assert_eq!((&out["title"], &out["object"]), (&"".into(), &serde_json::Value::Null));
        let parts = [4_096, 520, 400, 200, 75].map(|limit_bytes| upto(&event, limit_bytes));
        assert_eq!(parts, [None, Some("data"), Some("body"), Some("title"), Some("object")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_told_once_an_hour_for_each_type_and_part() {
        let cuts = Cuts::new(Platform::Apns);
        assert!(cuts.is_new("like", "data") && cuts.is_new("like", "body"));
        assert!(cuts.is_new("call", "data") && !cuts.is_new("like", "data"));
        tokio::time::advance(PAUSE).await;
        assert!(cuts.is_new("like", "data") && !cuts.is_new("like", "data"));
        for number in 0..1_000 {
            assert!(cuts.is_new(&number.to_string(), "data"));
        }
        assert_eq!(cuts.recent.lock().unwrap().len(), RECENT_CUTS);
    }

    #[test]
    fn what_cannot_be_cut_to_fit_is_an_error() {
        let error = fit(&event("t", "b", "d", "u"), 10, render).unwrap_err();
        assert!(matches!(error, FitError::TooLarge { limit_bytes: 10, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn a_cut_body_is_as_long_as_the_limit_allows(
            body in "[a-z\"\\\\é漢😀\n]{1,600}", limit_bytes in 120usize..800,
        ) {
            let event = event("title", &body, "", "url");
            let rendered = fit(&event, limit_bytes, render).unwrap();
            prop_assert!(rendered.payload_bytes <= limit_bytes);
            let out: serde_json::Value = serde_json::from_slice(&rendered.message).unwrap();
            let kept = out["body"].as_str().unwrap();
            let kept = kept.strip_suffix('…').unwrap_or(kept);
            prop_assert!(body.starts_with(kept));
            if kept.len() < body.trim_end().len() && out["data"].is_null() {
                // A character takes 12 bytes at most as JSON, and the ellipsis 3; white space before
                // the cut is dropped as well.
                let spaces = body[kept.len()..].chars().take_while(|c| c.is_whitespace()).count();
                prop_assert!(limit_bytes - rendered.payload_bytes <= 15 + 2 * spaces);
            }
        }
    }
}
