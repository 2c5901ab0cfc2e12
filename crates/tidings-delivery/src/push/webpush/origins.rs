//! What is remembered of each push service.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderValue;
use tidings_core::clock::Timestamp;
use tokio::sync::Semaphore;

use super::vapid::{Credential, Sender};
use crate::push::PushSetupError;

/// So many services are remembered besides those that are in use. There are a handful, unless
/// somebody makes them up.
const MAX_ORIGINS: usize = 256;

/// The push services that were sent to.
pub(super) struct Origins {
    requests_max: usize,
    known: Mutex<HashMap<Box<str>, Arc<Origin>>>,
}

/// A push service.
pub(super) struct Origin {
    /// Requests that it may have at a time.
    pub(super) places: Semaphore,
    credential: Mutex<Option<Known>>,
}

struct Known {
    credential: Credential,
    /// Whether the service has taken it.
    is_proven: Arc<AtomicBool>,
}

/// A credential for one request.
pub(super) struct Authorization {
    pub(super) value: HeaderValue,
    is_proven: Arc<AtomicBool>,
}

impl Authorization {
    /// The service has taken it.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    /// Whether the service has taken it before.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }
}

impl Origins {
    pub(super) fn new(requests_max: usize) -> Self {
        Self { requests_max: requests_max.max(1), known: Mutex::default() }
    }

    /// The service with this origin.
    pub(super) fn of(&self, origin: &str) -> Arc<Origin> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(origin) {
            return Arc::clone(origin);
        }
        if known.len() >= MAX_ORIGINS {
            // Forgetting one costs a signature. Those in use stay, or their places would double.
            known.retain(|_, origin| Arc::strong_count(origin) > 1);
        }
        let places = Semaphore::new(self.requests_max);
        let new = Arc::new(Origin { places, credential: Mutex::new(None) });
        known.insert(origin.into(), Arc::clone(&new));
        new
    }
}

impl Origin {
    /// The credential for this service, whose name is `origin`; signed anew when it gets old.
    pub(super) fn authorization(
        &self,
        sender: &Sender,
        origin: &str,
        now: Timestamp,
    ) -> Result<Authorization, PushSetupError> {
        // Held while signing, so that only one signs; that takes less than a tenth of a millisecond.
        let mut known = self.credential.lock().unwrap_or_else(PoisonError::into_inner);
        let good = known.take().filter(|it| it.credential.is_good(now));
        let good = match good {
            Some(good) => good,
            None => {
                let credential = sender.sign(origin, now)?;
                Known { credential, is_proven: Arc::default() }
            }
        };
        let value = good.credential.authorization.clone();
        let is_proven = Arc::clone(&good.is_proven);
        *known = Some(good);
        Ok(Authorization { value, is_proven })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::push::webpush::VapidKey;

    #[test]
    fn a_credential_serves_until_it_is_old_and_is_proven_anew_after_that() {
        let sender = Sender::new(VapidKey::generate().unwrap(), "https://example.com").unwrap();
        let origin = Origins::new(1).of("https://a.example");
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let at = |hours: u64| {
            let now = now.after(Duration::from_secs(3_600 * hours));
            origin.authorization(&sender, "https://a.example", now).unwrap()
        };
        let first = at(0);
        first.prove();
        assert!(at(10).is_proven() && at(10).value == first.value);
        let second = at(11);
        assert!(!second.is_proven() && second.value != first.value);
    }

    #[test]
    fn services_that_somebody_makes_up_are_forgotten_and_those_in_use_are_not() {
        let origins = Origins::new(1);
        let used = origins.of("https://used.example");
        for number in 0..10 * MAX_ORIGINS {
            origins.of(&format!("https://{number}.example"));
        }
        assert!(origins.known.lock().unwrap().len() <= MAX_ORIGINS + 1);
        assert!(Arc::ptr_eq(&used, &origins.of("https://used.example")));
    }
}
