//! Which web pages may use this node from a browser.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was allowed.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The origins that `server.allowed_origins` names ("The Web Origin Concept", RFC 6454).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    listed: Vec<HeaderValue>,
}

/// Not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: write \"https://app.example\", without a path, or \"*\"")]
pub struct BadOrigin(pub String);

impl AllowedOrigins {
    /// Reads the option.
    ///
    /// # Errors
    ///
    /// [`BadOrigin`] for the first that is none.
    pub fn new(origins: &[String]) -> Result<Self, BadOrigin> {
        let mut all = Self::default();
        for origin in origins {
            if origin == "*" {
                all.any = true;
            } else {
                all.listed.push(parse(origin).ok_or_else(|| BadOrigin(origin.clone()))?);
            }
        }
        Ok(all)
    }

    /// Whether a page of this origin may open a session. Without a list every page may, since a session
    /// shows a token that no other page has; programs that are no browsers send no origin.
    pub(super) fn may_stream(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin else { return true };
        self.any || self.listed.is_empty() || self.listed.contains(origin)
    }

    /// Answers what browsers ask before a page may use another origin's API ("Fetch Standard", CORS
    /// protocol). No credentials that a browser adds by itself: requests carry their token.
    pub(super) fn cors(&self) -> Option<CorsLayer> {
        let allowed = match (self.any, self.listed.is_empty()) {
            (true, _) => AllowOrigin::any(),
            (false, false) => AllowOrigin::list(self.listed.iter().cloned()),
            (false, true) => return None,
        };
        let layer = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
            ])
            .expose_headers([header::RETRY_AFTER, HeaderName::from_static("x-request-id")])
            .max_age(REMEMBERED);
        Some(layer)
    }
}

/// The origin as browsers write it: scheme, host, and the port if it is not the scheme's own.
fn parse(origin: &str) -> Option<HeaderValue> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let authority = uri.authority()?;
    let is_bare = format!("{scheme}://{authority}").eq_ignore_ascii_case(origin);
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    if !is_bare || authority.as_str().contains('@') {
        return None;
    }
    let host = uri.host()?.to_ascii_lowercase();
    let port = uri.port_u16().filter(|port| *port != default_port);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    HeaderValue::from_str(&format!("{scheme}://{host}{port}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str]) -> AllowedOrigins {
        let origins: Vec<String> = origins.iter().map(|it| (*it).to_owned()).collect();
        AllowedOrigins::new(&origins).unwrap()
    }

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        let origins = allowed(&["https://App.example:443", "http://localhost:5173"]);
        for (origin, may) in [
            ("https://app.example", true),
            ("http://localhost:5173", true),
            ("http://app.example", false),
            ("https://app.example.evil", false),
            ("null", false),
        ] {
            assert_eq!(
                origins.may_stream(Some(&HeaderValue::from_static(origin))),
                may,
                "{origin}"
            );
        }
        assert!(origins.may_stream(None), "a program that is no browser");
    }

    #[test]
    fn without_a_list_the_stream_is_open_and_the_api_is_not_shared() {
        let origins = allowed(&[]);
        assert!(origins.may_stream(Some(&HeaderValue::from_static("https://any.example"))));
        assert!(origins.cors().is_none());
        assert!(allowed(&["*"]).cors().is_some());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in
            ["app.example", "https://app.example/", "https://a/b", "ftp://a", "", "https://u@a"]
        {
            let refused = AllowedOrigins::new(&[bad.to_owned()]);
            assert_eq!(refused, Err(BadOrigin(bad.to_owned())));
        }
    }
}
