//! Notifications out: live sessions, and push through APNs and FCM.

mod chain;
pub mod dispatcher;
pub mod push;
pub mod realtime;
