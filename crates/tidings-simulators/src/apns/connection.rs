//! What APNs remembers of one connection.

use std::sync::Mutex;
use std::sync::PoisonError;

use http::StatusCode;

use super::ApnsReason;
use super::certificate::PushCertificate;
use super::token::ConnectionTokens;

/// How many streams APNs grants, and when it takes them back.
#[derive(Debug, Clone)]
pub struct StreamTrust {
    /// Streams until the first request with a valid provider token, and after a run of errors.
    pub untrusted_streams: u32,
    /// Errors (400 to 499, without 410) in a row that end the trust. Apple gives no number.
    pub errors_in_row: u32,
}

impl Default for StreamTrust {
    /// One stream; ten errors in a row.
    fn default() -> Self {
        Self { untrusted_streams: 1, errors_in_row: 10 }
    }
}

/// How far a connection is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// There was no valid provider token yet, or the last one was refused.
    Unknown,
    Trusted,
    /// There were too many errors in a row: a success restores the trust.
    Lost,
}

/// One connection.
pub(super) struct ApnsConnection {
    pub(super) tokens: ConnectionTokens,
    /// The certificate that was shown, or why it is none for push.
    pub(super) certificate: Option<Result<PushCertificate, ApnsReason>>,
    standing: Mutex<Standing>,
}

struct Standing {
    trust: Trust,
    errors_in_row: u32,
}

impl ApnsConnection {
    pub(super) fn new(certificate: Option<Result<PushCertificate, ApnsReason>>) -> Self {
        // "Exactly one stream until the first valid token" is said of token authentication only.
        let trust =
            if matches!(certificate, Some(Ok(_))) { Trust::Trusted } else { Trust::Unknown };
        Self {
            tokens: ConnectionTokens::default(),
            certificate,
            standing: Mutex::new(Standing { trust, errors_in_row: 0 }),
        }
    }

    /// Enters how a request was answered.
    pub(super) fn answered(&self, outcome: Result<(), ApnsReason>, limits: &StreamTrust) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(reason) = outcome else {
            *standing = Standing { trust: Trust::Trusted, errors_in_row: 0 };
            return;
        };
        match reason.status() {
            // Told by makers of clients: the limit falls when a token is refused.
            StatusCode::FORBIDDEN => standing.trust = Trust::Unknown,
            // The token was good, or there would have been another answer.
            _ if standing.trust == Trust::Unknown && reason.comes_after_token() => {
                standing.trust = Trust::Trusted;
            }
            _ => {}
        }
        let counts = reason.status().is_client_error() && reason.status() != StatusCode::GONE;
        standing.errors_in_row = if counts { standing.errors_in_row + 1 } else { 0 };
        if standing.errors_in_row >= limits.errors_in_row {
            standing.trust = Trust::Lost;
        }
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).trust == Trust::Trusted
    }
}
