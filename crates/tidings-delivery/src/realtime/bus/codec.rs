//! Numbers and texts of the wire: little ones are short.

/// Bytes that are no message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        if value < 0x80 {
            return out.push(low);
        }
        out.push(low | 0x80);
        value >>= 7;
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_hash(out: &mut Vec<u8>, hash: u64) {
    out.extend_from_slice(&hash.to_le_bytes());
}

/// Reads what the functions above wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }

    fn bytes(&mut self, count: u64) -> Result<&'a [u8], Unreadable> {
        let count = usize::try_from(count).map_err(|_| Unreadable)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        let count = self.number()?;
        std::str::from_utf8(self.bytes(count)?).map_err(|_| Unreadable)
    }

    /// A part with its length before it, to be read by itself.
    pub(super) fn part(&mut self) -> Result<Self, Unreadable> {
        let count = self.number()?;
        Ok(Self(self.bytes(count)?))
    }

    pub(super) fn hash(&mut self) -> Result<u64, Unreadable> {
        let bytes = self.bytes(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Unreadable)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, text: String, hash: u64) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_text(&mut out, &text);
            put_hash(&mut out, hash);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.hash(), Ok(hash));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn what_is_cut_short_is_unreadable(number: u64, text: String) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_text(&mut out, &text);
            out.pop();
            let mut reader = Reader(&out);
            prop_assert!(reader.number().and_then(|_| reader.text()).is_err());
        }
    }
}
