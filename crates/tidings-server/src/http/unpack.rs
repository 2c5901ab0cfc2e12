//! Bodies that come packed: `Content-Encoding: gzip` or `zstd`.

use std::io::{self, Write as _};

use axum::http::{HeaderMap, StatusCode, header};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{self, DParameter, InBuffer, Operation as _, OutBuffer};

use super::error::Problem;

/// What is fed to gzip at a time. It grows a thousandfold at most.
const GZIP_BYTES: usize = 1024;
/// What zstd gives at a time.
const ZSTD_BYTES: usize = 64 * 1024;
/// The largest window of zstd, as a power of two: levels up to 19 need no more, and it is memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Unpacks a body as it arrives. The limit holds for what comes out.
pub(super) struct Unpack {
    encoding: Encoding,
    limit: usize,
    left: usize,
}

enum Encoding {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: raw::Decoder<'static>,
        /// Whether a frame has begun and not ended.
        within: bool,
    },
}

impl Unpack {
    /// As the request says how its body is packed; at most `limit` bytes may come out.
    pub(super) fn new(headers: &HeaderMap, limit: usize) -> Result<Self, Problem> {
        let name = headers.get(header::CONTENT_ENCODING).map_or("identity", |value| {
            // What is not text is no encoding that anyone knows.
            value.to_str().unwrap_or_default()
        });
        let encoding = match name.trim().to_ascii_lowercase().as_str() {
            "identity" | "" => Encoding::Plain,
            "gzip" | "x-gzip" => Encoding::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            "zstd" => Encoding::Zstd { decoder: zstd_decoder()?, within: false },
            _ => return Err(unknown(name)),
        };
        Ok(Self { encoding, limit, left: limit })
    }

    /// Takes the next piece and hands on what it unpacks to, in parts.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Problem> {
        let (limit, left) = (self.limit, &mut self.left);
        let mut count = |part: &[u8]| {
            *left = left.checked_sub(part.len()).ok_or_else(|| Problem::body_too_large(limit))?;
            take(part);
            Ok(())
        };
        match &mut self.encoding {
            Encoding::Plain => count(piece),
            Encoding::Gzip(decoder) => {
                for part in piece.chunks(GZIP_BYTES) {
                    decoder.write_all(part).map_err(|error| broken(&error))?;
                    count(decoder.get_ref())?;
                    decoder.get_mut().clear();
                }
                Ok(())
            }
            Encoding::Zstd { decoder, within } => {
                let mut input = InBuffer::around(piece);
                let mut part = vec![0; ZSTD_BYTES];
                loop {
                    let mut output = OutBuffer::around(part.as_mut_slice());
                    let wanted = decoder.run(&mut input, &mut output);
                    *within = wanted.map_err(|error| broken(&error))? != 0;
                    let unpacked = output.as_slice();
                    let is_full = unpacked.len() == ZSTD_BYTES;
                    count(unpacked)?;
                    // What did not fit comes out without further input.
                    if input.pos() == piece.len() && !is_full {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Checks that the body was whole, and hands on what was held back.
    pub(super) fn finish(self, mut take: impl FnMut(&[u8])) -> Result<(), Problem> {
        match self.encoding {
            Encoding::Plain | Encoding::Zstd { within: false, .. } => Ok(()),
            Encoding::Zstd { within: true, .. } => {
                Err(broken(&io::Error::from(io::ErrorKind::UnexpectedEof)))
            }
            Encoding::Gzip(decoder) => {
                let rest = decoder.finish().map_err(|error| broken(&error))?;
                if rest.len() > self.left {
                    return Err(Problem::body_too_large(self.limit));
                }
                take(&rest);
                Ok(())
            }
        }
    }
}

fn zstd_decoder() -> Result<raw::Decoder<'static>, Problem> {
    let limited = raw::Decoder::new().and_then(|mut decoder| {
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(decoder)
    });
    limited.map_err(|error| {
        tracing::error!(%error, "zstd cannot be set up");
        Problem::internal()
    })
}

fn broken(error: &io::Error) -> Problem {
    Problem::bad_input("", format!("the body cannot be unpacked: {error}"))
}

fn unknown(name: &str) -> Problem {
    let detail = format!("the body is packed as {name:?}; gzip, zstd and identity are understood");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "unknown-encoding", "Unknown encoding", detail)
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn unpack(
        encoding: &str,
        packed: &[u8],
        piece: usize,
        limit: usize,
    ) -> Result<Vec<u8>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        let mut unpack = Unpack::new(&headers, limit)?;
        let mut unpacked = Vec::new();
        for piece in packed.chunks(piece) {
            unpack.push(piece, |part| unpacked.extend_from_slice(part))?;
        }
        unpack.finish(|part| unpacked.extend_from_slice(part))?;
        Ok(unpacked)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Text, packed in each way, in two parts that follow each other.
    fn packed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let (first, second) = text.split_at(text.len() / 3);
        let zstd = |part: &[u8]| zstd::bulk::compress(part, 3).unwrap();
        vec![
            ("identity", text.to_vec()),
            ("GZIP", [gzip(first), gzip(second)].concat()),
            ("zstd", [zstd(first), zstd(second)].concat()),
        ]
    }

    #[test]
    fn a_body_is_unpacked_wherever_its_pieces_are_cut() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for (encoding, packed) in packed(&text) {
            for piece in [1_000, 4_096, 1 << 20] {
                let unpacked = unpack(encoding, &packed, piece, text.len()).unwrap();
                assert!(unpacked == text, "{encoding} by {piece}");
            }
            assert!(unpack(encoding, &packed, 4_096, text.len() - 1).is_err(), "{encoding}");
        }
        for (encoding, packed) in packed(b"a\nb\n") {
            assert_eq!(unpack(encoding, &packed, 1, 4).unwrap(), b"a\nb\n", "{encoding}");
        }
    }

    #[test]
    fn what_grows_beyond_the_limit_is_refused_before_it_is_held() {
        let zeros = vec![0; 64 << 20];
        for (encoding, packed) in packed(&zeros).into_iter().skip(1) {
            assert!(packed.len() < 400_000, "{encoding} has {} bytes", packed.len());
            let mut most = 0;
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            let mut unpack = Unpack::new(&headers, 1 << 20).unwrap();
            let refused = unpack.push(&packed, |part| most = most.max(part.len()));
            assert!(refused.is_err(), "{encoding}");
            assert!(most <= 2 << 20, "{encoding} held {most} bytes");
        }
    }

    #[test]
    fn a_body_that_is_cut_or_is_not_packed_so_is_refused() {
        let text: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        for (encoding, packed) in packed(&text).into_iter().skip(1) {
            let cut = &packed[..packed.len() - 5];
            assert!(unpack(encoding, cut, 4_096, 1 << 20).is_err(), "{encoding}");
            assert!(unpack(encoding, b"a b\nc d\n", 4_096, 1 << 20).is_err(), "{encoding}");
        }
        assert!(unpack("br", b"", 1, 1).is_err());
    }
}
