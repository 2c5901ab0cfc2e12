//! Encrypts a message for one browser (RFC 8291): one record of `aes128gcm` (RFC 8188).
//!
//! Only the order of the steps is ours; each step is AWS-LC's, which the rest of the tree uses as
//! well. The crate `ece` would do it too, on OpenSSL and under the MPL, neither of which we have.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};
use tidings_core::device::WebPushKeys;

/// What services have to take (RFC 8030, section 7.2).
const MAX_BODY_BYTES: usize = 4_096;

/// Salt, record size, length of the key, key.
const HEADER_BYTES: usize = 16 + 4 + 1 + PUBLIC_KEY_BYTES;

const PUBLIC_KEY_BYTES: usize = 65;

/// The mark of the last record, and the authentication tag.
const TRAILER_BYTES: usize = 1 + 16;

/// The longest plaintext, in bytes: 3,993.
pub(super) const MAX_PLAINTEXT_BYTES: usize = MAX_BODY_BYTES - HEADER_BYTES - TRAILER_BYTES;

/// The browser's key is no point on the curve, or the message is too long.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be encrypted for this subscription")]
pub(super) struct EncryptError;

impl From<Unspecified> for EncryptError {
    fn from(Unspecified: Unspecified) -> Self {
        Self
    }
}

struct Bytes<const N: usize>;

impl<const N: usize> KeyType for Bytes<N> {
    fn len(&self) -> usize {
        N
    }
}

/// Encrypts `plaintext` for the browser with these keys.
pub(super) fn encrypt(keys: &WebPushKeys, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt)?;
    // Made for this message only: who learns it can read this one.
    encrypt_with(keys, plaintext, &PrivateKey::generate(&ECDH_P256)?, salt)
}

fn encrypt_with(
    keys: &WebPushKeys,
    plaintext: &[u8],
    sender: &PrivateKey,
    salt: [u8; 16],
) -> Result<Vec<u8>, EncryptError> {
    if plaintext.len() > MAX_PLAINTEXT_BYTES {
        return Err(EncryptError);
    }
    let sender_public = sender.compute_public_key()?;
    let browser_public = UnparsedPublicKey::new(&ECDH_P256, &keys.p256dh);
    let key_material: [u8; 32] = agree(sender, browser_public, Unspecified, |shared| {
        let info: [&[u8]; 3] = [b"WebPush: info\0", &keys.p256dh, sender_public.as_ref()];
        expand(&Salt::new(HKDF_SHA256, &keys.auth).extract(shared), &info)
    })?;
    let derived = Salt::new(HKDF_SHA256, &salt).extract(&key_material);
    let key: [u8; 16] = expand(&derived, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = expand(&derived, &[b"Content-Encoding: nonce\0"])?;

    let mut body = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TRAILER_BYTES);
    body.extend_from_slice(&salt);
    body.extend_from_slice(&4_096_u32.to_be_bytes());
    body.push(65);
    body.extend_from_slice(sender_public.as_ref());
    let mut record = Vec::with_capacity(plaintext.len() + TRAILER_BYTES);
    record.extend_from_slice(plaintext);
    record.push(2);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    // The nonce is that of the key, which is used once.
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;
    body.extend_from_slice(&record);
    Ok(body)
}

fn expand<const N: usize>(key: &Prk, info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    let mut out = [0; N];
    key.expand(info, Bytes::<N>)?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    fn browser() -> WebPushKeys {
        WebPushKeys {
            p256dh: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIA\
                 iw4",
            ),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
        }
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out_to_the_byte() {
        let sender: [u8; 32] = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let sender = PrivateKey::from_private_key(&ECDH_P256, &sender).unwrap();
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw");
        let plaintext = b"When I grow up, I want to be a watermelon";
        let body = encrypt_with(&browser(), plaintext, &sender, salt).unwrap();
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYW\
             AmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgS\
             xsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_longest_message_makes_the_largest_body_and_no_longer_one_is_taken() {
        assert_eq!(MAX_PLAINTEXT_BYTES, 3_993);
        let body = encrypt(&browser(), &[b'x'; MAX_PLAINTEXT_BYTES]).unwrap();
        assert_eq!(body.len(), 4_096);
        assert!(encrypt(&browser(), &[b'x'; MAX_PLAINTEXT_BYTES + 1]).is_err());
    }

    #[test]
    fn no_two_bodies_are_alike() {
        let body = || encrypt(&browser(), b"the same").unwrap();
        let (one, other) = (body(), body());
        assert_ne!(one[..16], other[..16], "salt");
        assert_ne!(one[21..86], other[21..86], "key");
    }

    #[test]
    fn a_key_that_is_no_point_is_refused() {
        let mut keys = browser();
        keys.p256dh[64] ^= 1;
        assert!(encrypt(&keys, b"x").is_err());
    }
}
