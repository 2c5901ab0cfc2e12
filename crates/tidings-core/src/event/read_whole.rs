//! Reading JSON for nothing but to know that it can be read.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Any JSON, read in full and dropped at once. The reader bounds the depth (128).
pub(super) struct ReadWhole;

impl<'de> Deserialize<'de> for ReadWhole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = ReadWhole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_bool<E>(self, _: bool) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_i64<E>(self, _: i64) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_u64<E>(self, _: u64) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_f64<E>(self, _: f64) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_str<E>(self, _: &str) -> Result<ReadWhole, E> {
        Ok(ReadWhole)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ReadWhole, A::Error> {
        while seq.next_element::<ReadWhole>()?.is_some() {}
        Ok(ReadWhole)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadWhole, A::Error> {
        while map.next_entry::<ReadWhole, ReadWhole>()?.is_some() {}
        Ok(ReadWhole)
    }
}
