//! Devices that can be pushed to.

use async_trait::async_trait;

use crate::{
    device::Device,
    ids::{DeviceId, UserId},
    ports::StoreError,
};

/// Devices that can be pushed to.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Registers a device, or refreshes it: everything but its id and user is replaced. A token that
    /// another device has, of whatever user, is taken from it, and that device is removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn put_device(&self, device: Device) -> Result<(), StoreError>;

    /// The user's devices, ordered by id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError>;

    /// How many devices the user has besides the one that `device` names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn count_other_devices(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<u64, StoreError>;

    /// Removes a device; fine if there is none. Says whether there was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError>;
}
