//! Records on their way from the client to a partition's worker, many in one piece of memory.

use std::{ops::Range, sync::Arc};

use super::account::Account;

/// A chunk takes no more records from here on.
const CHUNK_BYTES: usize = 256 << 10;

/// What a record costs besides its bytes.
const RECORD_BYTES: usize = size_of::<Span>();
/// What a header costs besides its bytes.
const HEADER_BYTES: usize = size_of::<HeaderSpan>();

/// Records of one partition, in their order. Their bytes are copied once, one after the other, out of
/// the client's memory: no allocation per record.
#[derive(Debug)]
pub(super) struct Chunk {
    data: Vec<u8>,
    records: Vec<Span>,
    headers: Vec<HeaderSpan>,
    /// Gives the bytes back when the last user of the chunk has gone.
    charged: usize,
    account: Arc<Account>,
}

#[derive(Debug)]
struct Span {
    offset: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    headers_are_readable: bool,
}

#[derive(Debug)]
struct HeaderSpan {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl Chunk {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { data: Vec::new(), records: Vec::new(), headers: Vec::new(), charged: 0, account }
    }

    /// Whether the next record belongs into another chunk.
    pub(super) fn is_full(&self) -> bool {
        self.charged >= CHUNK_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record without its headers.
    pub(super) fn push(&mut self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = key.map(|bytes| self.copy(bytes));
        let value = value.map(|bytes| self.copy(bytes));
        let none = self.headers.len();
        self.records.push(Span {
            offset,
            key,
            value,
            headers: none..none,
            headers_are_readable: true,
        });
        self.charge(RECORD_BYTES);
    }

    /// Adds a header to the record that was pushed last.
    pub(super) fn push_header(&mut self, name: &str, value: Option<&[u8]>) {
        let name = self.copy(name.as_bytes());
        let value = value.map(|bytes| self.copy(bytes));
        self.headers.push(HeaderSpan { name, value });
        if let Some(record) = self.records.last_mut() {
            record.headers.end = self.headers.len();
        }
        self.charge(HEADER_BYTES);
    }

    /// Notes that there were headers which the client could not read.
    pub(super) fn mark_headers_unreadable(&mut self) {
        if let Some(record) = self.records.last_mut() {
            record.headers_are_readable = false;
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        self.charge(bytes.len());
        start..self.data.len()
    }

    fn charge(&mut self, bytes: usize) {
        self.charged += bytes;
        self.account.charge(bytes);
    }

    /// The record at `index`, which is below [`Self::len`].
    pub(super) fn record(&self, index: usize) -> Record<'_> {
        Record { chunk: self, span: &self.records[index] }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.account.release(self.charged);
    }
}

/// A record in its chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    chunk: &'a Chunk,
    span: &'a Span,
}

impl<'a> Record<'a> {
    pub(super) fn offset(self) -> i64 {
        self.span.offset
    }

    pub(super) fn key(self) -> Option<&'a [u8]> {
        self.bytes(self.span.key.as_ref())
    }

    pub(super) fn value(self) -> Option<&'a [u8]> {
        self.bytes(self.span.value.as_ref())
    }

    pub(super) fn headers_are_readable(self) -> bool {
        self.span.headers_are_readable
    }

    /// The headers in their order; a name may occur many times.
    pub(super) fn headers(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        self.chunk.headers[self.span.headers.clone()].iter().map(move |header| {
            let name = str::from_utf8(&self.chunk.data[header.name.clone()]);
            (name.unwrap_or_default(), self.bytes(header.value.as_ref()))
        })
    }

    /// The value of the last header with this name; an empty one if it has none.
    pub(super) fn header(self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers().filter(|(it, _)| it.eq_ignore_ascii_case(name)).last();
        found.map(|(_, value)| value.unwrap_or_default())
    }

    fn bytes(self, range: Option<&Range<usize>>) -> Option<&'a [u8]> {
        range.map(|range| &self.chunk.data[range.clone()])
    }
}

/// Some records of a chunk, one after the other. Cloning it copies no record.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) chunk: Arc<Chunk>,
    pub(super) range: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_gives_back_what_was_pushed_and_its_bytes_when_it_goes() {
        let account = Account::for_tests();
        let mut chunk = Chunk::new(Arc::clone(&account));
        chunk.push(7, Some(b"k"), Some(b"v1"));
        chunk.push(9, None, None);
        chunk.push_header("a", Some(b"1"));
        chunk.push_header("A", None);
        assert_eq!(account.held(), 6 + 2 * RECORD_BYTES + 2 * HEADER_BYTES);
        let (first, second) = (chunk.record(0), chunk.record(1));
        assert_eq!(
            (first.offset(), first.key(), first.value()),
            (7, Some(&b"k"[..]), Some(&b"v1"[..]))
        );
        assert_eq!(first.headers().count(), 0);
        assert_eq!((second.offset(), second.key(), second.value()), (9, None, None));
        assert_eq!(second.headers().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("A", None)]);
        assert_eq!(second.header("a"), Some(&b""[..]));
        drop(chunk);
        assert_eq!(account.held(), 0);
    }
}
