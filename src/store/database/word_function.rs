//! The word function searches a text for `q` inside SQLite, so that going through rows stays there.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSqlError, ValueRef};

use crate::folding::Needle;

/// Adds `contains_folded(text, folded_word)`: true if `text` has the word in it, by the one
/// definition of folding. NULL has nothing in it.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("contains_folded", 2, flags, |context| {
        let word = context.get_or_create_aux(1, |word| -> Result<_, FromSqlError> {
            Ok(Needle::of_folded(word.as_str()?.to_owned()))
        })?;
        Ok(match context.get_raw(0) {
            ValueRef::Text(text) | ValueRef::Blob(text) => word.is_in(text),
            _ => false,
        })
    })
}
