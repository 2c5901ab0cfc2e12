//! Whose push service a browser's subscription is at.

use tidings_core::device::PushToken;

/// Who runs the push service of a browser. Each is a service of its own that may be down without the
/// others. The set is closed: subscriptions come from outside, and must not make lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BrowserVendor {
    /// Chrome and most others.
    Google,
    /// Firefox.
    Mozilla,
    /// Edge.
    Microsoft,
    /// Safari.
    Apple,
    /// Anyone else.
    Other,
}

impl BrowserVendor {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Google, Self::Mozilla, Self::Microsoft, Self::Apple, Self::Other];

    /// The name in metrics and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Mozilla => "mozilla",
            Self::Microsoft => "microsoft",
            Self::Apple => "apple",
            Self::Other => "other",
        }
    }

    /// Whose service the endpoint of a subscription belongs to, by its host.
    #[must_use]
    pub fn of(endpoint: &PushToken) -> Self {
        let authority = endpoint.expose().strip_prefix("https://").unwrap_or_default();
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let is_of = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match () {
            () if is_of("googleapis.com") || is_of("google.com") => Self::Google,
            () if is_of("mozilla.com") || is_of("mozaws.net") => Self::Mozilla,
            () if is_of("windows.com") => Self::Microsoft,
            () if is_of("apple.com") => Self::Apple,
            () => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_says_whose_service_it_is() {
        for (endpoint, vendor) in [
            ("https://fcm.googleapis.com/fcm/send/a:b", BrowserVendor::Google),
            ("https://updates.push.services.mozilla.com/wpush/v2/x", BrowserVendor::Mozilla),
            ("https://wns2-par02p.notify.windows.com/w/?token=x", BrowserVendor::Microsoft),
            ("https://WEB.push.apple.com:443/x", BrowserVendor::Apple),
            ("https://apple.com", BrowserVendor::Apple),
            ("https://notapple.com/x", BrowserVendor::Other),
            ("https://example.com/fcm.googleapis.com", BrowserVendor::Other),
            ("http://fcm.googleapis.com/", BrowserVendor::Other),
        ] {
            let token = PushToken::new(endpoint.to_owned()).unwrap();
            assert_eq!(BrowserVendor::of(&token), vendor, "{endpoint}");
        }
    }
}
