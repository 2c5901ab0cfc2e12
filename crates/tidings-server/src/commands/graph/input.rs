//! The edges of a file, in batches with their lines.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use tidings_core::follow::EdgeKind;

use crate::{
    cli::TextFormat,
    edge_lines::{EdgeLine, EdgeLines, LineFormat, MAX_LINE_BYTES, write_json},
};

const BUFFER_BYTES: usize = 256 * 1024;
/// A request's body is held to this, whatever the number of its edges: the least limit that a node may
/// sensibly have.
const BATCH_BYTES: usize = 4 << 20;

/// Edges that are sent together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// As NDJSON.
    pub(super) lines: Vec<u8>,
    pub(super) edges: u64,
    /// The line of the text with which the next batch begins, from 1.
    pub(super) next_line: u64,
}

/// What is wrong with a text, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line} {problem}")]
pub(in crate::commands) struct BadLine {
    pub(super) line: u64,
    problem: String,
}

/// Which edges are read, and how.
pub(in crate::commands) struct Wanted {
    pub(in crate::commands) format: TextFormat,
    /// How a list is read.
    pub(in crate::commands) list: LineFormat,
    pub(in crate::commands) undirected: bool,
    pub(in crate::commands) from_line: u64,
    pub(in crate::commands) batch_edges: u64,
}

/// A text of edges that is being read.
pub(in crate::commands) struct Input {
    text: Box<dyn BufRead + Send>,
    wanted: Wanted,
    lines: Option<EdgeLines>,
    line: u64,
    bytes: Vec<u8>,
    /// The fault that ends the text, once what comes before it was given.
    fault: Option<BadLine>,
    ended: bool,
}

impl Input {
    /// Opens a file, or standard input for `-`, and unpacks what is packed. `read` counts bytes of the
    /// file; the second part is how many there are, if that is known.
    pub(in crate::commands) fn open(
        path: &Path,
        wanted: Wanted,
        read: Arc<AtomicU64>,
    ) -> anyhow::Result<(Self, Option<u64>)> {
        if path == Path::new("-") {
            let stdin = Counted { inner: io::stdin(), read };
            return Ok((Self::new(unpack(stdin)?, wanted), None));
        }
        let unreadable = || format!("{} cannot be read", path.display());
        let file = File::open(path).with_context(unreadable)?;
        let meta = file.metadata().with_context(unreadable)?;
        let text = unpack(Counted { inner: file, read }).with_context(unreadable)?;
        Ok((Self::new(text, wanted), Some(meta.len()).filter(|_| meta.is_file())))
    }

    fn new(text: Box<dyn BufRead + Send>, wanted: Wanted) -> Self {
        Self { text, wanted, lines: None, line: 0, bytes: Vec::new(), fault: None, ended: false }
    }

    /// The next batch; `None` at the end. What comes before a fault is given before the fault.
    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, BadLine> {
        if let Some(fault) = self.fault.take() {
            self.ended = true;
            return Err(fault);
        }
        let mut batch = Batch::default();
        while !self.ended
            && batch.edges < self.wanted.batch_edges
            && batch.lines.len() < BATCH_BYTES
        {
            match self.next_edge() {
                Ok(Some(edge)) => self.add(&edge, &mut batch),
                Ok(None) => self.ended = true,
                Err(fault) if batch.edges == 0 => {
                    self.ended = true;
                    return Err(fault);
                }
                Err(fault) => {
                    batch.next_line = fault.line;
                    self.fault = Some(fault);
                    return Ok(Some(batch));
                }
            }
        }
        batch.next_line = self.line + 1;
        Ok(Some(batch).filter(|batch| batch.edges > 0))
    }

    fn add(&self, edge: &EdgeLine, batch: &mut Batch) {
        write_json(edge, &mut batch.lines);
        batch.edges += 1;
        if self.wanted.undirected && edge.kind == EdgeKind::Follow {
            let EdgeLine { kind, source, target, at } = edge;
            let back =
                EdgeLine { kind: *kind, source: target.clone(), target: source.clone(), at: *at };
            write_json(&back, &mut batch.lines);
            batch.edges += 1;
        }
    }

    /// The next edge; `None` at the end.
    pub(in crate::commands) fn next_edge(&mut self) -> Result<Option<EdgeLine>, BadLine> {
        while self.next_line()? {
            if self.bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let lines = self
                .lines
                .get_or_insert_with(|| EdgeLines::new(format_of(&self.wanted, &self.bytes)));
            // The names of the columns are wanted even when the edges below are not.
            let is_wanted = self.line >= self.wanted.from_line;
            if !is_wanted && lines.knows_columns() {
                continue;
            }
            let edge = lines.read(&self.bytes);
            let edge = edge.map_err(|error| bad(self.line, error.to_string()))?;
            if let Some(edge) = edge.filter(|_| is_wanted) {
                return Ok(Some(edge));
            }
        }
        Ok(None)
    }

    /// Brings the next line into `bytes`, without its end; false at the end of the text.
    fn next_line(&mut self) -> Result<bool, BadLine> {
        self.bytes.clear();
        // Two more than the limit: a line end may be `\r\n`.
        let mut bounded = (&mut self.text).take(MAX_LINE_BYTES as u64 + 2);
        let read = bounded.read_until(b'\n', &mut self.bytes);
        read.map_err(|error| bad(self.line + 1, format!("cannot be read: {error}")))?;
        if self.bytes.is_empty() {
            return Ok(false);
        }
        self.line += 1;
        while self.bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            self.bytes.pop();
        }
        if self.bytes.len() > MAX_LINE_BYTES {
            return Err(bad(self.line, format!("has more than {MAX_LINE_BYTES} bytes")));
        }
        Ok(true)
    }
}

fn bad(line: u64, problem: String) -> BadLine {
    BadLine { line, problem }
}

fn format_of(wanted: &Wanted, first: &[u8]) -> LineFormat {
    match wanted.format {
        TextFormat::Ndjson => LineFormat::Json,
        TextFormat::Csv => LineFormat::Csv,
        TextFormat::List => wanted.list,
        TextFormat::Auto if first.trim_ascii_start().starts_with(b"{") => LineFormat::Json,
        TextFormat::Auto
            if first.contains(&b',') && !first.trim_ascii_start().starts_with(b"#") =>
        {
            LineFormat::Csv
        }
        TextFormat::Auto => wanted.list,
    }
}

/// Unpacks what begins as gzip or zstd does.
fn unpack(raw: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    let head = raw.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw))))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
        // Whoever packed it with a long window wants it read.
        decoder.window_log_max(31)?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
    } else {
        Ok(Box::new(raw))
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn wanted(from_line: u64, batch_edges: u64) -> Wanted {
        Wanted {
            format: TextFormat::Auto,
            list: LineFormat::List,
            undirected: false,
            from_line,
            batch_edges,
        }
    }

    /// All batches as (text, next line), and the fault at the end.
    fn read(text: &[u8], wanted: Wanted) -> (Vec<(String, u64)>, Option<String>) {
        let mut input = Input::new(unpack(io::Cursor::new(text.to_vec())).unwrap(), wanted);
        let mut batches = Vec::new();
        loop {
            match input.next_batch() {
                Ok(Some(batch)) => {
                    let lines = String::from_utf8(batch.lines).unwrap();
                    batches.push((lines, batch.next_line));
                }
                Ok(None) => return (batches, None),
                Err(error) => {
                    assert!(matches!(input.next_batch(), Ok(None)), "nothing follows a fault");
                    return (batches, Some(error.to_string()));
                }
            }
        }
    }

    fn line(follower: &str, followee: &str) -> String {
        format!("{{\"follower\":\"{follower}\",\"followee\":\"{followee}\"}}\n")
    }

    #[test]
    fn each_format_is_told_by_its_first_line_and_packed_or_not() {
        let texts: [&[u8]; 4] = [
            b"# SNAP\n1\t2\n3 4\n",
            b"follower,followee\r\n1,2\r\n3,4",
            b"\n{\"follower\":\"1\",\"followee\":\"2\"}\n{\"follower\":\"3\",\"followee\":\"4\"}",
            b"# a, comment\n1 2\n3 4\n",
        ];
        for text in texts {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text).unwrap();
            for packed in
                [text.to_vec(), gzip.finish().unwrap(), zstd::bulk::compress(text, 1).unwrap()]
            {
                let (batches, fault) = read(&packed, wanted(1, 10));
                assert_eq!(batches, [(line("1", "2") + &line("3", "4"), 4)]);
                assert_eq!(fault, None);
            }
        }
    }

    #[test]
    fn a_fault_comes_after_what_is_before_it_and_names_its_line() {
        let (batches, fault) = read(b"a b\nc d\ne\nf g\n", wanted(1, 10));
        assert_eq!(batches, [(line("a", "b") + &line("c", "d"), 3)]);
        assert_eq!(fault.unwrap(), "line 3 has 1 words where an edge has two");
        let (batches, fault) = read(b"a b\nc d\ne\n", wanted(1, 1));
        assert_eq!(batches, [(line("a", "b"), 2), (line("c", "d"), 3)]);
        assert!(fault.is_some());
        let long = [b"a b\n".to_vec(), vec![b'x'; MAX_LINE_BYTES + 1]].concat();
        let (_, fault) = read(&long, wanted(1, 10));
        assert_eq!(fault.unwrap(), "line 2 has more than 2048 bytes");
    }

    #[test]
    fn reading_goes_on_at_a_line() {
        let csv = b"follower,followee\na,b\nc,d\ne,f\n";
        let (batches, _) = read(csv, wanted(3, 10));
        assert_eq!(batches, [(line("c", "d") + &line("e", "f"), 5)]);
        // A line that is not wanted is not judged.
        let (batches, fault) = read(b"1 2 3\n4 5\n", wanted(2, 10));
        assert_eq!((batches, fault), (vec![(line("4", "5"), 3)], None));
        assert_eq!(read(b"1 2\n", wanted(9, 10)), (vec![], None));
    }

    #[test]
    fn an_undirected_edge_is_two_follows() {
        let (batches, _) = read(b"a b\n", Wanted { undirected: true, ..wanted(1, 1) });
        assert_eq!(batches, [(line("a", "b") + &line("b", "a"), 2)]);
    }
}
