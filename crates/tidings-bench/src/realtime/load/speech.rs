//! What the protocols say: as much as a generator has to know.

use serde::Deserialize;

use super::{Protocol, frames::UPGRADE};

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The session is open; this is the newest notification of the inbox.
    Welcome {
        head: u64,
    },
    Notification {
        seq: Option<u64>,
        event: Option<u64>,
    },
    /// Say [`Protocol::alive`].
    AreYouThere,
    /// Come back after this long.
    Bye {
        retry_ms: u64,
    },
    Nothing,
    /// The server will not go on.
    Refusal,
}

#[derive(Deserialize)]
struct TidingsFrame<'a> {
    r#type: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    retry_ms: u64,
}

#[derive(Deserialize)]
struct Reply {
    connect: Connected,
}

#[derive(Deserialize)]
struct Connected {
    #[serde(default)]
    subs: std::collections::BTreeMap<String, Subscribed>,
}

#[derive(Deserialize)]
struct Subscribed {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recoverable: bool,
}

impl Protocol {
    /// The whole request that asks for a WebSocket.
    pub(super) fn upgrade(self) -> String {
        let (path, more) = match self {
            Self::Tidings => ("/v1/stream", "sec-websocket-protocol: tidings.v1\r\n"),
            Self::Centrifugo => ("/connection/websocket", ""),
            Self::Bare => ("/", ""),
        };
        format!("GET {path} HTTP/1.1\r\n{UPGRADE}{more}\r\n")
    }

    /// What a client says after the upgrade; nothing where it is welcome at once.
    pub(super) fn hello(self, token: &str, last_seq: Option<u64>) -> Option<String> {
        match (self, last_seq) {
            (Self::Tidings, None) => Some(format!(r#"{{"type":"hello","token":"{token}"}}"#)),
            (Self::Tidings, Some(last)) => {
                Some(format!(r#"{{"type":"hello","token":"{token}","last_seq":{last}}}"#))
            }
            (Self::Centrifugo, _) => Some(format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#)),
            (Self::Bare, _) => None,
        }
    }

    /// What a client says to be heard of.
    pub(super) fn alive(self) -> &'static str {
        match self {
            Self::Tidings => r#"{"type":"pong"}"#,
            Self::Centrifugo | Self::Bare => "{}",
        }
    }

    /// What a client says when it has everything up to `seq`.
    pub(super) fn ack(self, seq: u64) -> Option<String> {
        match self {
            Self::Tidings => Some(format!(r#"{{"type":"ack","seq":{seq}}}"#)),
            Self::Centrifugo | Self::Bare => None,
        }
    }

    /// Understands one message.
    pub(super) fn hear(self, text: &[u8]) -> Heard {
        match self {
            Self::Tidings => hear_tidings(text),
            Self::Centrifugo => hear_centrifugo(text),
            Self::Bare => Heard::Notification { seq: None, event: event_number(text) },
        }
    }
}

fn hear_tidings(text: &[u8]) -> Heard {
    // Nearly all frames: not worth a parser.
    if let Some(rest) = text.strip_prefix(br#"{"type":"notification","seq":"#) {
        return Heard::Notification { seq: digits(rest), event: event_number(text) };
    }
    let Ok(frame) = serde_json::from_slice::<TidingsFrame<'_>>(text) else { return Heard::Refusal };
    match frame.r#type {
        "welcome" => Heard::Welcome { head: frame.seq },
        "ping" => Heard::AreYouThere,
        "bye" => Heard::Bye { retry_ms: frame.retry_ms },
        "error" => Heard::Refusal,
        _ => Heard::Nothing,
    }
}

fn hear_centrifugo(text: &[u8]) -> Heard {
    if text.starts_with(br#"{"push""#) {
        // The data is ours and holds no such word.
        let offset = find_last(text, br#""offset":"#).and_then(|at| digits(&text[at..]));
        return Heard::Notification { seq: offset, event: event_number(text) };
    }
    if text == b"{}" {
        return Heard::AreYouThere;
    }
    let Ok(reply) = serde_json::from_slice::<Reply>(text) else { return Heard::Refusal };
    // What cannot be resumed is not what is compared.
    match reply.connect.subs.values().next() {
        Some(channel) if channel.recoverable => Heard::Welcome { head: channel.offset },
        _ => Heard::Refusal,
    }
}

/// The number of the event that a notification tells of: `"evt` and twelve digits.
fn event_number(text: &[u8]) -> Option<u64> {
    const MARK: &[u8] = b"\"evt";
    let at = text.windows(MARK.len()).position(|it| it == MARK)?;
    digits(&text[at + MARK.len()..])
}

/// Where the last of these words ends.
fn find_last(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).rposition(|it| it == word).map(|at| at + word.len())
}

fn digits(text: &[u8]) -> Option<u64> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..count]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_server_frames_of_the_fixtures_are_understood() {
        let fixtures: Vec<Value> =
            serde_json::from_str(include_str!("../../../../../api/fixtures/server-frames.json"))
                .unwrap();
        for fixture in fixtures {
            let frame = &fixture["frame"];
            let seq = frame["seq"].as_u64();
            let expected = match frame["type"].as_str().unwrap() {
                "welcome" => Heard::Welcome { head: seq.unwrap() },
                // Written as the node writes it, which the splicing test of the delivery crate holds.
                "notification" => continue,
                "ping" => Heard::AreYouThere,
                "bye" => Heard::Bye { retry_ms: frame["retry_ms"].as_u64().unwrap() },
                "error" => Heard::Refusal,
                _ => Heard::Nothing,
            };
            assert_eq!(Protocol::Tidings.hear(frame.to_string().as_bytes()), expected);
        }
    }

    #[test]
    fn notifications_are_told_by_place_and_event() {
        let ours =
            br#"{"type":"notification","seq":42,"notification":{"event_id":"evt000000000007"}}"#;
        let theirs = br#"{"push":{"channel":"inbox:u","pub":{"data":{"id":"evt000000000007"},"offset":42}}}"#;
        let heard = Heard::Notification { seq: Some(42), event: Some(7) };
        assert_eq!(Protocol::Tidings.hear(ours), heard);
        assert_eq!(Protocol::Centrifugo.hear(theirs), heard);
    }

    #[test]
    fn a_peer_s_session_has_to_be_resumable() {
        let reply = |recoverable: &str| {
            let text = format!(
                r#"{{"id":1,"connect":{{"subs":{{"inbox:u":{{{recoverable}"offset":3}}}}}}}}"#
            );
            Protocol::Centrifugo.hear(text.as_bytes())
        };
        assert_eq!(reply(r#""recoverable":true,"#), Heard::Welcome { head: 3 });
        assert_eq!(reply(""), Heard::Refusal);
        let refused = br#"{"id":1,"error":{"code":101}}"#;
        assert_eq!(Protocol::Centrifugo.hear(refused), Heard::Refusal);
    }
}
