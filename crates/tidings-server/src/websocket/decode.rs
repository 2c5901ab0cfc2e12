//! Reads frames (RFC 6455, section 5) out of bytes that come in pieces of any size.

use super::{
    close::{self, Close, Violation},
    utf8,
};

/// The longest head of a frame that is masked.
const MAX_HEAD_BYTES: usize = 14;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// What a peer said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A text, whole.
    Text(String),
    /// Binary data, whole. It has no use here, so that it is not kept.
    Binary,
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The peer closes.
    Close(Close),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame whose head was read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_last: bool,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    /// Bytes of the payload that are still to come.
    left: usize,
}

/// A message of which some frames may be still to come.
#[derive(Debug, Clone, Copy)]
enum Message {
    /// Text, which is whole UTF-8 up to this byte.
    Text { valid: usize },
    /// Binary, of so many bytes.
    Binary { bytes: usize },
}

/// Reads the frames of one connection. At rest, between messages, it is as good as a new one.
#[derive(Debug)]
pub(super) struct Decoder {
    max_message_bytes: usize,
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    text: Vec<u8>,
    control: Vec<u8>,
}

impl Decoder {
    /// A decoder of messages of at most so many bytes.
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            head: [0; MAX_HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            message: None,
            text: Vec::new(),
            control: Vec::new(),
        }
    }

    /// Whether nothing is begun.
    pub(super) fn is_at_rest(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Takes from `input` up to the end of what the peer says next, or all if that has not ended.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Heard>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.take_head(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let frame = self.take_payload(frame, input)?;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            self.frame = None;
            if let Some(heard) = self.end_frame(frame)? {
                return Ok(Some(heard));
            }
        }
    }

    /// Takes a head byte by byte, so that what is wrong is known by the byte that is.
    fn take_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.head[self.head_bytes] = *byte;
            self.head_bytes += 1;
            match self.head_bytes {
                1 => self.check_first().map(|_| ())?,
                2 => self.check_second()?,
                _ => {}
            }
            if self.head_bytes >= 2 && self.head_bytes == head_bytes(self.head[1]) {
                return self.begin_frame().map(Some);
            }
        }
        Ok(None)
    }

    fn check_first(&self) -> Result<Opcode, Violation> {
        let first = self.head[0];
        if first & 0x70 != 0 {
            return Err(Violation::Protocol("a reserved bit is set, and there are no extensions"));
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation::Protocol("the opcode is reserved")),
        };
        match (opcode, self.message) {
            (Opcode::Continuation, None) => {
                Err(Violation::Protocol("there is nothing to be continued"))
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(Violation::Protocol("the message before has not ended"))
            }
            _ if opcode.is_control() && first & 0x80 == 0 => {
                Err(Violation::Protocol("a control frame is not fragmented"))
            }
            _ => Ok(opcode),
        }
    }

    fn check_second(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("a client masks its frames"));
        }
        if first & 0x08 != 0 && second & 0x7f > 125 {
            return Err(Violation::Protocol("a control frame has at most 125 bytes"));
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<Frame, Violation> {
        let opcode = self.check_first()?;
        let head = &self.head[..self.head_bytes];
        let (length, mask) = head[2..].split_at(head.len() - 6);
        let length = match length {
            [] => u64::from(head[1] & 0x7f),
            bytes => bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let shortest = match head.len() {
            6 => 0,
            8 => 126,
            _ => 1 << 16,
        };
        if length < shortest || length >> 63 != 0 {
            return Err(Violation::Protocol("the length is not in its shortest form"));
        }
        let before = match self.message {
            _ if opcode.is_control() => 0,
            Some(Message::Text { .. }) => self.text.len(),
            Some(Message::Binary { bytes }) => bytes,
            None => 0,
        };
        // Nothing is reserved for what a peer only announces.
        let left = usize::try_from(length).map_err(|_| Violation::TooLong)?;
        if !opcode.is_control() && before.saturating_add(left) > self.max_message_bytes {
            return Err(Violation::TooLong);
        }
        debug_assert!(!opcode.is_control() || length <= MAX_CONTROL_BYTES, "see check_second");
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        let is_last = head[0] & 0x80 != 0;
        self.head_bytes = 0;
        match opcode {
            Opcode::Text => self.message = Some(Message::Text { valid: 0 }),
            Opcode::Binary => self.message = Some(Message::Binary { bytes: 0 }),
            _ => {}
        }
        Ok(Frame { opcode, is_last, mask, left })
    }

    fn take_payload(&mut self, mut frame: Frame, input: &mut &[u8]) -> Result<Frame, Violation> {
        let (payload, rest) = input.split_at(frame.left.min(input.len()));
        *input = rest;
        frame.left -= payload.len();
        match &mut self.message {
            _ if frame.opcode.is_control() => unmask(payload, frame.mask, &mut self.control),
            Some(Message::Binary { bytes }) => *bytes += payload.len(),
            Some(Message::Text { valid }) => {
                unmask(payload, frame.mask, &mut self.text);
                // A text that is whole is checked when it becomes a `String`.
                if frame.left > 0 || !frame.is_last {
                    *valid = utf8::check(&self.text, *valid)?;
                }
            }
            None => {}
        }
        frame.mask.rotate_left(payload.len() % 4);
        Ok(frame)
    }

    fn end_frame(&mut self, frame: Frame) -> Result<Option<Heard>, Violation> {
        if frame.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return match frame.opcode {
                Opcode::Close => Ok(Some(Heard::Close(close::read(&payload)?))),
                Opcode::Ping => Ok(Some(Heard::Ping(payload))),
                _ => Ok(Some(Heard::Pong)),
            };
        }
        if !frame.is_last {
            return Ok(None);
        }
        match self.message.take() {
            Some(Message::Text { .. }) => {
                let text = String::from_utf8(std::mem::take(&mut self.text));
                text.map(|text| Some(Heard::Text(text))).map_err(|_| Violation::NotUtf8)
            }
            Some(Message::Binary { .. }) => Ok(Some(Heard::Binary)),
            None => Ok(None),
        }
    }
}

/// How long the head is whose second byte this is, mask included.
fn head_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 8,
        127 => MAX_HEAD_BYTES,
        _ => 6,
    }
}

fn unmask(payload: &[u8], mask: [u8; 4], to: &mut Vec<u8>) {
    to.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_MESSAGE_BYTES: usize = 65_536;
    const MASK: [u8; 4] = [0x9d, 0x01, 0xfe, 0x44];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ ..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend(MASK);
        unmask(payload, MASK, &mut bytes);
        bytes
    }

    /// What is heard of `bytes` that come in pieces of these sizes, again and again.
    fn hear(bytes: &[u8], sizes: &[usize]) -> (Vec<Heard>, Option<Violation>, Decoder) {
        let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
        let mut heard = Vec::new();
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            let (mut piece, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            loop {
                match decoder.next(&mut piece) {
                    Ok(Some(it)) => heard.push(it),
                    Ok(None) => break,
                    Err(violation) => return (heard, Some(violation), decoder),
                }
            }
            assert!(piece.is_empty(), "what has not ended is taken whole");
            if rest.is_empty() {
                break;
            }
        }
        (heard, None, decoder)
    }

    #[test]
    fn a_decoder_between_messages_is_at_rest_and_owns_nothing() {
        let bytes = [frame(0x01, b"a"), frame(0x89, b"b"), frame(0x80, b"c")].concat();
        let (heard, violation, decoder) = hear(&bytes, &[1]);
        assert_eq!(heard, [Heard::Ping(b"b".to_vec()), Heard::Text("ac".to_owned())]);
        assert!(violation.is_none() && decoder.is_at_rest());
        assert_eq!((decoder.text.capacity(), decoder.control.capacity()), (0, 0));
    }

    #[test]
    fn a_length_that_is_only_announced_takes_no_memory() {
        let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
        let mut head = &frame(0x81, &[b' '; 60_000])[..8];
        assert_eq!(decoder.next(&mut head), Ok(None));
        assert_eq!(decoder.text.capacity(), 0);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_payload() {
        for length in [65_537_u64, 1 << 32, u64::MAX >> 1] {
            let head = [&[0x81, 0xff][..], &length.to_be_bytes(), &MASK].concat();
            assert_eq!(hear(&head, &[14]).1, Some(Violation::TooLong), "{length}");
        }
    }

    proptest! {
        /// However a stream is cut, the same is heard, and the same is found wrong.
        #[test]
        fn pieces_make_no_difference(
            frames in prop::collection::vec(
                (prop::sample::select(vec![0x01, 0x00, 0x80, 0x81, 0x82, 0x89, 0x8a, 0x88, 0x02, 0x83]),
                 prop::collection::vec(any::<u8>(), 0..300)),
                1..12,
            ),
            sizes in prop::collection::vec(1_usize..400, 1..6),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
            let (whole, whole_end, _) = hear(&bytes, &[bytes.len()]);
            let (pieces, pieces_end, _) = hear(&bytes, &sizes);
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(whole_end, pieces_end);
        }

        /// Any bytes at all: an answer, no panic.
        #[test]
        fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let (_, _, decoder) = hear(&bytes, &[7]);
            prop_assert!(decoder.text.len() <= MAX_MESSAGE_BYTES);
        }

        /// A text in any fragments is the text.
        #[test]
        fn fragments_are_put_together(text in "\\PC{0,200}", sizes in prop::collection::vec(0_usize..20, 1..5)) {
            let mut rest = text.as_bytes();
            let mut bytes = Vec::new();
            let mut first = 0x01;
            for size in sizes {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                bytes.extend(frame(first, piece));
                (rest, first) = (after, 0x00);
            }
            bytes.extend(frame(0x80, rest));
            let (heard, violation, _) = hear(&bytes, &[3]);
            prop_assert_eq!(violation, None);
            prop_assert_eq!(heard, vec![Heard::Text(text)]);
        }
    }
}
