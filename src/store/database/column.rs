//! A column is read as what stands in it, whoever wrote it.

use rusqlite::Row;
use rusqlite::types::ValueRef;

/// A column as text. Files of earlier implementations may hold anything; what is no text is shown
/// as SQLite would write it.
pub fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
    })
}
