//! Lines of a byte stream that arrives in pieces (NDJSON).

/// Splits a stream into lines without keeping more than one line and one piece.
///
/// Lines end with `\n`; a `\r` before it is dropped, and so are blank lines. Lines are numbered from
/// 0 as they stand in the stream, blank ones included.
#[derive(Debug)]
pub struct LineSplitter {
    max_line_bytes: usize,
    partial: Vec<u8>,
    overlong: bool,
    next_number: usize,
}

/// A line of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the stream, from 0.
    pub number: usize,
    /// Its bytes; [`Err`] with the limit when it was longer than that, and dropped.
    pub bytes: Result<Vec<u8>, usize>,
}

impl LineSplitter {
    /// A splitter that drops lines of more than `max_line_bytes`.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        Self { max_line_bytes, partial: Vec::new(), overlong: false, next_number: 0 }
    }

    /// Takes the next piece of the stream and appends the lines that it completes to `lines`.
    pub fn push(&mut self, mut piece: &[u8], lines: &mut Vec<Line>) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.extend(&piece[..end]);
            self.complete(lines);
            piece = &piece[end + 1..];
        }
        self.extend(piece);
    }

    /// Takes the end of the stream: a last line needs no `\n`.
    pub fn finish(mut self, lines: &mut Vec<Line>) {
        if self.overlong || !self.partial.is_empty() {
            self.complete(lines);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.overlong || self.partial.len() + bytes.len() > self.max_line_bytes {
            self.overlong = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn complete(&mut self, lines: &mut Vec<Line>) {
        let number = self.next_number;
        self.next_number += 1;
        let mut bytes = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.overlong) {
            lines.push(Line { number, bytes: Err(self.max_line_bytes) });
            return;
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            lines.push(Line { number, bytes: Ok(bytes) });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]], limit: usize) -> Vec<Line> {
        let mut splitter = LineSplitter::new(limit);
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, &mut lines);
        }
        splitter.finish(&mut lines);
        lines
    }

    #[test]
    fn an_overlong_line_is_reported_and_the_next_one_is_read() {
        let lines = split(&[b"toolong", b"er\nok\n", b"\n x"], 8);
        let expected = [
            Line { number: 0, bytes: Err(8) },
            Line { number: 1, bytes: Ok(b"ok".to_vec()) },
            Line { number: 3, bytes: Ok(b" x".to_vec()) },
        ];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            text in "[ab\r\n]{0,80}", cuts in proptest::collection::vec(0usize..80, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&pieces, 10), split(&[bytes], 10));
        }
    }
}
