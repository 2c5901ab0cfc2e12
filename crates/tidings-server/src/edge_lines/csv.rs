//! Follows as comma-separated values (RFC 4180): ids hold no line ends, so a record is a line.

use std::borrow::Cow;

use tidings_core::follow::EdgeKind;

use super::{EdgeLine, EdgeLineError, id};

/// Where the fields stand, as the first line names them.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    follower: usize,
    followee: usize,
    at: Option<usize>,
}

impl Columns {
    pub(super) fn named(line: &str) -> Result<Self, EdgeLineError> {
        // Spreadsheets begin a file with a byte order mark.
        let names = fields(line.strip_prefix('\u{feff}').unwrap_or(line))?;
        let place = |name: &str| names.iter().position(|it| it.trim() == name);
        let (Some(follower), Some(followee)) = (place("follower"), place("followee")) else {
            return Err(EdgeLineError::Columns(line.to_owned()));
        };
        Ok(Self { count: names.len(), follower, followee, at: place("at") })
    }

    pub(super) fn read(&self, line: &str) -> Result<EdgeLine, EdgeLineError> {
        let fields = fields(line)?;
        if fields.len() != self.count {
            return Err(EdgeLineError::Fields { got: fields.len(), columns: self.count });
        }
        let at = self.at.map(|place| &*fields[place]).filter(|text| !text.is_empty());
        Ok(EdgeLine {
            kind: EdgeKind::Follow,
            source: id("follower", &fields[self.follower])?,
            target: id("followee", &fields[self.followee])?,
            at: at.map(str::parse).transpose()?,
        })
    }
}

fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, EdgeLineError> {
    let mut fields = Vec::with_capacity(3);
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err(EdgeLineError::Quote);
                }
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err(EdgeLineError::Quote),
        }
    }
}

/// Reads to the closing quote; two quotes are one of the field.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), EdgeLineError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or(EdgeLineError::Quote)?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((Cow::Owned(field), rest)),
        }
    }
}
