//! WebSocket frames (RFC 6455) as a generator needs them: no copies of what comes, no extensions.

/// What an upgrade is asked for with, after its path. The key is always the same: the generator does
/// not check the answer to it, and the floor need not compute one.
pub(super) const UPGRADE: &str = "host: tidings.bench\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
/// The answer to that key (RFC 6455, section 1.3).
pub(in crate::realtime) const FIXED_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) opcode: u8,
    pub(super) payload: &'a [u8],
    /// Bytes of the whole frame.
    pub(super) size: usize,
}

/// What the generator does not read: fragments, masked or compressed frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotPlain;

/// The first frame of `data`; `None` while it is not complete.
pub(super) fn first_frame(data: &[u8]) -> Result<Option<Frame<'_>>, NotPlain> {
    let [first, second, ..] = *data else { return Ok(None) };
    if first & 0xf0 != FIN || second & MASKED != 0 {
        return Err(NotPlain);
    }
    let (begin, length): (usize, usize) = match second {
        126 => match *data {
            [_, _, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            _ => return Ok(None),
        },
        127 => match data.get(2..10).and_then(|it| <[u8; 8]>::try_from(it).ok()) {
            Some(length) => {
                (10, usize::try_from(u64::from_be_bytes(length)).map_err(|_| NotPlain)?)
            }
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let size = begin.checked_add(length).ok_or(NotPlain)?;
    let payload = data.get(begin..size);
    Ok(payload.map(|payload| Frame { opcode: first & 0x0f, payload, size }))
}

/// Appends a frame of a client to `out`.
pub(super) fn push_masked(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    push_head(opcode, payload.len(), MASKED, out);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A text frame of a server.
pub(in crate::realtime) fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 10);
    push_head(TEXT, text.len(), 0, &mut out);
    out.extend_from_slice(text);
    out
}

fn push_head(opcode: u8, length: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 126 => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_at_every_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let frame = text_frame(&text);
            let read = first_frame(&frame).unwrap().unwrap();
            assert_eq!((read.opcode, read.payload, read.size), (TEXT, &text[..], frame.len()));
            assert_eq!(first_frame(&frame[..frame.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn a_client_s_frame_is_masked() {
        let mut out = Vec::new();
        // RFC 6455, section 5.7: a single-frame masked text message.
        push_masked(TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn fragments_are_refused() {
        assert_eq!(first_frame(&[TEXT, 1, b'x']), Err(NotPlain));
    }
}
