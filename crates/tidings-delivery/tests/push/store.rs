//! A store of due pushes in memory, which can be out of reach.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    delivery::Delivery,
    device::Device,
    ids::{DeviceId, NotificationId, UserId},
    inbox::InboxState,
    notification::Notification,
    ports::{DeliveryStore, DeviceStore, DuePush, PushJob, PushSettlement, Renewal, StoreError},
};

/// Keeps the contract of [`DeliveryStore`], but only as long as the process lives.
#[derive(Default)]
pub(crate) struct MemoryDeliveryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    due: HashMap<Key, Due>,
    notifications: HashMap<NotificationId, (Arc<Notification>, InboxState)>,
    devices: Vec<Device>,
    log: Vec<Delivery>,
    failing_calls: u32,
    is_settling_stuck: bool,
}

/// A notification, and the device once routing has chosen it.
type Key = (NotificationId, Option<DeviceId>);

#[derive(Clone, Copy)]
struct Due {
    at: Timestamp,
    attempt: u32,
}

impl State {
    fn renew(&mut self, notification: NotificationId, renewals: &[Renewal]) {
        let user = self.notifications[&notification].0.user.clone();
        for Renewal { retry, dead } in renewals {
            let is_meant = |it: &Device| it.user == user && it.id == retry.device;
            if self.devices.iter().any(|it| is_meant(it) && it.token != *dead) {
                let key = (notification, Some(retry.device.clone()));
                self.due.insert(key, Due { at: retry.at, attempt: retry.attempt });
            }
        }
    }
}

impl MemoryDeliveryStore {
    pub(crate) fn register(&self, device: Device) {
        self.state().devices.push(device);
    }

    /// Stores a notification whose push falls due at `at`.
    pub(crate) fn plan(&self, notification: Notification, inbox: InboxState, at: Timestamp) {
        let mut state = self.state();
        let key = (notification.id, None);
        state.notifications.insert(notification.id, (Arc::new(notification), inbox));
        state.due.insert(key, Due { at, attempt: 1 });
    }

    /// Makes the next so many calls find the store out of reach.
    pub(crate) fn fail_next(&self, calls: u32) {
        self.state().failing_calls = calls;
    }

    /// Makes calls to settle neither do anything nor return, or ends that for calls to come.
    pub(crate) fn set_settling_stuck(&self, is_stuck: bool) {
        self.state().is_settling_stuck = is_stuck;
    }

    /// What is due or leased.
    pub(crate) fn open(&self) -> usize {
        self.state().due.len()
    }

    pub(crate) fn log(&self) -> Vec<Delivery> {
        self.state().log.clone()
    }

    pub(crate) fn devices(&self) -> Vec<Device> {
        self.state().devices.clone()
    }

    /// When the first of all falls due, leases included.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.state().due.values().map(|due| due.at).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn reach(&self, op: &'static str) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state();
        if state.failing_calls > 0 {
            state.failing_calls -= 1;
            let source = "out of reach on purpose".into();
            return Err(StoreError::Unavailable { op, backend: "memory", source });
        }
        Ok(state)
    }
}

#[async_trait]
impl DeliveryStore for MemoryDeliveryStore {
    async fn claim_due(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DuePush>, StoreError> {
        let mut state = self.reach("claim_due")?;
        let mut jobs: Vec<_> = state
            .due
            .iter()
            .filter(|(_, due)| due.at <= now)
            .map(|(key, due)| (key.clone(), *due))
            .collect();
        jobs.sort_by_key(|((notification, _), due)| (due.at, *notification));
        jobs.truncate(limit);
        let mut claimed = Vec::new();
        let leased_until = now.after(lease);
        for (key, due) in jobs {
            state.due.insert(key.clone(), Due { at: leased_until, ..due });
            let (notification, device) = key;
            let job = PushJob { notification, device, leased_until };
            let (notification, inbox) = state.notifications[&job.notification].clone();
            let is_meant = |device: &&Device| {
                device.user == notification.user
                    && job.device.as_ref().is_none_or(|id| *id == device.id)
            };
            let devices = state.devices.iter().filter(is_meant).cloned().collect();
            claimed.push(DuePush { job, notification, inbox, devices, attempt: due.attempt });
        }
        Ok(claimed)
    }

    async fn settle(&self, settlements: Vec<PushSettlement>) -> Result<(), StoreError> {
        if self.state().is_settling_stuck {
            std::future::pending::<()>().await;
        }
        let mut state = self.reach("settle")?;
        for settlement in settlements {
            state.log.extend(settlement.deliveries);
            let PushJob { notification, device, leased_until } = settlement.job;
            let key = (notification, device);
            if state.due.get(&key).is_some_and(|due| due.at == leased_until) {
                state.due.remove(&key);
                for retry in settlement.retries {
                    let key = (notification, Some(retry.device));
                    state.due.insert(key, Due { at: retry.at, attempt: retry.attempt });
                }
                state.renew(notification, &settlement.renewals);
            }
            let user = state.notifications[&notification].0.user.clone();
            for prune in settlement.prunes {
                state.devices.retain(|device| {
                    (&device.user, &device.id, device.registered_at)
                        != (&user, &prune.device, prune.registered_at)
                });
            }
        }
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.reach("next_due")?.due.values().map(|due| due.at).min())
    }
}

#[async_trait]
impl DeviceStore for MemoryDeliveryStore {
    async fn put_device(&self, device: Device) -> Result<(), StoreError> {
        let mut state = self.reach("put_device")?;
        let is_replaced = |it: &Device| (&it.user, &it.id) == (&device.user, &device.id);
        state.devices.retain(|it| !is_replaced(it));
        state.devices.push(device);
        Ok(())
    }

    async fn list_devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError> {
        let state = self.reach("list_devices")?;
        Ok(state.devices.iter().filter(|device| device.user == *user).cloned().collect())
    }

    async fn count_other_devices(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<u64, StoreError> {
        let devices = self.list_devices(user).await?;
        Ok(devices.iter().filter(|it| it.id != *device).count() as u64)
    }

    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
        let mut state = self.reach("remove_device")?;
        let before = state.devices.len();
        state.devices.retain(|it| (&it.user, &it.id) != (user, device));
        Ok(state.devices.len() < before)
    }
}
