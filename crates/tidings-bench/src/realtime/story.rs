//! The notifications: 200 bytes of JSON each, told by their number alone.

/// Bytes of a notification, without whom it is for.
pub(super) const NOTIFICATION_BYTES: usize = 200;

/// The id of a user that is told by number.
pub(crate) fn user_name(user: u64) -> String {
    format!("u_{user:06}")
}

/// A notification of [`NOTIFICATION_BYTES`].
pub(super) fn notification(event: u64) -> String {
    let begin = format!(
        r#"{{"id":"evt{event:012}","source":"bench","type":"like","title":"Ann liked your photo","body":""#
    );
    let body = NOTIFICATION_BYTES.saturating_sub(begin.len() + 2);
    format!("{begin}{:.<body$}\"}}", "Sunset over the bay")
}

/// The same as a Tidings event for these users.
pub(crate) fn event(number: u64, users: impl Iterator<Item = u64>) -> String {
    let mut text = notification(number);
    text.pop();
    text.push_str(r#","audience":{"users":["#);
    for (index, user) in users.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        text.push_str(&user_name(user));
        text.push('"');
    }
    text.push_str("]}}");
    text
}

#[cfg(test)]
mod tests {
    use tidings_core::{clock::Timestamp, event::IncomingEvent};

    use super::*;

    #[test]
    fn a_notification_has_its_size_and_can_be_decoded() {
        for number in [0, 999_999_999_999] {
            assert_eq!(notification(number).len(), NOTIFICATION_BYTES);
            let now = Timestamp::from_millis(1_795_000_000_123);
            let decoded = IncomingEvent::from_json(event(number, 0..2).as_bytes(), now).unwrap();
            assert_eq!(decoded.event.id.as_str(), format!("evt{number:012}"));
        }
    }
}
