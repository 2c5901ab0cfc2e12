//! Edge lists as SNAP publishes them: one `src dst` per line, `#` begins a comment line.

use std::io::{self, BufRead, Read};

/// The longest line, in bytes without its end: two ids of 128 bytes with ample space, or a comment.
pub const MAX_LINE_BYTES: usize = 4096;

/// Why a text is not an edge list. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeListError {
    /// The text cannot be read.
    #[error("line {line} cannot be read")]
    Read {
        /// The line.
        line: u64,
        /// The cause.
        source: io::Error,
    },
    /// The line is not UTF-8.
    #[error("line {line} is not UTF-8")]
    NotText {
        /// The line.
        line: u64,
        /// The cause.
        source: std::str::Utf8Error,
    },
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("line {line} has more than {MAX_LINE_BYTES} bytes")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The line does not hold two words.
    #[error("line {line} has {words} words where an edge has two")]
    NotAnEdge {
        /// The line.
        line: u64,
        /// Words it has.
        words: usize,
    },
}

/// Reads an edge list, line by line; see [`EdgeList`].
pub fn read<R: BufRead>(reader: R) -> EdgeList<R> {
    EdgeList { reader, line: 0, bytes: Vec::new(), failed: false }
}

/// The edges of an edge list, `(src, dst)`, in their order; nothing follows an error.
///
/// Words are divided by ASCII white space. Empty lines and lines whose first word begins with `#`
/// are left out. Holds one line at a time, so a text of any length may be read.
#[derive(Debug)]
pub struct EdgeList<R> {
    reader: R,
    line: u64,
    bytes: Vec<u8>,
    failed: bool,
}

impl<R: BufRead> EdgeList<R> {
    /// Brings the next line into `bytes`; false at the end of the text.
    fn next_line(&mut self) -> Result<bool, EdgeListError> {
        self.line += 1;
        let line = self.line;
        self.bytes.clear();
        // Two more than the limit: a line end may be `\r\n`.
        let mut bounded = (&mut self.reader).take(MAX_LINE_BYTES as u64 + 2);
        bounded
            .read_until(b'\n', &mut self.bytes)
            .map_err(|source| EdgeListError::Read { line, source })?;
        let is_end = self.bytes.is_empty();
        while self.bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            self.bytes.pop();
        }
        if self.bytes.len() > MAX_LINE_BYTES {
            return Err(EdgeListError::TooLong { line });
        }
        Ok(!is_end)
    }

    fn next_edge(&mut self) -> Result<Option<(String, String)>, EdgeListError> {
        while self.next_line()? {
            let line = self.line;
            let text = std::str::from_utf8(&self.bytes)
                .map_err(|source| EdgeListError::NotText { line, source })?;
            let mut words = text.split_ascii_whitespace();
            let Some(src) = words.next() else { continue };
            if src.starts_with('#') {
                continue;
            }
            let (Some(dst), None) = (words.next(), words.next()) else {
                let words = text.split_ascii_whitespace().count();
                return Err(EdgeListError::NotAnEdge { line, words });
            };
            return Ok(Some((src.to_owned(), dst.to_owned())));
        }
        Ok(None)
    }
}

impl<R: BufRead> Iterator for EdgeList<R> {
    type Item = Result<(String, String), EdgeListError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let edge = self.next_edge().transpose();
        self.failed = matches!(edge, None | Some(Err(_)));
        edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &[u8]) -> Result<Vec<(String, String)>, EdgeListError> {
        read(text).collect()
    }

    fn pair(src: &str, dst: &str) -> (String, String) {
        (src.to_owned(), dst.to_owned())
    }

    #[test]
    fn comments_blank_lines_tabs_and_line_ends_are_understood() {
        let text = b"# Nodes: 3\n\n1\t2\r\n  2   3  \n \t \n\t# more\n\xc3\xa9 1";
        let expected = [pair("1", "2"), pair("2", "3"), pair("é", "1")];
        assert_eq!(edges(text).unwrap(), expected);
        assert_eq!(edges(b"").unwrap(), []);
    }

    #[test]
    fn an_error_names_its_line_and_ends_the_list() {
        let mut list = read(&b"# head\n1 2\n3\n4 5\n"[..]);
        assert_eq!(list.next().unwrap().unwrap(), pair("1", "2"));
        let error = list.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "line 3 has 1 words where an edge has two");
        assert!(list.next().is_none());
        let error = edges(b"1 2 3").unwrap_err();
        assert!(matches!(error, EdgeListError::NotAnEdge { line: 1, words: 3 }));
        assert!(matches!(edges(b"1 2\n\xff 3"), Err(EdgeListError::NotText { line: 2, .. })));
    }

    #[test]
    fn a_line_is_held_to_its_limit_with_any_line_end() {
        for end in ["\n", "\r\n", ""] {
            let fits = format!("1{}2{end}", " ".repeat(MAX_LINE_BYTES - 2));
            assert_eq!(edges(fits.as_bytes()).unwrap(), [pair("1", "2")]);
            let longer = format!("1{}2{end}", " ".repeat(MAX_LINE_BYTES - 1));
            let error = edges(longer.as_bytes()).unwrap_err();
            assert!(matches!(error, EdgeListError::TooLong { line: 1 }), "{error}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_without_being_read() {
        const LINE_BYTES: u64 = 10 << 20;
        let mut list = read(io::BufReader::new(io::repeat(b'7').take(LINE_BYTES)));
        let error = list.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "line 1 has more than 4096 bytes");
        assert!(list.next().is_none());
        assert!(list.bytes.capacity() <= 2 * MAX_LINE_BYTES, "{}", list.bytes.capacity());
        let unread = list.reader.get_ref().limit();
        assert!(unread >= LINE_BYTES - (64 << 10), "{unread} bytes are not read");
    }

    #[test]
    fn a_reader_that_fails_is_reported_with_its_line() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("unplugged"))
            }
        }
        let text = io::BufReader::new((&b"1 2\n"[..]).chain(Broken));
        let last = read(text).last().unwrap();
        assert!(matches!(last, Err(EdgeListError::Read { line: 2, .. })));
    }
}
