//! The events: 300 bytes of Tidings JSON each, told by their number alone.

use std::io::Write;

use tidings_core::clock::Timestamp;

/// Bytes of an event.
pub(super) const EVENT_BYTES: usize = 300;
/// Users that are told by [`user_of`].
pub(super) const USERS: u64 = 100_000;
/// What a poisoned event ends with instead of its end.
const POISON: &[u8] = b"\"poison\":";

/// Who is told of the event with this number: uniform over [`USERS`].
pub(super) fn user_of(number: u64) -> u64 {
    mix(number) % USERS
}

/// The id of a user that is told by number.
pub(super) fn user_name(user: u64) -> String {
    format!("u_{user:06}")
}

/// The id of an event.
pub(super) fn event_id(number: u64) -> String {
    format!("evt{number:012}")
}

/// The number of an event, from its id.
pub(super) fn event_number(id: &str) -> Option<u64> {
    id.strip_prefix("evt")?.parse().ok()
}

/// Writes an event of [`EVENT_BYTES`] to `out`, which is emptied first. `user` has up to 16 bytes.
///
/// Its `user` is for peers that cannot read the list in `audience`; Tidings passes over it.
pub(super) fn write_event(number: u64, user: &str, time: Timestamp, out: &mut Vec<u8>) {
    let (actor, object) = (mix(number ^ 1) % USERS, mix(number ^ 2) % 1_000_000);
    out.clear();
    // Writing to a vector does not fail.
    let _written = write!(
        out,
        "{{\"id\":\"evt{number:012}\",\"source\":\"posts\",\"type\":\"like\",\"time\":\"{time}\",\
         \"actor\":\"u_{actor:06}\",\"audience\":{{\"users\":[\"{user}\"]}},\"user\":\"{user}\",\
         \"object\":{{\"type\":\"post\",\"id\":\"p_{object:06}\"}},\
         \"title\":\"Ann liked your photo\",\"priority\":\"normal\",\"group\":\"p_{object:06}\",\
         \"body\":\"Sunset",
    );
    out.resize(EVENT_BYTES - 2, b'.');
    out.extend_from_slice(b"\"}");
}

/// Makes an event that cannot be decoded.
pub(super) fn poison(event: &mut Vec<u8>) {
    event.truncate(EVENT_BYTES - POISON.len());
    event.extend_from_slice(POISON);
}

/// splitmix64: the same for everyone who counts.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use tidings_core::event::IncomingEvent;

    use super::*;

    #[test]
    fn every_event_has_its_size_and_can_be_decoded() {
        let now = Timestamp::from_millis(1_795_000_000_123);
        let mut event = Vec::new();
        for number in [0, 7, 999_999_999_999] {
            for user in [user_name(user_of(number)), "sixteen_bytes_id".to_owned()] {
                write_event(number, &user, now, &mut event);
                assert_eq!(event.len(), EVENT_BYTES);
                let decoded = IncomingEvent::from_json(&event, now).unwrap();
                assert_eq!(event_number(decoded.event.id.as_str()), Some(number));
                assert_eq!(decoded.event.time, now);
            }
        }
    }

    #[test]
    fn a_poisoned_event_cannot_be_decoded() {
        let now = Timestamp::from_millis(1_795_000_000_123);
        let mut event = Vec::new();
        write_event(1, "u_000001", now, &mut event);
        poison(&mut event);
        assert_eq!(event.len(), EVENT_BYTES);
        assert!(IncomingEvent::from_json(&event, now).is_err());
    }
}
