//! What tests have said about single device tokens.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::SimulatorError;

/// A bounded table from device token to state. A token that is not in it is live.
#[derive(Debug)]
pub(crate) struct DeviceStates<S> {
    limit: usize,
    states: RwLock<HashMap<Box<str>, S>>,
}

impl<S: Clone> DeviceStates<S> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, states: RwLock::new(HashMap::new()) }
    }

    pub(crate) fn put(&self, token: &str, state: S) -> Result<(), SimulatorError> {
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= self.limit && !states.contains_key(token) {
            return Err(SimulatorError::TooManyDeviceStates { limit: self.limit });
        }
        states.insert(token.into(), state);
        Ok(())
    }

    pub(crate) fn remove(&self, token: &str) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    pub(crate) fn find(&self, token: &str) -> Option<S> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}
