//! Why connections end (RFC 6455, section 7.4).

/// How many bytes of reason a close frame has room for (section 5.5).
pub(super) const MAX_REASON_BYTES: usize = 123;

/// What a close frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// Nothing: it is empty.
    Empty,
    /// This code.
    Code(u16),
}

/// What a peer did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// A frame breaks the rules.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text is not UTF-8.
    #[error("text has to be UTF-8")]
    NotUtf8,
    /// A message is too long.
    #[error("the message is too long")]
    TooLong,
}

impl Violation {
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLong => 1009,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Protocol(reason) => reason,
            Self::NotUtf8 => "text has to be UTF-8",
            Self::TooLong => "the message is too long",
        }
    }
}

/// Whether a peer may send this code: those that are defined for frames (IANA's registry of close codes,
/// read 2026-11), and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a close frame.
pub(super) fn read(payload: &[u8]) -> Result<Close, Violation> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(Close::Empty),
            _ => Err(Violation::Protocol("a close has a code of two bytes, or nothing")),
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !may_be_sent(code) {
        return Err(Violation::Protocol("there is no such close code on the wire"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Close::Code(code)),
        Err(_) => Err(Violation::NotUtf8),
    }
}
