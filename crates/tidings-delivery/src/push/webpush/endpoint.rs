//! Where a subscription is reached, and whether we go there.

use std::sync::Arc;

use http::uri::{Scheme, Uri};

/// The endpoint of a subscription. A secret: whoever knows it can push.
pub(super) struct SubscriptionEndpoint {
    pub(super) uri: Uri,
    /// `https://host[:port]`, which names the push service.
    pub(super) origin: String,
}

/// What endpoints are let through.
#[derive(Debug, Clone)]
pub(super) struct EndpointRules {
    /// Names of hosts, each with all below it; any host if there are none.
    allowed_hosts: Arc<[String]>,
    /// Whether a simulator on this machine will do. Not for production.
    allow_loopback: bool,
}

/// Why an endpoint is not gone to. Says nothing of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("the endpoint is not an https url without user and password")]
    Malformed,
    #[error("the host of the endpoint is not a name of the public internet")]
    HostNotPublic,
    #[error("the host of the endpoint is not among the allowed ones")]
    HostNotAllowed,
}

impl EndpointError {
    /// The word for it in the delivery log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_endpoint",
            Self::HostNotPublic => "endpoint_not_public",
            Self::HostNotAllowed => "endpoint_not_allowed",
        }
    }
}

impl EndpointRules {
    pub(super) fn new(allowed_hosts: &[String], allow_loopback: bool) -> Self {
        let lower = |host: &String| host.trim_matches('.').to_ascii_lowercase();
        Self { allowed_hosts: allowed_hosts.iter().map(lower).collect(), allow_loopback }
    }

    /// Reads the endpoint of a subscription.
    pub(super) fn check(&self, text: &str) -> Result<SubscriptionEndpoint, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::Malformed)?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'));
        let authority = authority.ok_or(EndpointError::Malformed)?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(EndpointError::Malformed);
        }
        let host = authority.host().to_ascii_lowercase();
        let is_here = self.allow_loopback && is_loopback(&host);
        if !is_here && !is_public_name(&host) {
            return Err(EndpointError::HostNotPublic);
        }
        if !is_here && !self.is_allowed(&host) {
            return Err(EndpointError::HostNotAllowed);
        }
        // As browsers write it: without the port that goes without saying (RFC 6454).
        let origin = match authority.port_u16() {
            None | Some(443) => format!("https://{host}"),
            Some(port) => format!("https://{host}:{port}"),
        };
        Ok(SubscriptionEndpoint { uri, origin })
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed_hosts.is_empty()
            || self.allowed_hosts.iter().any(|allowed| {
                host.strip_suffix(allowed.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
    }
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether `host` is a name of at least two labels whose last is no number.
///
/// Resolvers take numbers for addresses in more forms than one thinks of: `127.1`, `0x7f000001`,
/// `2130706433`.
fn is_public_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let Some((rest, last)) = host.rsplit_once('.') else { return false };
    let is_reserved = matches!(last, "localhost" | "local" | "internal" | "localdomain");
    rest.split('.').all(is_label)
        && is_label(last)
        && last.starts_with(|first: char| first.is_ascii_alphabetic())
        && !is_reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> EndpointRules {
        EndpointRules::new(&[], false)
    }

    #[test]
    fn the_origin_is_that_of_rfc_6454() {
        let origin = |text: &str| any().check(text).ok().unwrap().origin;
        assert_eq!(origin("https://fcm.googleapis.com/fcm/send/a:b"), "https://fcm.googleapis.com");
        assert_eq!(origin("https://Push.Example.com:443/1"), "https://push.example.com");
        assert_eq!(origin("https://push.example.com:8443/1"), "https://push.example.com:8443");
    }

    #[test]
    fn hosts_that_are_no_public_names_are_not_gone_to() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "10.0.0.1",
            "192.168.0.1:443",
            "localhost",
            "intranet",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
            "a..com",
            "a.com.",
        ];
        for host in hosts {
            let refused = any().check(&format!("https://{host}/x")).err();
            assert_eq!(refused, Some(EndpointError::HostNotPublic), "{host}");
        }
    }

    #[test]
    fn only_https_without_a_user_will_do() {
        for text in [
            "http://push.example.com/x",
            "https://u@push.example.com/x",
            "https://u:p@push.example.com/x",
            "/x",
            "push.example.com",
            "ftp://push.example.com/",
        ] {
            assert_eq!(any().check(text).err(), Some(EndpointError::Malformed), "{text}");
        }
    }

    #[test]
    fn an_allowed_host_stands_for_itself_and_all_below_it() {
        let rules = EndpointRules::new(&["Example.com".to_owned()], false);
        let is_refused = |host: &str| rules.check(&format!("https://{host}/x")).err();
        assert_eq!(is_refused("example.com"), None);
        assert_eq!(is_refused("a.push.example.com"), None);
        for host in ["badexample.com", "example.com.evil.org", "example.org"] {
            assert_eq!(is_refused(host), Some(EndpointError::HostNotAllowed), "{host}");
        }
    }

    #[test]
    fn this_machine_will_do_for_tests_only() {
        let rules = EndpointRules::new(&["example.com".to_owned()], true);
        assert!(rules.check("https://127.0.0.1:4433/x").is_ok());
        assert!(rules.check("https://localhost:4433/x").is_ok());
        assert!(rules.check("https://10.0.0.1/x").is_err());
    }
}
