//! An export of items reads what WhatsApp sent in the order in which it arrived, a slice at a time.
//!
//! Each slice is a snapshot of its own, as for messages ([`super::export`]).

use super::export::ExportSource;
use super::{ITEMS_SLICE, SLICE_BYTES, items};
use crate::store::database::database_path::DatabasePath;
use crate::store::database::open_error::OpenError;

/// An item as it is kept.
pub struct StoredItem {
    /// Rises with every item.
    pub number: i64,
    /// `message`, `status` or `other`.
    pub kind: String,
    /// Of the element, where it has one.
    pub id: Option<String>,
    pub created_at: String,
    /// `None` where there is nothing to be mapped.
    pub is_mapped: Option<bool>,
    /// The bytes as they came.
    pub original: Vec<u8>,
}

/// An export on its way.
pub struct ItemExport {
    source: ExportSource,
    only_unmapped: bool,
    /// The last item that was read, and the last one that was there when it began. `None` when there are no more.
    left: Option<(i64, i64)>,
}

impl ItemExport {
    /// Of the database at `path`, whoever is using it.
    pub fn open(path: &DatabasePath, only_unmapped: bool) -> Result<Self, OpenError> {
        let source = ExportSource::open(path)?;
        let last = items::last(&source.connection).map_err(|error| source.failed(&error))?;
        Ok(Self { source, only_unmapped, left: last.map(|last| (i64::MIN, last)) })
    }

    /// The next items. `None` when there are no more.
    pub fn next_slice(&mut self) -> Result<Option<Vec<StoredItem>>, OpenError> {
        self.slice().map_err(|error| self.source.failed(&error))
    }

    fn slice(&mut self) -> rusqlite::Result<Option<Vec<StoredItem>>> {
        let Some((after, last)) = self.left else {
            return Ok(None);
        };
        let unmapped = if self.only_unmapped { "AND mapping = 'unmapped'" } else { "" };
        let mut statement = self.source.connection.prepare_cached(&format!(
            "SELECT item, kind, message_id, created_at, mapping, CAST(original AS BLOB) FROM messages_items \
             WHERE item > ?1 AND item <= ?2 {unmapped} ORDER BY item LIMIT ?3"
        ))?;
        let mut rows = statement.query((after, last, ITEMS_SLICE as i64))?;
        let (mut slice, mut bytes) = (Vec::new(), 0);
        while bytes < SLICE_BYTES
            && let Some(row) = rows.next()?
        {
            let mapping: String = row.get(4)?;
            let item = StoredItem {
                number: row.get(0)?,
                kind: row.get(1)?,
                id: row.get(2)?,
                created_at: row.get(3)?,
                is_mapped: (mapping != "none").then(|| mapping == "mapped"),
                original: row.get(5)?,
            };
            bytes += item.original.len();
            slice.push(item);
        }
        self.left = slice.last().map(|item: &StoredItem| (item.number, last));
        Ok(self.left.map(|_| slice))
    }
}
