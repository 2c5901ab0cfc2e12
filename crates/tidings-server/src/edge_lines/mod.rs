//! Edges of the social graph as lines of text: NDJSON, CSV, and edge lists.

mod csv;
mod json;
mod list;
#[cfg(test)]
mod tests;

use tidings_core::{
    clock::{Timestamp, TimestampError},
    follow::EdgeKind,
    ids::{IdError, UserId},
};

pub(crate) use self::json::write as write_json;

/// The longest line: two ids of 128 bytes, each byte escaped, a time, and names.
pub(crate) const MAX_LINE_BYTES: usize = 2048;

/// How the lines of a text are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// A JSON object per line.
    Json,
    /// Comma-separated values under a line of names.
    Csv,
    /// Two ids per line, divided by white space; `#` begins a comment.
    List,
    /// The same; each line may have a time as its third word, an integer of any unit, which is taken for
    /// milliseconds.
    TimedList,
}

/// An edge as a line tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EdgeLine {
    pub(crate) kind: EdgeKind,
    pub(crate) source: UserId,
    pub(crate) target: UserId,
    /// When the edge was made, if the line says.
    pub(crate) at: Option<Timestamp>,
}

/// Why a line is not an edge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EdgeLineError {
    #[error("is not UTF-8")]
    NotText(#[from] std::str::Utf8Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(
        "has to name follower and followee, blocker and blocked, or muter and muted, and one of the \
         pairs only"
    )]
    NoPair,
    #[error("the first line has to name the columns follower and followee, and may name at: {0:?}")]
    Columns(String),
    #[error("has {got} fields, the first line {columns}")]
    Fields { got: usize, columns: usize },
    #[error("has a quote that is not closed, or stands within a field")]
    Quote,
    #[error("has {0} words where an edge has two")]
    Words(usize),
    #[error("has {0} words where an edge has two, and a time perhaps")]
    TimedWords(usize),
    #[error("{text:?} is not a time: an integer from 0 to {most}")]
    Integer { text: String, most: i64 },
    #[error("{field}: {source}")]
    Id { field: &'static str, source: IdError },
    #[error("at: {0}")]
    Time(#[from] TimestampError),
}

/// Reads the lines of one text, in their order.
#[derive(Debug)]
pub(crate) struct EdgeLines {
    format: LineFormat,
    columns: Option<csv::Columns>,
}

impl EdgeLines {
    pub(crate) fn new(format: LineFormat) -> Self {
        Self { format, columns: None }
    }

    /// Whether the next line may be an edge, and is not the names of the columns.
    pub(crate) fn knows_columns(&self) -> bool {
        self.format != LineFormat::Csv || self.columns.is_some()
    }

    /// Reads a line without its end; `None` if it holds no edge by right: a comment, the names of
    /// columns, or the mark of a place in an export.
    pub(crate) fn read(&mut self, line: &[u8]) -> Result<Option<EdgeLine>, EdgeLineError> {
        match self.format {
            LineFormat::Json => json::read(line),
            LineFormat::List => list::read(std::str::from_utf8(line)?),
            LineFormat::TimedList => list::read_timed(std::str::from_utf8(line)?),
            LineFormat::Csv => {
                let line = std::str::from_utf8(line)?;
                match &self.columns {
                    Some(columns) => columns.read(line).map(Some),
                    None => {
                        self.columns = Some(csv::Columns::named(line)?);
                        Ok(None)
                    }
                }
            }
        }
    }
}

fn id(field: &'static str, text: &str) -> Result<UserId, EdgeLineError> {
    UserId::new(text).map_err(|source| EdgeLineError::Id { field, source })
}
