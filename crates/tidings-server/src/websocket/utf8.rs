//! UTF-8 that comes in pieces.

use super::close::Violation;

/// Checks text from `valid` on, as far as it has come, and returns up to where it is whole. A
/// character may be cut off by the end; bytes that no character begins with are found at once.
pub(super) fn check(text: &[u8], valid: usize) -> Result<usize, Violation> {
    match std::str::from_utf8(&text[valid..]) {
        Ok(_) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(valid + error.valid_up_to()),
        Err(_) => Err(Violation::NotUtf8),
    }
}
