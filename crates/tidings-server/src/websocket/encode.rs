//! Writes frames (RFC 6455, section 5.2). A server's are not masked and not fragmented.

use super::close::{Close, MAX_REASON_BYTES};

/// The longest head of a frame that is not masked.
const MAX_HEAD_BYTES: usize = 10;

/// The head of a frame.
pub(super) struct Head {
    bytes: [u8; MAX_HEAD_BYTES],
    len: usize,
}

impl Head {
    /// The head of a text frame with `payload` bytes.
    pub(super) fn text(payload: usize) -> Self {
        Self::new(0x81, payload)
    }

    fn new(first: u8, payload: usize) -> Self {
        let mut bytes = [0; MAX_HEAD_BYTES];
        bytes[0] = first;
        let len = match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ ..=125), _) => {
                bytes[1] = short;
                2
            }
            (_, Ok(medium)) => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&medium.to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(payload as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Appends a pong that answers a ping with `payload`, which has 125 bytes at most.
pub(super) fn pong(payload: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(Head::new(0x8a, payload.len()).as_bytes());
    to.extend_from_slice(payload);
}

/// Appends a close, with as much of `reason` as there is room for.
pub(super) fn close(close: Close, reason: &str, to: &mut Vec<u8>) {
    let Close::Code(code) = close else {
        to.extend_from_slice(Head::new(0x88, 0).as_bytes());
        return;
    };
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    to.extend_from_slice(Head::new(0x88, 2 + end).as_bytes());
    to.extend_from_slice(&code.to_be_bytes());
    to.extend_from_slice(&reason.as_bytes()[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (payload, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(Head::text(payload).as_bytes(), head, "{payload}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut frame = Vec::new();
        close(Close::Code(4400), &"é".repeat(100), &mut frame);
        assert_eq!(frame[..4], [0x88, 2 + 122, 0x11, 0x30]);
        assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), "é".repeat(61));
    }
}
