//! Web Push: browsers, through the push services of those who make them.
//!
//! A service worker gets each push as JSON, decrypted by the browser:
//!
//! ```json
//! { "title": "Ann liked your photo", "body": "Sunset over the bay", "badge": 3,
//!   "group": "like:p_9", "silent": false,
//!   "tidings_id": "018f…", "notification_id": "12-7", "seq": 7, "event_id": "evt_01J…",
//!   "source": "posts", "type": "like", "actor": "u_42",
//!   "object": {"type": "post", "id": "p_9", "url": "app://posts/p_9"}, "data": {"any": "json"},
//!   "truncated": false }
//! ```
//!
//! `body`, `group`, `actor`, `object` and `data` are left out where there is nothing to say, `title`
//! and `body` also when `silent` is true: then nothing is to be shown. `tidings_id` is the same on
//! every attempt, so that a worker can tell a push that came twice. With `truncated` the whole
//! notification is had by its id from the inbox API. `group` serves as the `tag` of the browser's
//! notification.
//!
//! Sources, for all of this module: RFC 8030 (the protocol), RFC 8291 and RFC 8188 (encryption), RFC
//! 8292 (VAPID).

mod address;
mod client;
mod config;
mod encrypt;
mod endpoint;
mod error;
mod message;
mod origins;
mod transport;
mod vapid;

pub use client::WebPushClient;
pub use config::{VENDOR_HOSTS, WebPushConfig};
pub(super) use message::{topic, urgency};
pub use vapid::VapidKey;
