//! Push services.

use async_trait::async_trait;

use crate::{
    delivery::{Push, PushAnswer},
    device::Platform,
};

/// A push service, such as APNs or FCM.
#[async_trait]
pub trait PushProvider: Send + Sync + 'static {
    /// Whose devices it reaches.
    fn platform(&self) -> Platform;

    /// Sends one push and reduces the answer to a verdict.
    ///
    /// Does not fail: a service that does not answer is
    /// [`Verdict::Unavailable`](crate::delivery::Verdict) with our own reason. Ends within the timeout that the provider was made with. A retry carries
    /// the same [`Push::identity`], so that a service that knows identities can tell it from a second
    /// notification.
    async fn send(&self, push: &Push) -> PushAnswer;
}
