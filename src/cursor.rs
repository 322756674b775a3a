//! A cursor names the place between two messages of the list from which a walk goes on (contract, section 3).
//!
//! It holds the sort key of the message behind which it stands, so it stays right when that message is gone. A
//! key too long for a URL is cut, and the rows on both sides are named beside it, each by its number and a
//! fingerprint: one of the two is enough to go on exactly. Where both are gone, the walk goes on from the first id
//! that begins alike, which may show some messages twice but leaves none out.

use sha2::{Digest, Sha256};

use crate::sort_key::{MessageId, RawText, SortKey};

/// Bytes of a `message_id` that a cursor carries; of a longer one it names the rows on both sides as well.
const MAX_CURSOR_ID_BYTES: usize = 512;

/// A place between two messages.
#[derive(Debug, Clone, PartialEq)]
pub enum Cursor {
    /// Behind this key. Of an id that is there, the row does not matter.
    Behind(SortKey),
    /// Behind a message whose id is too long to travel.
    BehindLong(LongPlace),
}

/// What is known of a place behind a long id.
#[derive(Debug, Clone, PartialEq)]
pub struct LongPlace {
    /// The first key that has the instant and begins with the bytes of the id.
    pub cut: SortKey,
    pub last: Landmark,
    pub next: Landmark,
}

/// A message by its row, and by what tells it from another one in that row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmark {
    pub row: i64,
    fingerprint: u64,
}

impl Landmark {
    fn of(key: &SortKey) -> Self {
        Self { row: key.row, fingerprint: fingerprint(key) }
    }

    /// True if this is the message that stands in the row.
    pub fn is(&self, key: &SortKey) -> bool {
        *self == Self::of(key)
    }
}

fn fingerprint(key: &SortKey) -> u64 {
    let kind = match key.message_id {
        MessageId::Missing => 0,
        MessageId::Text(_) => 1,
        MessageId::Blob(_) => 2,
    };
    let length = (key.instant.0.len() as u64).to_be_bytes();
    let hash = Sha256::new().chain_update(length).chain_update(&key.instant.0).chain_update([kind]);
    let hash: [u8; 32] = hash.chain_update(key.message_id.bytes()).finalize().into();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Cursor {
    /// The place behind the message `last`, before the message `next`.
    pub fn between(last: &SortKey, next: &SortKey) -> Self {
        let cut = |bytes: &[u8]| bytes[..MAX_CURSOR_ID_BYTES].to_vec();
        let message_id = match &last.message_id {
            MessageId::Text(RawText(id)) if id.len() > MAX_CURSOR_ID_BYTES => {
                MessageId::Text(RawText(cut(id)))
            }
            MessageId::Blob(id) if id.len() > MAX_CURSOR_ID_BYTES => MessageId::Blob(cut(id)),
            MessageId::Missing => return Self::Behind(last.clone()),
            _ => return Self::Behind(SortKey { row: i64::MAX, ..last.clone() }),
        };
        Self::BehindLong(LongPlace {
            cut: SortKey { message_id, row: i64::MIN, ..last.clone() },
            last: Landmark::of(last),
            next: Landmark::of(next),
        })
    }

    /// One word for a URL, after percent-encoding.
    pub fn to_text(&self) -> String {
        match self {
            Self::Behind(key) => match plain(key) {
                // The length tells where one ends and the other begins, whatever they hold.
                Some((instant, message_id)) => format!("{}~{instant}{message_id}", instant.len()),
                None => format!("{}~{}", key_to_text(key), key.row),
            },
            Self::BehindLong(LongPlace { cut, last, next }) => format!(
                "{}~{}~{:x}~{}~{:x}",
                key_to_text(cut),
                last.row,
                last.fingerprint,
                next.row,
                next.fingerprint
            ),
        }
    }

    /// `None` for what is no cursor. The form of the version before is read as well, unless it names a row or an id
    /// that may have been another one's.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('~')?;
        if first.starts_with(|first: char| first.is_ascii_digit()) {
            let (instant, message_id) = rest.split_at_checked(first.parse().ok()?)?;
            let message_id = MessageId::Text(message_id.into());
            let key = SortKey { instant: instant.into(), message_id, row: i64::MAX };
            return plain(&key).is_some().then_some(Self::Behind(key));
        }
        let fields: Vec<&str> = text.split('~').collect();
        let [kind, instant, message_id, rest @ ..] = fields.as_slice() else {
            return None;
        };
        let bytes = |text: &str| hex::decode(text).ok();
        let message_id = match *kind {
            "n" if message_id.is_empty() => MessageId::Missing,
            "t" => MessageId::Text(RawText(bytes(message_id)?)),
            "b" => MessageId::Blob(bytes(message_id)?),
            _ => return None,
        };
        let key = |row| Some(SortKey { instant: RawText(bytes(instant)?), message_id, row });
        let landmark = |row: &str, fingerprint: &str| {
            let fingerprint = u64::from_str_radix(fingerprint, 16).ok()?;
            Some(Landmark { row: row.parse().ok()?, fingerprint })
        };
        match rest {
            [row] => Some(Self::Behind(key(row.parse().ok()?)?)),
            [last, last_is, next, next_is] => Some(Self::BehindLong(LongPlace {
                cut: key(i64::MIN)?,
                last: landmark(last, last_is)?,
                next: landmark(next, next_is)?,
            })),
            _ => None,
        }
    }
}

/// Instant and id as they are, where they are ordinary ones. U+FFFD may stand for bytes that were shown as it.
fn plain(key: &SortKey) -> Option<(&str, &str)> {
    let MessageId::Text(RawText(message_id)) = &key.message_id else {
        return None;
    };
    let (instant, message_id) = (str::from_utf8(&key.instant.0).ok()?, str::from_utf8(message_id).ok()?);
    let is_plain = key.row == i64::MAX && !message_id.is_empty();
    (is_plain && ![instant, message_id].iter().any(|text| text.contains('\u{fffd}')))
        .then_some((instant, message_id))
}

fn key_to_text(key: &SortKey) -> String {
    let kind = match key.message_id {
        MessageId::Missing => 'n',
        MessageId::Text(_) => 't',
        MessageId::Blob(_) => 'b',
    };
    format!("{kind}~{}~{}", hex::encode(&key.instant.0), hex::encode(key.message_id.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(message_id: MessageId, row: i64) -> SortKey {
        SortKey { instant: "2025-01-15T1".into(), message_id, row }
    }

    #[test]
    fn every_place_survives_being_text() {
        let text = |bytes: &[u8]| MessageId::Text(RawText(bytes.to_vec()));
        let next = key(text(b"next"), -9);
        let ids = [
            MessageId::Missing,
            text(b""),
            text(b"m1"),
            text("~ 12~é\0\u{fffd}".as_bytes()),
            text(b"\xff~"),
            text(&[b'x'; MAX_CURSOR_ID_BYTES]),
            text(&[b'x'; 5000]),
            MessageId::Blob(Vec::new()),
            MessageId::Blob(b"m1".to_vec()),
            MessageId::Blob(vec![0; 5000]),
        ];
        for id in ids {
            for row in [i64::MIN, -1, 0, 7, i64::MAX] {
                let last = key(id.clone(), row);
                let cursor = Cursor::between(&last, &next);
                let text = cursor.to_text();
                assert!(text.len() < 3 * MAX_CURSOR_ID_BYTES, "{text}");
                assert_eq!(Cursor::parse(&text).as_ref(), Some(&cursor), "{text}");
                match cursor {
                    Cursor::Behind(key) => assert!(key >= last),
                    Cursor::BehindLong(place) => {
                        assert!(place.cut <= last && place.last.is(&last) && place.next.is(&next));
                        assert!(!place.last.is(&next));
                    }
                }
            }
        }
    }

    #[test]
    fn cursors_of_the_version_before_go_on_or_are_refused() {
        let expected = Cursor::Behind(key(MessageId::Text("m1".into()), i64::MAX));
        assert_eq!(Cursor::parse("12~2025-01-15T1m1"), Some(expected));
        // A row that may hold another message by now; no id, or one that could not be shown.
        for refused in ["~17", "12~2025-01-15T1", "12~2025-01-15T1m\u{fffd}"] {
            assert_eq!(Cursor::parse(refused), None, "{refused}");
        }
        let none = [
            "",
            "~",
            "9",
            "99~m1",
            "1~é",
            "n~~",
            "n~~x~1",
            "t~zz~00~1",
            "t~00~00",
            "t~00~00~1~2",
            "x~00~00~1",
        ];
        for none in none {
            assert_eq!(Cursor::parse(none), None, "{none}");
        }
    }
}
