//! The sort key of a message is its place in the one total order that every list follows, as does every
//! cursor.
//!
//! The order is by instant, then by id bytewise, as the contract says (section 3). Old files, and people with
//! sqlite3, have ids that are NULL, BLOBs or not UTF-8; those have their places too: no id comes before every
//! text, a BLOB behind every text, each compared byte by byte, as SQLite itself orders values. Ids that are there
//! are unique; messages without one are told apart by their row numbers. So no two keys are equal, and a walk
//! that goes on behind a key neither stands still nor leaves one out.
//!
//! `store::database::sort_columns` says the same in SQL.

/// Text as a database holds it: bytes that are UTF-8 unless somebody saw to it that they are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawText(pub Vec<u8>);

impl From<&str> for RawText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// What stands in the column `message_id`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageId {
    /// NULL.
    #[default]
    Missing,
    Text(RawText),
    Blob(Vec<u8>),
}

impl MessageId {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Missing => &[],
            Self::Text(RawText(bytes)) | Self::Blob(bytes) => bytes,
        }
    }
}

/// The place of a message in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey {
    /// What [`crate::timestamp::InstantKey`] makes of the column `ts`.
    pub instant: RawText,
    pub message_id: MessageId,
    /// The number of the row.
    pub row: i64,
}

impl SortKey {
    /// Nothing at that instant or later sorts before it.
    pub fn first_at(instant: &str) -> Self {
        Self { instant: instant.into(), ..Self::default() }
    }

    /// Nothing sorts between a key and this one.
    pub fn successor(mut self) -> Self {
        if let Some(row) = self.row.checked_add(1) {
            return Self { row, ..self };
        }
        match &mut self.message_id {
            MessageId::Missing => self.message_id = MessageId::Text(RawText::default()),
            MessageId::Text(RawText(bytes)) | MessageId::Blob(bytes) => bytes.push(0),
        }
        Self { row: i64::MIN, ..self }
    }
}

/// Nothing sorts before the default.
impl Default for SortKey {
    fn default() -> Self {
        Self { instant: RawText::default(), message_id: MessageId::Missing, row: i64::MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_id_has_a_place_of_its_own() {
        let key =
            |instant: &str, message_id: MessageId, row| SortKey { instant: instant.into(), message_id, row };
        let text = |bytes: &[u8]| MessageId::Text(RawText(bytes.to_vec()));
        let ascending = [
            SortKey::default(),
            key("", MessageId::Missing, -5),
            key("2025-01-15T1", MessageId::Missing, 1),
            key("2025-01-15T1", MessageId::Missing, 2),
            key("2025-01-15T1", text(b""), i64::MIN),
            key("2025-01-15T1", text(b"a"), 9),
            key("2025-01-15T1", text(b"a\xff"), 3),
            key("2025-01-15T1", text("b".as_bytes()), 1),
            key("2025-01-15T1", MessageId::Blob(Vec::new()), 7),
            key("2025-01-15T1", MessageId::Blob(b"a".to_vec()), 1),
            key("2025-01-15T2", MessageId::Missing, 1),
        ];
        assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ascending.windows(2).all(|pair| pair[0].clone().successor() <= pair[1]));
        let last_row = SortKey { row: i64::MAX, ..ascending[5].clone() };
        let next = key("2025-01-15T1", text(b"a\0"), i64::MIN);
        assert!(last_row < next && last_row.successor() == next);
    }
}
