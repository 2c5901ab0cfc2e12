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
        /// Whether there is more than fitted into the last part.
        holds_more: bool,
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
            "zstd" => Encoding::Zstd { decoder: zstd_decoder()?, within: false, holds_more: false },
            _ => return Err(unknown(name)),
        };
        Ok(Self { encoding, limit, left: limit })
    }

    /// The next part of what `piece` unpacks to, of which `taken` bytes have been taken; `None` when all of
    /// it has come out. Parts are small, however much a few bytes unpack to.
    pub(super) fn next_part(
        &mut self,
        piece: &[u8],
        taken: &mut usize,
    ) -> Result<Option<Vec<u8>>, Problem> {
        let input = piece.get(*taken..).unwrap_or_default();
        let part = match &mut self.encoding {
            Encoding::Plain | Encoding::Gzip(_) if input.is_empty() => return Ok(None),
            Encoding::Plain => {
                *taken = piece.len();
                input.to_vec()
            }
            Encoding::Gzip(decoder) => {
                let input = &input[..input.len().min(GZIP_BYTES)];
                *taken += input.len();
                decoder.write_all(input).map_err(|error| broken(&error))?;
                std::mem::take(decoder.get_mut())
            }
            Encoding::Zstd { holds_more: false, .. } if input.is_empty() => return Ok(None),
            Encoding::Zstd { decoder, within, holds_more } => {
                let is_more_given = !input.is_empty();
                let mut input = InBuffer::around(input);
                let mut part = vec![0; ZSTD_BYTES];
                let mut output = OutBuffer::around(part.as_mut_slice());
                let wanted = decoder.run(&mut input, &mut output);
                *within = wanted.map_err(|error| broken(&error))? != 0;
                let length = output.as_slice().len();
                if is_more_given && input.pos() == 0 && length == 0 {
                    return Err(broken(&io::Error::from(io::ErrorKind::InvalidData)));
                }
                // What did not fit comes out without further input.
                *holds_more = length == ZSTD_BYTES;
                *taken += input.pos();
                part.truncate(length);
                part
            }
        };
        let left = self.left.checked_sub(part.len());
        self.left = left.ok_or_else(|| Problem::body_too_large(self.limit))?;
        Ok(Some(part))
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
            let mut taken = 0;
            while let Some(part) = unpack.next_part(piece, &mut taken)? {
                unpacked.extend_from_slice(&part);
            }
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
            let mut taken = 0;
            let refused = loop {
                match unpack.next_part(&packed, &mut taken) {
                    Ok(Some(part)) => most = most.max(part.len()),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert!(refused, "{encoding}");
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
