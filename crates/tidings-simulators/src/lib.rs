//! APNs and FCM servers that behave, and misbehave, like the real ones.
