//! Notifications out: live sessions, and push through APNs and FCM.

pub mod dispatcher;
pub mod push;
pub mod realtime;
