//! Push types and the topics that go with them.

/// The value of `apns-push-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushType {
    Alert,
    Background,
    LiveActivity,
    Widgets,
    Controls,
    Location,
    Voip,
    Complication,
    FileProvider,
    Mdm,
    PushToTalk,
}

impl PushType {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "alert" => Self::Alert,
            "background" => Self::Background,
            "liveactivity" => Self::LiveActivity,
            "widgets" => Self::Widgets,
            "controls" => Self::Controls,
            "location" => Self::Location,
            "voip" => Self::Voip,
            "complication" => Self::Complication,
            "fileprovider" => Self::FileProvider,
            "mdm" => Self::Mdm,
            "pushtotalk" => Self::PushToTalk,
            _ => return None,
        })
    }

    /// What follows the bundle id in the topic. A topic of `mdm` is registered whole.
    pub(super) fn topic_suffix(self) -> &'static str {
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
    pub(super) fn max_payload_bytes(self) -> usize {
        if self == Self::Voip { 5_120 } else { 4_096 }
    }
}
