//! Values on their way to the server and back.

use std::{collections::HashMap, vec};

use neo4j::{ValueReceive, ValueSend, driver::Record};
use tidings_core::{clock::Timestamp, ids::UserId};

use super::error::Failure;

/// The parameters of a query.
pub(super) type Parameters = HashMap<&'static str, ValueSend>;

/// Gathers parameters.
pub(super) fn with<const N: usize>(values: [(&'static str, ValueSend); N]) -> Parameters {
    HashMap::from(values)
}

pub(super) fn id(user: &UserId) -> ValueSend {
    ValueSend::String(user.as_str().to_owned())
}

pub(super) fn ids<'a>(users: impl IntoIterator<Item = &'a UserId>) -> ValueSend {
    ValueSend::List(users.into_iter().map(id).collect())
}

/// A count or a limit; nothing in memory is as large as the largest.
pub(super) fn count(count: usize) -> ValueSend {
    ValueSend::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The values of a row, or of a list in it, in their order.
#[derive(Debug)]
pub(super) struct Row(vec::IntoIter<ValueReceive>);

impl Row {
    /// Whether all values are there. Those of an edge or a user that is removed while it is read are not.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.as_slice().iter().any(ValueReceive::is_null)
    }

    fn next(&mut self, what: &'static str) -> Result<ValueReceive, Failure> {
        self.0.next().ok_or(Failure::Unreadable(what))
    }

    pub(super) fn number(&mut self, what: &'static str) -> Result<i64, Failure> {
        self.next(what)?.try_into_int().map_err(|_| Failure::Unreadable(what))
    }

    /// An integer that cannot be negative.
    pub(super) fn size(&mut self, what: &'static str) -> Result<u64, Failure> {
        u64::try_from(self.number(what)?).map_err(|_| Failure::Unreadable(what))
    }

    /// A place in something that was sent.
    pub(super) fn place(&mut self, what: &'static str) -> Result<usize, Failure> {
        usize::try_from(self.number(what)?).map_err(|_| Failure::Unreadable(what))
    }

    /// An integer, or null.
    pub(super) fn number_if_any(&mut self, what: &'static str) -> Result<Option<i64>, Failure> {
        match self.next(what)? {
            ValueReceive::Null => Ok(None),
            ValueReceive::Integer(number) => Ok(Some(number)),
            _ => Err(Failure::Unreadable(what)),
        }
    }

    pub(super) fn truth(&mut self, what: &'static str) -> Result<bool, Failure> {
        self.next(what)?.try_into_bool().map_err(|_| Failure::Unreadable(what))
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Failure> {
        self.next(what)?.try_into_string().map_err(|_| Failure::Unreadable(what))
    }

    pub(super) fn user(&mut self) -> Result<UserId, Failure> {
        let what = "user id";
        UserId::try_from(self.text(what)?).map_err(|_| Failure::Unreadable(what))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        self.number("time of an edge").map(Timestamp::from_millis)
    }

    /// A list, as rows of one value or of many.
    pub(super) fn rows(&mut self, what: &'static str) -> Result<Vec<Row>, Failure> {
        let list = self.next(what)?.try_into_list().map_err(|_| Failure::Unreadable(what))?;
        let row = |value| match value {
            ValueReceive::List(values) => Row(values.into_iter()),
            value => Row(vec![value].into_iter()),
        };
        Ok(list.into_iter().map(row).collect())
    }
}

impl From<Record> for Row {
    fn from(record: Record) -> Self {
        Self(record.into_values().collect::<Vec<_>>().into_iter())
    }
}
