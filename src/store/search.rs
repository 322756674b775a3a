//! The search for `q` as an SQL function, so that a scan stays inside SQLite.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::folding::contains_folded;

/// Adds `contains_folded(text, folded_word)`: true if `text` has the word in it, by the one
/// definition of folding. NULL has nothing in it.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("contains_folded", 2, flags, |context| {
        let word = context.get_raw(1).as_str()?;
        Ok(match context.get_raw(0) {
            // Old files may hold bytes that are not UTF-8: they are shown, and so searched, lossily.
            ValueRef::Text(text) | ValueRef::Blob(text) => {
                contains_folded(&String::from_utf8_lossy(text), word)
            }
            _ => false,
        })
    })
}
