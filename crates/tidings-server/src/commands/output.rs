//! Where the lines of an export go.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::Context;
use flate2::{Compression, write::GzEncoder};

/// What is looked at of a file's end to find where its last whole line ends: more than a line has.
const TAIL_BYTES: u64 = 64 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// Whether an export begins, or goes on with what one before has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Anew,
    GoOn,
}

/// How lines are packed. Each part is packed whole: parts that follow each other are a packed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

/// Where the lines go.
pub(super) enum Output {
    Stdout,
    File { file: File, packing: Packing },
}

impl Output {
    /// A new file, which has lines as they are.
    pub(super) fn open(path: Option<&Path>, begin: Begin) -> anyhow::Result<Self> {
        Self::with_packing(path, begin, Packing::None)
    }

    /// A new file, packed as its name says.
    pub(super) fn open_packed(path: Option<&Path>, begin: Begin) -> anyhow::Result<Self> {
        let packing = match path.and_then(Path::extension).and_then(OsStr::to_str) {
            Some("gz") => Packing::Gzip,
            Some("zst") => Packing::Zstd,
            _ => Packing::None,
        };
        Self::with_packing(path, begin, packing)
    }

    /// A new file; or, for an export that goes on, the end of the one that is there.
    fn with_packing(path: Option<&Path>, begin: Begin, packing: Packing) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let mut options = File::options();
        match begin {
            // An export that took hours is not overwritten by a slip.
            Begin::Anew => options.write(true).create_new(true),
            Begin::GoOn => options.read(true).write(true).create(true),
        };
        let unusable = || format!("{} cannot be written to", path.display());
        let mut file = options.open(path).with_context(unusable)?;
        if begin == Begin::GoOn {
            let at_end = match packing {
                Packing::None => cut_torn_line(&mut file),
                Packing::Gzip | Packing::Zstd => file.seek(SeekFrom::End(0)).map(drop),
            };
            at_end.with_context(unusable)?;
        }
        Ok(Self::File { file, packing })
    }

    /// Writes a part through: it is in the file when more is asked for. When that fails nothing of it stays
    /// there, so that an export can go on behind the parts that are whole.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { file, packing } => match packing {
                Packing::None => write_whole(file, lines),
                Packing::Gzip => {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(lines)?;
                    write_whole(file, &encoder.finish()?)
                }
                Packing::Zstd => write_whole(file, &zstd::bulk::compress(lines, ZSTD_LEVEL)?),
            },
        }
    }
}

/// What can be cut back to where it was.
trait Cut: Write + Seek {
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Cut for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Writes all of it, or nothing.
fn write_whole(file: &mut impl Cut, bytes: &[u8]) -> io::Result<()> {
    let start = file.stream_position()?;
    file.write_all(bytes).map_err(|error| {
        // Cutting needs no room on the disk.
        match file.cut(start).and_then(|()| file.seek(SeekFrom::Start(start))) {
            Ok(_) => error,
            Err(cut) => {
                let message = format!("{error}; and what was begun cannot be taken back: {cut}");
                io::Error::new(error.kind(), message)
            }
        }
    })
}

/// Goes to the end of the last whole line; what an export that was cut off has begun there goes.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    // Without the end of a line in so many bytes it is no export of ours: nothing is cut then.
    let end = if whole == 0 && from > 0 { len } else { from + whole as u64 };
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file on a disk with room for so many bytes.
    struct Full(Cursor<Vec<u8>>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.saturating_sub(self.0.get_ref().len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(&bytes[..bytes.len().min(room)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    impl Cut for Full {
        fn cut(&mut self, len: u64) -> io::Result<()> {
            self.0.get_mut().truncate(usize::try_from(len).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_part_that_does_not_fit_is_taken_back() {
        let mut file = Full(Cursor::default(), 10);
        write_whole(&mut file, b"12345").unwrap();
        let error = write_whole(&mut file, b"678901").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.0.get_ref(), b"12345");
        write_whole(&mut file, b"abcde").unwrap();
        assert_eq!(file.0.get_ref(), b"12345abcde");
    }
}
