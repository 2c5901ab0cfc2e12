//! Apple's kinds of pushes, and the rules of each.

/// A kind of push: `apns-push-type`.
///
/// Source: "Sending notification requests to APNs", the table of push types (read 2026-11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ApnsPushType {
    /// The user notices.
    #[default]
    Alert,
    /// The app is woken and fetches what is new.
    Background,
    /// A live activity changes.
    LiveActivity,
    /// A widget reloads.
    Widgets,
    /// A control reloads.
    Controls,
    /// The app's location extension is asked. Not for certificates.
    Location,
    /// A call comes in.
    Voip,
    /// A complication on a watch changes.
    Complication,
    /// A file provider's content has changed.
    FileProvider,
    /// A device management server asks the device to come.
    Mdm,
    /// A push-to-talk channel has something to say.
    PushToTalk,
}

/// "For all other remote notifications, the maximum payload size is 4 KB (4096 bytes)."
const MAX_PAYLOAD_BYTES: usize = 4_096;

/// "For Voice over Internet Protocol (`VoIP`) notifications, the maximum payload size is 5 KB (5120
/// bytes)."
const MAX_VOIP_PAYLOAD_BYTES: usize = 5_120;

impl ApnsPushType {
    /// The value of `apns-push-type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Background => "background",
            Self::LiveActivity => "liveactivity",
            Self::Widgets => "widgets",
            Self::Controls => "controls",
            Self::Location => "location",
            Self::Voip => "voip",
            Self::Complication => "complication",
            Self::FileProvider => "fileprovider",
            Self::Mdm => "mdm",
            Self::PushToTalk => "pushtotalk",
        }
    }

    /// What is added to the app's bundle id to make the topic.
    ///
    /// Empty for [`Mdm`](Self::Mdm) too: its topic is a name of its own, from the certificate.
    #[must_use]
    pub fn topic_suffix(self) -> &'static str {
        match self {
            Self::Alert | Self::Background | Self::Mdm => "",
            Self::LiveActivity => ".push-type.liveactivity",
            Self::Widgets => ".push-type.widgets",
            Self::Controls => ".push-type.controls",
            Self::Location => ".location-query",
            Self::Voip => ".voip",
            Self::Complication => ".complication",
            Self::FileProvider => ".pushkit.fileprovider",
            Self::PushToTalk => ".voip-ptt",
        }
    }

    /// The longest payload, in bytes.
    #[must_use]
    pub fn max_payload_bytes(self) -> usize {
        match self {
            Self::Voip => MAX_VOIP_PAYLOAD_BYTES,
            _ => MAX_PAYLOAD_BYTES,
        }
    }

    /// Whether only priority 5 is allowed: "Specifying the priority 10 is an error".
    #[must_use]
    pub fn is_never_urgent(self) -> bool {
        matches!(self, Self::Background)
    }

    /// Whether it takes a provider token, and a certificate will not do.
    #[must_use]
    pub fn needs_provider_token(self) -> bool {
        matches!(self, Self::Location)
    }

    /// Whether a notification says all that its payload has to. A live activity's state and a
    /// command for a managed device are for whoever invented them to write.
    #[must_use]
    pub fn is_made_of_notifications(self) -> bool {
        !matches!(self, Self::LiveActivity | Self::Mdm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_apples_table_has_its_topic_and_its_limit() {
        use ApnsPushType as Type;
        let table = [
            (Type::Alert, "alert", "", 4_096),
            (Type::Background, "background", "", 4_096),
            (Type::LiveActivity, "liveactivity", ".push-type.liveactivity", 4_096),
            (Type::Widgets, "widgets", ".push-type.widgets", 4_096),
            (Type::Controls, "controls", ".push-type.controls", 4_096),
            (Type::Location, "location", ".location-query", 4_096),
            (Type::Voip, "voip", ".voip", 5_120),
            (Type::Complication, "complication", ".complication", 4_096),
            (Type::FileProvider, "fileprovider", ".pushkit.fileprovider", 4_096),
            (Type::Mdm, "mdm", "", 4_096),
            (Type::PushToTalk, "pushtotalk", ".voip-ptt", 4_096),
        ];
        for (push_type, name, suffix, limit) in table {
            assert_eq!(push_type.as_str(), name);
            assert_eq!(push_type.topic_suffix(), suffix, "{name}");
            assert_eq!(push_type.max_payload_bytes(), limit, "{name}");
            assert_eq!(push_type.is_never_urgent(), name == "background", "{name}");
            assert_eq!(push_type.needs_provider_token(), name == "location", "{name}");
        }
    }
}
