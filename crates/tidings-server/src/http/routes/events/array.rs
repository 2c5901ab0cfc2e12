//! An array of events, taken apart.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Why a body is not an array of events.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArrayError {
    #[error("not an array of events")]
    Malformed(#[from] serde_json::Error),
    #[error("more than {most} events")]
    TooMany { most: usize },
}

/// The items of a JSON array, as they are written. Reads no further than one item beyond `most`.
pub(super) fn items(json: &[u8], most: usize) -> Result<Vec<&RawValue>, ArrayError> {
    let mut over = false;
    let mut reader = serde_json::Deserializer::from_slice(json);
    match reader.deserialize_seq(Items { most, over: &mut over }) {
        Err(_) if over => Err(ArrayError::TooMany { most }),
        Err(error) => Err(error.into()),
        Ok(items) => {
            reader.end()?;
            Ok(items)
        }
    }
}

struct Items<'a> {
    most: usize,
    over: &'a mut bool,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() == self.most {
                *self.over = true;
                return Err(A::Error::custom("too many events"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_read_no_further_than_it_may_be_long() {
        let texts = |json| {
            let items = items(json, 2).map_err(|error| error.to_string());
            items.map(|items| items.iter().map(|it| it.get().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(texts(b" [{\"a\": 1}, 7 ] ").unwrap(), ["{\"a\": 1}", "7"]);
        assert_eq!(texts(b"[]").unwrap(), [""; 0]);
        // What comes after is not looked at.
        assert_eq!(texts(b"[1,2,3 and nonsense").unwrap_err(), "more than 2 events");
        for malformed in [b"[1,2" as &[u8], b"[1,2]]", b"{}", b"[1 2]", b"[1,]"] {
            assert_eq!(texts(malformed).unwrap_err(), "not an array of events");
        }
    }
}
