//! How a session is held.

use std::{fmt, sync::Arc};

use tidings_core::retry::RetryPolicy;

use crate::token::{FixedToken, TokenSource};

/// How a session is held.
#[derive(Clone)]
pub struct SubscriptionConfig {
    /// The node, for example `http://127.0.0.1:7700` or `https://…`.
    pub url: String,
    /// The user's tokens.
    pub tokens: Arc<dyn TokenSource>,
    /// What the client has already: 0 for nothing, to get the whole inbox; `None` to get only what
    /// is new from now on.
    pub last_seq: Option<u64>,
    /// With `last_seq`: where the client began, if not with the whole inbox. It has what came after, and nothing
    /// before counts as acknowledged. [`Subscription::after_seq`](crate::Subscription::after_seq) says it.
    pub after_seq: Option<u64>,
    /// How reconnects are spread. The budget counts attempts without a welcome in between, and gaps
    /// without a notification in between.
    pub retry: RetryPolicy,
    /// What was handed over is acknowledged when nothing more is waiting to be read, and at the
    /// latest after this many notifications. At least 1.
    pub ack_every: u32,
    /// Size of the socket's read buffer, in bytes.
    pub read_buffer_bytes: usize,
}

impl SubscriptionConfig {
    /// A session of the user with `token` on the node at `url`, from now on, which never gives up
    /// until the token ends.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        Self::with_tokens(url, Arc::new(FixedToken(Arc::from(token))))
    }

    /// A session of the user with `tokens` on the node at `url`, from now on, which never gives up.
    #[must_use]
    pub fn with_tokens(url: &str, tokens: Arc<dyn TokenSource>) -> Self {
        Self {
            url: url.to_owned(),
            tokens,
            last_seq: None,
            after_seq: None,
            retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 500, cap_ms: 20_000 },
            ack_every: 256,
            read_buffer_bytes: 4 * 1024,
        }
    }
}

impl fmt::Debug for SubscriptionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionConfig")
            .field("url", &self.url)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}
