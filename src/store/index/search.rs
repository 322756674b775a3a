//! An index of all texts by the trigrams they hold (FTS5).
//!
//! It only ever proposes rows: whether one has the word in it is read from the row itself, by the
//! one definition of folding. So it may name too many, and must never miss one.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::Marks;
use crate::folding::fold;
use crate::limits::SEARCHED_TRIGRAMS;

/// Takes up to `rows` more rows in. To be called in a transaction of each connection.
pub(in super::super) fn extend(
    messages: &Connection,
    index: &Connection,
    marks: &mut Marks,
    rows: usize,
) -> rusqlite::Result<()> {
    marks.searchable_through = put(messages, index, marks.searchable_through, rows)?;
    marks.write(index)
}

/// Indexes up to `rows` texts behind a row, and says which was the last.
pub(super) fn put(messages: &Connection, index: &Connection, after: i64, rows: usize) -> rusqlite::Result<i64> {
    let mut texts = messages
        .prepare_cached("SELECT rowid, text FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT ?2")?;
    let mut texts = texts.query((after, rows as i64))?;
    let mut put = index.prepare_cached("INSERT INTO messages_search (rowid, text) VALUES (?1, ?2)")?;
    let mut last = after;
    while let Some(row) = texts.next()? {
        last = row.get(0)?;
        if let ValueRef::Text(text) | ValueRef::Blob(text) = row.get_ref(1)? {
            put.execute((last, indexed(&fold(&String::from_utf8_lossy(text)))))?;
        }
    }
    Ok(last)
}

/// An FTS5 expression for the rows that may have this folded word in them, or `None` if the word is
/// too short for the index to say anything.
pub(in super::super) fn proposal(folded_word: &str) -> Option<String> {
    let word = indexed(folded_word);
    let starts: Vec<usize> = word.char_indices().map(|(start, _)| start).chain([word.len()]).collect();
    let trigrams = starts.len().checked_sub(3).filter(|count| *count > 0)?;
    // Of a long word, some spread evenly: rows are read again anyway.
    let used = trigrams.min(SEARCHED_TRIGRAMS);
    let mut places: Vec<usize> = (0..used).map(|n| n * (trigrams - 1) / (used - 1).max(1)).collect();
    places.dedup();
    let quoted = |place: usize| format!("\"{}\"", word[starts[place]..starts[place + 3]].replace('"', "\"\""));
    let mut terms: Vec<String> = places.into_iter().map(quoted).collect();
    terms.sort_unstable();
    terms.dedup();
    Some(terms.join(" AND "))
}

/// The index ends a text at U+0000, which therefore stands as U+0001 in it.
fn indexed(folded: &str) -> Cow<'_, str> {
    if folded.contains('\0') { folded.replace('\0', "\u{1}").into() } else { folded.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_proposed_by_its_trigrams() {
        assert_eq!(proposal("ab"), None);
        assert_eq!(proposal("abc").as_deref(), Some("\"abc\""));
        assert_eq!(proposal("ab\"cd").as_deref(), Some("\"\"\"cd\" AND \"ab\"\"\" AND \"b\"\"c\""));
        assert_eq!(proposal("aaaaaa").as_deref(), Some("\"aaa\""));
        assert_eq!(proposal("äöü\0").as_deref(), Some("\"äöü\" AND \"öü\u{1}\""));
        let long = proposal(&"abcdefghij".repeat(400)).unwrap();
        assert!(long.matches(" AND ").count() < SEARCHED_TRIGRAMS, "{long}");
    }
}
