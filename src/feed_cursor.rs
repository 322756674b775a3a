//! A feed cursor names the message behind which a consumer goes on, and the history that led there (contract, section 12).
//!
//! Row numbers alone would not do: a store that was put back from a backup gives the same numbers to other messages. So
//! a cursor carries
//!
//! - the store it is of, which `restore` names anew;
//! - the epoch of its position, which is another one where a copy was put back by other means and has taken in more;
//! - some bits of the message's id at its position, for whatever slips through.
//!
//! It does not expire: nothing of it depends on the message being there still.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The first byte of every cursor, so that another form can be told from this one.
const FORM: u8 = 1;
const BYTES: usize = 1 + 8 + 8 + 8 + 4;

/// A place behind a message, or before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeedCursor {
    pub store: i64,
    /// The row number of the message, or [`FeedCursor::BEGINNING`].
    pub position: i64,
    pub epoch: i64,
    /// Of the id of the message ([`fingerprint`]); 0 where none stood there.
    pub fingerprint: u32,
}

impl FeedCursor {
    /// The position before the first message, whatever its number.
    pub const BEGINNING: i64 = i64::MIN;

    /// One word for a URL.
    pub fn to_text(self) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = FORM;
        bytes[1..9].copy_from_slice(&self.store.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.position.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[25..].copy_from_slice(&self.fingerprint.to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for what is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (form, rest) = bytes.split_first()?;
        let (store, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let fingerprint = u32::from_be_bytes(rest.try_into().ok()?);
        (*form == FORM).then_some(Self {
            store: i64::from_be_bytes(*store),
            position: i64::from_be_bytes(*position),
            epoch: i64::from_be_bytes(*epoch),
            fingerprint,
        })
    }
}

/// Some bits of a message's id: whoever has the cursor alone cannot tell the id from them.
pub fn fingerprint(store: i64, message_id: &[u8]) -> u32 {
    let hash: [u8; 32] =
        Sha256::new().chain_update(store.to_be_bytes()).chain_update(message_id).finalize().into();
    hash.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_text_and_nothing_else_is_one() {
        for number in [i64::MIN, -1, 0, 7, i64::MAX] {
            let cursor = FeedCursor {
                store: number,
                position: number.wrapping_mul(3),
                epoch: !number,
                fingerprint: 9,
            };
            let text = cursor.to_text();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            assert_eq!(FeedCursor::parse(&text), Some(cursor));
            for bad in [
                &text[1..],
                &text[..text.len() - 1],
                &format!("{text}A"),
                &format!("{text}="),
                &format!("C{}", &text[1..]),
            ] {
                assert_eq!(FeedCursor::parse(bad), None, "{bad}");
            }
        }
        for bad in ["", "now", "~", "12~2025-01-15T1m1", "é", " ", "AQ"] {
            assert_eq!(FeedCursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_tells_one_message_from_another_and_one_store_from_another() {
        assert_eq!(fingerprint(1, b"m1"), fingerprint(1, b"m1"));
        assert_ne!(fingerprint(1, b"m1"), fingerprint(1, b"m2"));
        assert_ne!(fingerprint(1, b"m1"), fingerprint(2, b"m1"));
    }
}
