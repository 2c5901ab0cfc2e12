//! What a connection remembers of the credential that it carries.

use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use tidings_core::clock::Timestamp;

/// The credential that was last sent on a connection.
///
/// Services may hold a connection to one credential, so whoever signs has to know what went before.
#[derive(Default)]
pub(crate) struct CredentialSlot {
    pinned: Mutex<Option<Pinned>>,
}

/// A credential, and since when a connection has carried it.
#[derive(Clone)]
pub(crate) struct Pinned {
    pub(crate) authorization: HeaderValue,
    pub(crate) since: Timestamp,
}

impl CredentialSlot {
    /// Runs `change` on what is remembered, and nothing else meanwhile.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Option<Pinned>) -> T) -> T {
        change(&mut self.pinned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
