//! Identifiers. The app's own ids are opaque text; ours are numbers or derived from them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest id that the app may use, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 128;

/// Why a text cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("an id has at least 1 byte")]
    Empty,
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("an id has at most {MAX_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The text holds a control character: it would be unreadable in a log, a URL or a console.
    #[error("an id has no control characters")]
    Control,
}

fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Opaque UTF-8 of 1 to 128 bytes without control characters. Cloning is cheap.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as an id.
            ///
            /// # Errors
            ///
            /// [`IdError`] when `text` is empty, too long, or holds a control character.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_id(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as the app wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check_id(&text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A user, by the app's own id.
    UserId
}
text_id! {
    /// An event, by its producer's own id; unique within its [`SourceId`].
    EventId
}
text_id! {
    /// The producer that reports an event, for example `posts`.
    SourceId
}
text_id! {
    /// A device, by the id that the app chose for the installation.
    DeviceId
}

/// A notification's place in its inbox: 1, 2, 3 … without holes, in commit order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first notification.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The store's number for an inbox. At most 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxNumber(pub u64);

/// Names one social graph. Nodes that ask graphs of the same id are told the same followers, and a
/// cursor is good in the graph that made it only. Shown as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphId(pub u128);

impl fmt::Display for GraphId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).fmt(f)
    }
}

/// Names one notification in the whole installation.
///
/// It is the inbox's number and the `seq` in it, shown as a UUID of version 8 (RFC 9562, section
/// 5.8), so that finding a notification by its id needs no index beside the inbox itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationId {
    /// The inbox that the notification belongs to.
    pub inbox: InboxNumber,
    /// Its place there.
    pub seq: Seq,
}

const INBOX_BITS: u32 = 48;
const SEQ_BITS: u32 = 62;

impl NotificationId {
    /// The id as a UUID: 48 bits of inbox, the version, 12 zero bits, the variant, 62 bits of `seq`.
    #[must_use]
    pub fn to_uuid(self) -> Uuid {
        let inbox = u128::from(self.inbox.0 & ((1 << INBOX_BITS) - 1));
        let seq = u128::from(self.seq.0 & ((1 << SEQ_BITS) - 1));
        Uuid::from_u128((inbox << 80) | (0x8 << 76) | (0b10 << SEQ_BITS) | seq)
    }

    /// Reads what [`Self::to_uuid`] made; `None` for any other UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        let bits = uuid.as_u128();
        let inbox = u64::try_from(bits >> 80).ok()?;
        let seq = u64::try_from(bits & ((1 << SEQ_BITS) - 1)).ok()?;
        let id = Self { inbox: InboxNumber(inbox), seq: Seq(seq) };
        (id.to_uuid() == uuid).then_some(id)
    }

    /// The identity under which this notification is pushed to `device`: the same on every attempt,
    /// on every node, so that a provider or a person can tell a repeat from a second notification.
    #[must_use]
    pub fn push_identity(self, device: &DeviceId) -> Uuid {
        Uuid::new_v5(&self.to_uuid(), device.as_str().as_bytes())
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_uuid().fmt(f)
    }
}

/// The text is not the id of a notification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a notification")]
pub struct NotificationIdError;

impl std::str::FromStr for NotificationId {
    type Err = NotificationIdError;
    fn from_str(text: &str) -> Result<Self, NotificationIdError> {
        let uuid = Uuid::parse_str(text).map_err(|_| NotificationIdError)?;
        Self::from_uuid(uuid).ok_or(NotificationIdError)
    }
}

impl Serialize for NotificationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_uuid().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NotificationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let uuid = Uuid::deserialize(deserializer)?;
        Self::from_uuid(uuid).ok_or_else(|| serde::de::Error::custom(NotificationIdError))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_1_to_128_bytes_and_no_control_characters() {
        assert_eq!(UserId::new(""), Err(IdError::Empty));
        assert_eq!(UserId::new(&"x".repeat(129)), Err(IdError::TooLong(129)));
        assert_eq!(UserId::new("a\nb"), Err(IdError::Control));
        assert!(UserId::new(&"é".repeat(64)).is_ok());
    }

    #[test]
    fn a_uuid_of_another_version_is_no_notification() {
        assert_eq!(NotificationId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"x")), None);
    }

    proptest! {
        #[test]
        fn a_notification_id_survives_its_text(inbox in 0..1u64 << 48, seq in 0..1u64 << 62) {
            let id = NotificationId { inbox: InboxNumber(inbox), seq: Seq(seq) };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_uuid().get_version_num(), 8);
        }
    }
}
