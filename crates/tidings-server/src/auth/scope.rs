//! What a server key may do.

/// A right of a server key. A user's token has those of its own inbox, devices and follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Report events.
    EventsWrite,
    /// Read anyone's notifications.
    InboxRead,
    /// Mark anyone's notifications.
    InboxWrite,
    /// List anyone's devices, without their tokens.
    DevicesRead,
    /// Register and remove anyone's devices.
    DevicesWrite,
    /// Sign anyone out everywhere.
    SessionsRevoke,
    /// Read the follow graph.
    GraphRead,
    /// Change the follow graph.
    GraphWrite,
    /// Read the delivery log.
    DeliveriesRead,
    /// Read dead letters.
    DeadLettersRead,
    /// Remove dead letters.
    DeadLettersWrite,
    /// See how far Kafka was read.
    OffsetsRead,
    /// Move how far Kafka was read.
    OffsetsWrite,
    /// Read metrics.
    MetricsRead,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 14] = [
        Self::EventsWrite,
        Self::InboxRead,
        Self::InboxWrite,
        Self::DevicesRead,
        Self::DevicesWrite,
        Self::SessionsRevoke,
        Self::GraphRead,
        Self::GraphWrite,
        Self::DeliveriesRead,
        Self::DeadLettersRead,
        Self::DeadLettersWrite,
        Self::OffsetsRead,
        Self::OffsetsWrite,
        Self::MetricsRead,
    ];

    /// The name in configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsWrite => "events:write",
            Self::InboxRead => "inbox:read",
            Self::InboxWrite => "inbox:write",
            Self::DevicesRead => "devices:read",
            Self::DevicesWrite => "devices:write",
            Self::SessionsRevoke => "sessions:revoke",
            Self::GraphRead => "graph:read",
            Self::GraphWrite => "graph:write",
            Self::DeliveriesRead => "deliveries:read",
            Self::DeadLettersRead => "dead-letters:read",
            Self::DeadLettersWrite => "dead-letters:write",
            Self::OffsetsRead => "offsets:read",
            Self::OffsetsWrite => "offsets:write",
            Self::MetricsRead => "metrics:read",
        }
    }

    /// Reads a name in configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}
