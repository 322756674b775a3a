//! The signature of a webhook is the hex HMAC-SHA256 of its raw body (contract, section 2; RFC 2104).
//!
//! Comparison takes the same time whatever is wrong (`Mac::verify_slice`). A secret never leaves
//! this file: [`Keys`] has no accessor and its `Debug` shows nothing.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Length of an HMAC-SHA256 in hex digits.
const HEX_DIGITS: usize = 64;
/// May stand before them, as GitHub and Meta send it.
const PREFIX: &str = "sha256=";

/// The keys that verify: the current one, and while a secret is being rotated the previous one.
#[derive(Clone)]
pub struct Keys {
    current: HmacSha256,
    previous: Option<HmacSha256>,
}

impl Keys {
    /// `None` when there is no current secret: then nothing can be verified.
    pub fn new(current: &[u8], previous: &[u8]) -> Option<Self> {
        if current.is_empty() {
            return None;
        }
        let previous = if previous.is_empty() { None } else { Some(keyed(previous)) };
        Some(Self { current: keyed(current), previous })
    }

    /// True if `signature`, as it came in the header, is that of `body` under one of the keys.
    /// Upper- or lowercase hex, with or without a leading `sha256=`.
    pub fn verify(&self, body: &[u8], signature: &str) -> bool {
        self.verify_hex(body, without_prefix(signature).unwrap_or(signature))
    }

    /// The same for a header in which the prefix has to stand, as the name of the method.
    pub fn verify_prefixed(&self, body: &[u8], signature: &str) -> bool {
        without_prefix(signature).is_some_and(|hex_digits| self.verify_hex(body, hex_digits))
    }

    fn verify_hex(&self, body: &[u8], hex_digits: &str) -> bool {
        let mut expected = [0_u8; HEX_DIGITS / 2];
        if hex_digits.len() != HEX_DIGITS || hex::decode_to_slice(hex_digits, &mut expected).is_err() {
            return false;
        }
        let matches = |key: &HmacSha256| key.clone().chain_update(body).verify_slice(&expected).is_ok();
        matches(&self.current) || self.previous.as_ref().is_some_and(matches)
    }
}

fn without_prefix(signature: &str) -> Option<&str> {
    let (prefix, rest) = signature.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// The signature of `body` under `secret`, in lowercase hex.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    hex::encode(authenticate(secret, &[body]))
}

/// The HMAC-SHA256 of the concatenated `parts`.
pub fn authenticate(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(keyed(secret), HmacSha256::chain_update).finalize().into_bytes().into()
}

fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("HMAC takes a key of any length (RFC 2104)")
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 4231, test case 2.
    const RFC_SIGNATURE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[test]
    fn signing_agrees_with_rfc_4231() {
        assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), RFC_SIGNATURE);
    }

    #[test]
    fn every_accepted_spelling_verifies_and_nothing_else() {
        let keys = Keys::new(b"Jefe", b"").unwrap();
        let body = b"what do ya want for nothing?";
        assert!(keys.verify(body, RFC_SIGNATURE));
        assert!(keys.verify(body, &RFC_SIGNATURE.to_uppercase()));
        assert!(keys.verify(body, &format!("sha256={RFC_SIGNATURE}")));
        for bad in ["", "sha256=", "zz", &RFC_SIGNATURE[1..], &format!("{RFC_SIGNATURE}0"), &"é".repeat(32)]
        {
            assert!(!keys.verify(body, bad), "{bad}");
        }
        assert!(!keys.verify(b"another body", RFC_SIGNATURE));
        assert!(keys.verify_prefixed(body, &format!("sha256={RFC_SIGNATURE}")));
        for bad in [RFC_SIGNATURE.to_owned(), format!("sha1={RFC_SIGNATURE}"), "sha256=".to_owned()] {
            assert!(!keys.verify_prefixed(body, &bad), "{bad}");
        }
    }

    #[test]
    fn the_previous_secret_still_verifies() {
        let keys = Keys::new(b"new", b"Jefe").unwrap();
        assert!(keys.verify(b"what do ya want for nothing?", RFC_SIGNATURE));
        assert!(keys.verify(b"x", &sign(b"new", b"x")));
        assert!(!keys.verify(b"x", &sign(b"other", b"x")));
    }

    #[test]
    fn without_a_secret_there_are_no_keys() {
        assert!(Keys::new(b"", b"previous").is_none());
    }
}
