//! Resume tickets: what a client shows in place of its token when it comes back.
//!
//! A node that checked a token gives the client a ticket that says so, signed with a key that all nodes
//! may share. Whoever shows it needs no check of a token, which may take a key set and a public-key
//! signature; a herd that comes back is let in by one hash each. A ticket is good for nothing but live
//! sessions, never lives longer than the right it stands for, and is no secret that can be turned
//! into a token.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tidings_core::{clock::Timestamp, ids::UserId};

use super::handler::SessionIdentity;

/// The longest ticket, as text. A user id has 128 bytes at most, so that ours have 252.
const MAX_TEXT_BYTES: usize = 512;
/// The only form there is; another one gets another number.
const VERSION: u8 = 1;
/// What the digest of a key's name begins with, so that it is not the digest of the key itself.
const KEY_NAME: &[u8] = b"tidings ticket key";
/// In the place of a time, when the token did not say when it was issued.
const NO_TIME: i64 = i64::MIN;
const KEY_ID_BYTES: usize = 4;
/// Version, key, end of the right, issue of the ticket, issue of the token; then the user.
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + 3 * 8;
const TAG_BYTES: usize = 32;

/// Why a ticket is not accepted. Says nothing that would help to make a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketRefused {
    /// It is damaged or forged, or was signed with a key that is not known here (any more).
    #[error("the ticket is not valid here; show the token")]
    Invalid,
    /// The right that it stands for has ended.
    #[error("the ticket has expired; show a token")]
    Expired,
}

struct Key {
    id: [u8; KEY_ID_BYTES],
    key: hmac::Key,
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        let named = digest(&SHA256, &[KEY_NAME, secret].concat());
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&named.as_ref()[..KEY_ID_BYTES]);
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

/// Makes tickets and checks them.
pub struct Tickets {
    current: Key,
    /// Checks only: the key that was the current one until not long ago.
    previous: Option<Key>,
}

impl Tickets {
    /// Tickets that are good at every node with `secret`, which has at least 32 bytes. Those of
    /// `previous` are still accepted, so that a secret can be replaced node by node.
    #[must_use]
    pub fn with_secret(secret: &str, previous: Option<&str>) -> Self {
        let previous = previous.map(|secret| Key::new(secret.as_bytes()));
        Self { current: Key::new(secret.as_bytes()), previous }
    }

    /// Tickets that are good at this node, until it restarts.
    #[must_use]
    pub fn of_this_process() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { current: Key::new(&secret), previous: None }
    }

    /// A ticket for the rest of what `identity` may do.
    pub(super) fn issue(&self, identity: &SessionIdentity, now: Timestamp) -> String {
        let user = identity.user.as_str().as_bytes();
        let mut ticket = Vec::with_capacity(HEAD_BYTES + user.len() + TAG_BYTES);
        ticket.push(VERSION);
        ticket.extend_from_slice(&self.current.id);
        ticket.extend_from_slice(&identity.expires_at.as_millis().to_be_bytes());
        ticket.extend_from_slice(&now.as_millis().to_be_bytes());
        let token_issued = identity.issued_at.map_or(NO_TIME, Timestamp::as_millis);
        ticket.extend_from_slice(&token_issued.to_be_bytes());
        ticket.extend_from_slice(user);
        let tag = hmac::sign(&self.current.key, &ticket);
        ticket.extend_from_slice(tag.as_ref());
        BASE64_URL_SAFE_NO_PAD.encode(ticket)
    }

    /// Says what a ticket stands for.
    ///
    /// # Errors
    ///
    /// [`TicketRefused`].
    pub(super) fn check(
        &self,
        ticket: &str,
        now: Timestamp,
    ) -> Result<SessionIdentity, TicketRefused> {
        let identity = self.read(ticket).ok_or(TicketRefused::Invalid)?;
        if identity.expires_at <= now {
            return Err(TicketRefused::Expired);
        }
        Ok(identity)
    }

    /// What a ticket of ours says, also when its time is over.
    fn read(&self, ticket: &str) -> Option<SessionIdentity> {
        if ticket.len() > MAX_TEXT_BYTES {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        let (head, user) = signed.split_at_checked(HEAD_BYTES)?;
        let (version, head) = head.split_first()?;
        let (key_id, times) = head.split_first_chunk::<KEY_ID_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let keys = [Some(&self.current), self.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|key| key.id == *key_id)?;
        // In constant time. Nothing after the key's id is looked at before this.
        hmac::verify(&key.key, signed, tag).ok()?;
        let (expires_at, times) = times.split_first_chunk()?;
        // The issue of the ticket is for people who take one apart.
        let (_, times) = times.split_first_chunk::<8>()?;
        let (token_issued, _) = times.split_first_chunk()?;
        let token_issued = i64::from_be_bytes(*token_issued);
        Some(SessionIdentity {
            user: UserId::new(std::str::from_utf8(user).ok()?).ok()?,
            expires_at: Timestamp::from_millis(i64::from_be_bytes(*expires_at)),
            issued_at: Some(token_issued)
                .filter(|millis| *millis != NO_TIME)
                .map(Timestamp::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_millis(1_790_000_000_000));
    static END: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_millis(1_790_000_060_000));
    const SECRET: &str = "a secret of at least thirty-two bytes";
    const OTHER: &str = "another one of at least thirty-two bytes";

    fn identity(user: &str) -> SessionIdentity {
        let issued_at = Some(Timestamp::from_millis(1_789_999_000_000));
        SessionIdentity { user: UserId::new(user).unwrap(), expires_at: *END, issued_at }
    }

    #[test]
    fn a_ticket_stands_for_what_it_was_made_from_and_no_longer() {
        let tickets = Tickets::with_secret(SECRET, None);
        let ticket = tickets.issue(&identity("ann"), *NOW);
        assert_eq!(tickets.check(&ticket, *NOW), Ok(identity("ann")));
        let last = Timestamp::from_millis(END.as_millis() - 1);
        assert_eq!(tickets.check(&ticket, last), Ok(identity("ann")));
        assert_eq!(tickets.check(&ticket, *END), Err(TicketRefused::Expired));
        // A ticket made of a ticket ends when the first does.
        let again = tickets.issue(&tickets.check(&ticket, last).unwrap(), last);
        assert_eq!(tickets.check(&again, *END), Err(TicketRefused::Expired));
        let undated = SessionIdentity { issued_at: None, ..identity("ann") };
        assert_eq!(tickets.check(&tickets.issue(&undated, *NOW), *NOW), Ok(undated));
    }

    #[test]
    fn the_longest_user_fits() {
        let tickets = Tickets::of_this_process();
        let ticket = tickets.issue(&identity(&"u".repeat(128)), *NOW);
        assert!(ticket.len() <= 256, "{}", ticket.len());
        assert!(tickets.check(&ticket, *NOW).is_ok());
    }

    #[test]
    fn a_secret_can_be_replaced_and_the_old_one_taken_away() {
        let old = Tickets::with_secret(SECRET, None).issue(&identity("ann"), *NOW);
        let rotated = Tickets::with_secret(OTHER, Some(SECRET));
        assert_eq!(rotated.check(&old, *NOW), Ok(identity("ann")));
        let new = rotated.issue(&identity("ann"), *NOW);
        let after = Tickets::with_secret(OTHER, None);
        assert_eq!(after.check(&new, *NOW), Ok(identity("ann")));
        assert_eq!(after.check(&old, *NOW), Err(TicketRefused::Invalid));
        let process = Tickets::of_this_process();
        assert_eq!(process.check(&new, *NOW), Err(TicketRefused::Invalid));
    }

    #[test]
    fn a_ticket_of_another_key_under_our_keys_name_is_refused() {
        let forged = Tickets::with_secret(OTHER, None).issue(&identity("ann"), *NOW);
        let mut forged = BASE64_URL_SAFE_NO_PAD.decode(forged).unwrap();
        let tickets = Tickets::with_secret(SECRET, None);
        forged[1..=KEY_ID_BYTES].copy_from_slice(&tickets.current.id);
        let forged = BASE64_URL_SAFE_NO_PAD.encode(forged);
        assert_eq!(tickets.check(&forged, *NOW), Err(TicketRefused::Invalid));
    }

    #[test]
    fn the_user_of_a_ticket_cannot_be_changed() {
        let tickets = Tickets::with_secret(SECRET, None);
        let ticket = tickets.issue(&identity("ann"), *NOW);
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(ticket).unwrap();
        bytes[HEAD_BYTES..HEAD_BYTES + 3].copy_from_slice(b"ben");
        let forged = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(tickets.check(&forged, *NOW), Err(TicketRefused::Invalid));
    }

    proptest! {
        #[test]
        fn a_mangled_ticket_is_refused(
            user in "\\PC{1,32}",
            cut in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let tickets = Tickets::with_secret(SECRET, Some(OTHER));
            let ticket = tickets.issue(&identity(&user), *NOW);
            prop_assert_eq!(tickets.check(&ticket, *NOW), Ok(identity(&user)));
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(&ticket).unwrap();
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= flip;
            let mut longer = bytes.clone();
            longer.insert(at.index(bytes.len()), flip);
            for mangled in [&flipped, &longer, &bytes[..cut.index(bytes.len())].to_vec()] {
                let text = BASE64_URL_SAFE_NO_PAD.encode(mangled);
                prop_assert_eq!(tickets.check(&text, *NOW), Err(TicketRefused::Invalid));
            }
            let cut = &ticket[..cut.index(ticket.len())];
            prop_assert_eq!(tickets.check(cut, *NOW), Err(TicketRefused::Invalid));
        }

        #[test]
        fn nonsense_is_refused(text in "\\PC{0,600}") {
            let tickets = Tickets::with_secret(SECRET, None);
            prop_assert_eq!(tickets.check(&text, *NOW), Err(TicketRefused::Invalid));
        }
    }
}
