//! Notifications out: live sessions, and push through APNs and FCM.
