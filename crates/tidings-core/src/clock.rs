//! Time: instants in milliseconds, and where they come from.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, without leap seconds. RFC 3339 in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 date and time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time with an offset, such as 2026-11-23T09:00:00Z")]
pub struct TimestampError;

/// 9999-12-30T22:00:00Z, in milliseconds: the last instant that has a year of four digits at every
/// offset, and the last that is written as RFC 3339 here.
const MAX_MILLIS: i64 = 253_402_207_200_000;

impl Timestamp {
    /// The instant `millis` after the epoch, held to the years 1970 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MAX_MILLIS))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `span` later, at most the end of the year 9999.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// The instant `span` earlier, at least the epoch.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Whole seconds since the epoch, as JWT and APNs want them.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Self::from_millis(instant.as_millisecond())),
            Err(_) if is_beyond_the_last(text) => Ok(Self(MAX_MILLIS)),
            Err(_) => Err(TimestampError),
        }
    }
}

/// Whether this is a time of the last days of the year 9999, which stand for "never" in many a
/// database: held to the range, as what is before 1970 is.
fn is_beyond_the_last(text: &str) -> bool {
    let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text) else { return false };
    pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some()
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the current time comes from. Tests bring a [`ManualClock`].
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = std::time::SystemTime::now();
        let elapsed = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(MAX_MILLIS))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Arc<Self> {
        Arc::new(Self(std::sync::atomic::AtomicI64::new(start.0)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(MAX_MILLIS);
        self.0.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_milliseconds_and_loses_its_offset() {
        let time: Timestamp = "2026-11-23T10:00:00.1239+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-23T09:00:00.123Z");
    }

    #[test]
    fn every_time_can_be_written_and_read_again() {
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.after(Duration::from_secs(9)), last);
        for time in [Timestamp::from_millis(0), last] {
            assert_eq!(time.to_string().parse(), Ok(time), "{time}");
        }
    }

    #[test]
    fn times_outside_the_range_are_held_to_it() {
        for (text, held) in [
            ("0001-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59Z", MAX_MILLIS),
            ("9999-12-31T23:59:59.999+14:00", MAX_MILLIS),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(held)), "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        assert_eq!("2026-11-23T10:00:00".parse::<Timestamp>(), Err(TimestampError));
        assert_eq!("9999-12-31T10:00:00".parse::<Timestamp>(), Err(TimestampError));
    }
}
