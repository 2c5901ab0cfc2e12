//! The browser's side of message encryption (RFC 8291 over RFC 8188).
//!
//! Written here over primitives of `aws-lc-rs`, which TLS brings along: the crates for it are made
//! for senders, and one of them would bring OpenSSL.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use rand::Rng;

use crate::SimulatorError;

/// An uncompressed point of P-256.
pub(super) const POINT_BYTES: usize = 65;

/// Length of the secret that authenticates messages (RFC 8291, section 3.2).
pub(super) const AUTH_BYTES: usize = 16;

const SALT_BYTES: usize = 16;
/// Salt, record size, length of the key id.
const FIXED_HEADER_BYTES: usize = SALT_BYTES + 4 + 1;
/// The smallest record size: a delimiter, a tag, and one byte more (RFC 8188, section 2.1).
const MIN_RECORD_BYTES: u32 = 18;
const KEY_BYTES: usize = 16;
/// Ends the last record before its padding.
const LAST_RECORD: u8 = 2;

/// Why a body is not a message for this browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecryptError {
    #[error("the body is shorter than its header")]
    Truncated,
    #[error("the key id is not a point of P-256 in uncompressed form")]
    KeyId,
    #[error("the record size is below 18")]
    RecordSize,
    #[error("the message has more than one record")]
    SeveralRecords,
    #[error("the record cannot be decrypted with the keys of the subscription")]
    Record,
    #[error("the record does not end with the delimiter of a last record")]
    Delimiter,
}

/// What a browser keeps of a subscription.
pub(super) struct UserAgentKeys {
    private: PrivateKey,
    public: Vec<u8>,
    auth: [u8; AUTH_BYTES],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl UserAgentKeys {
    pub(super) fn generate() -> Result<Self, SimulatorError> {
        let failed = |_| SimulatorError::UserAgentKey;
        let private = PrivateKey::generate(&ECDH_P256).map_err(failed)?;
        let public = private.compute_public_key().map_err(failed)?.as_ref().to_vec();
        Ok(Self { private, public, auth: rand::rng().random() })
    }

    /// `p256dh`: the point, uncompressed.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// `auth`.
    pub(super) fn auth(&self) -> &[u8] {
        &self.auth
    }

    /// The message in `body`, which is a header and one record.
    pub(super) fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let Message { salt, sender, record } = split(body)?;
        let (key, nonce) = self.derive(salt, sender).map_err(|_| DecryptError::Record)?;
        let mut text = record.to_vec();
        let opened = key.open_in_place(nonce, Aad::empty(), &mut text);
        let length = opened.map_err(|_| DecryptError::Record)?.len();
        text.truncate(length);
        // Padding of zeros follows the delimiter.
        let end = text.iter().rposition(|byte| *byte != 0);
        match end {
            Some(end) if text[end] == LAST_RECORD => {
                text.truncate(end);
                Ok(text)
            }
            _ => Err(DecryptError::Delimiter),
        }
    }

    /// Key and nonce of the only record (RFC 8291, section 3.4).
    fn derive(&self, salt: &[u8], sender: &[u8]) -> Result<(LessSafeKey, Nonce), Unspecified> {
        let info = [b"WebPush: info\0", &self.public[..], sender].concat();
        let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
        let shared: [u8; 32] = agree(&self.private, peer, Unspecified, |secret| {
            expand(&Salt::new(HKDF_SHA256, &self.auth).extract(secret), &info)
        })?;
        let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(&shared);
        let key: [u8; KEY_BYTES] = expand(&pseudorandom, b"Content-Encoding: aes128gcm\0")?;
        let nonce: [u8; NONCE_LEN] = expand(&pseudorandom, b"Content-Encoding: nonce\0")?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
        // The first record's number is 0, which leaves the nonce as it is.
        Ok((key, Nonce::assume_unique_for_key(nonce)))
    }
}

struct Message<'a> {
    salt: &'a [u8],
    /// The sender's point, which the header calls the key id.
    sender: &'a [u8],
    record: &'a [u8],
}

/// The sender's point in the header of `body`.
pub(super) fn sender_key(body: &[u8]) -> Result<&[u8], DecryptError> {
    split(body).map(|message| message.sender)
}

fn split(body: &[u8]) -> Result<Message<'_>, DecryptError> {
    let (header, rest) =
        body.split_at_checked(FIXED_HEADER_BYTES).ok_or(DecryptError::Truncated)?;
    let (salt, sizes) = header.split_at(SALT_BYTES);
    let record_bytes = u32::from_be_bytes([sizes[0], sizes[1], sizes[2], sizes[3]]);
    let (sender, record) =
        rest.split_at_checked(usize::from(sizes[4])).ok_or(DecryptError::Truncated)?;
    if sender.len() != POINT_BYTES || sender[0] != 4 {
        return Err(DecryptError::KeyId);
    }
    if record_bytes < MIN_RECORD_BYTES {
        return Err(DecryptError::RecordSize);
    }
    // A message that is as long as a record would say that another follows, or be cut off.
    if record.len() > record_bytes as usize {
        return Err(DecryptError::SeveralRecords);
    }
    Ok(Message { salt, sender, record })
}

fn expand<const N: usize>(from: &Prk, info: &[u8]) -> Result<[u8; N], Unspecified> {
    let mut out = [0; N];
    from.expand(&[info], Length(N))?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// RFC 8291, appendix A.
    fn example() -> (UserAgentKeys, Vec<u8>) {
        let private = decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
        let private = PrivateKey::from_private_key(&ECDH_P256, &private).unwrap();
        let public = decode(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        let auth = decode("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap();
        let body = decode(
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLoc\
             InmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLV\
             WGNWQexSgSxsj_Qulcy4a-fN",
        );
        (UserAgentKeys { private, public, auth }, body)
    }

    #[test]
    fn the_example_of_the_rfc_is_decrypted() {
        let (keys, body) = example();
        let text = keys.decrypt(&body).unwrap();
        assert_eq!(text, b"When I grow up, I want to be a watermelon");
        let derived = keys.private.compute_public_key().unwrap();
        assert_eq!(derived.as_ref(), keys.public());
    }

    #[test]
    fn each_broken_body_has_its_error() {
        let (keys, body) = example();
        let changed = |at: usize, value: u8| {
            let mut body = body.clone();
            body[at] = value;
            body
        };
        for (body, error) in [
            (body[..20].to_vec(), DecryptError::Truncated),
            (body[..60].to_vec(), DecryptError::Truncated),
            (changed(20, 64), DecryptError::KeyId),
            (changed(21, 2), DecryptError::KeyId),
            (changed(18, 0), DecryptError::RecordSize),
            (changed(0, 0), DecryptError::Record),
            (changed(body.len() - 1, 0), DecryptError::Record),
            (changed(30, 1), DecryptError::Record),
        ] {
            assert_eq!(keys.decrypt(&body), Err(error));
        }
        let mut small = changed(18, 0);
        small[19] = 20;
        assert_eq!(keys.decrypt(&small), Err(DecryptError::SeveralRecords));
    }
}
