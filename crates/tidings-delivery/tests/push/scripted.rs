//! A push service that answers as a test says, on time that a test moves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    clock::{Clock, Timestamp},
    delivery::{Push, PushAnswer, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tokio::time::{Instant, sleep};

use crate::harness::start;

/// Shows the time of the runtime, which a test may have paused.
#[derive(Debug)]
pub(crate) struct RuntimeClock(Instant);

impl RuntimeClock {
    pub(crate) fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        start().after(self.0.elapsed())
    }
}

type Script = Box<dyn Fn(&Push) -> Verdict + Send>;

/// Answers as its script says, after its latency.
pub(crate) struct ScriptedProvider {
    platform: Platform,
    latency: Mutex<Duration>,
    script: Mutex<Script>,
    sends: Mutex<Vec<(Instant, String, Verdict)>>,
}

impl ScriptedProvider {
    pub(crate) fn new(
        platform: Platform,
        script: impl Fn(&Push) -> Verdict + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            platform,
            latency: Mutex::new(Duration::from_millis(20)),
            script: Mutex::new(Box::new(script)),
            sends: Mutex::default(),
        })
    }

    /// From now on this is the script.
    pub(crate) fn set(&self, script: impl Fn(&Push) -> Verdict + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// Sends so far.
    pub(crate) fn sends(&self) -> usize {
        self.sends.lock().unwrap().len()
    }

    /// Sends that began between two moments.
    pub(crate) fn sends_between(&self, from: Instant, until: Instant) -> usize {
        self.sends.lock().unwrap().iter().filter(|(at, ..)| (from..until).contains(at)).count()
    }

    /// Devices by how often they took a push.
    pub(crate) fn taken(&self) -> HashMap<String, u32> {
        let mut taken = HashMap::new();
        for (_, device, verdict) in &*self.sends.lock().unwrap() {
            if *verdict == Verdict::Delivered {
                *taken.entry(device.clone()).or_default() += 1;
            }
        }
        taken
    }
}

#[async_trait]
impl PushProvider for ScriptedProvider {
    fn platform(&self) -> Platform {
        self.platform
    }

    async fn send(&self, push: &Push) -> PushAnswer {
        let at = Instant::now();
        let verdict = (self.script.lock().unwrap())(push);
        let latency = *self.latency.lock().unwrap();
        self.sends.lock().unwrap().push((at, push.device.id.to_string(), verdict));
        sleep(latency).await;
        let reason = (verdict != Verdict::Delivered).then(|| "as_told".to_owned());
        PushAnswer { verdict, reason, provider_id: None }
    }
}
