//! An index of all texts by the trigrams they hold (FTS5).
//!
//! It only ever proposes rows: whether one has the word in it is read from the row itself, by the
//! one definition of folding. So it may name too many, and must never miss one.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::Marks;
use crate::folding::fold;
use crate::limits::{SEARCH_SLICE_BYTES, SEARCHED_TRIGRAMS};

/// The text of a row, folded; `None` if it has none.
type Folded = (i64, Option<String>);

/// Takes in what was read from behind the mark. To be called in a transaction.
pub(in super::super) fn extend(
    index: &Connection,
    marks: &mut Marks,
    texts: &[Folded],
) -> rusqlite::Result<()> {
    put(index, texts)?;
    if let Some((last, _)) = texts.last() {
        marks.searchable_through = *last;
        marks.write(index)?;
    }
    Ok(())
}

/// The texts behind a row: up to `rows` of them, and only as many as fit in a few megabytes.
pub(in super::super) fn read(
    messages: &Connection,
    after: i64,
    rows: usize,
) -> rusqlite::Result<Vec<Folded>> {
    let mut statement = messages
        .prepare_cached("SELECT rowid, text FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT ?2")?;
    let mut found = statement.query((after, rows as i64))?;
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let folded = match row.get_ref(1)? {
            ValueRef::Text(text) | ValueRef::Blob(text) => Some(fold(&String::from_utf8_lossy(text))),
            _ => None,
        };
        bytes += folded.as_ref().map_or(0, String::len);
        texts.push((row.get(0)?, folded));
        if bytes >= SEARCH_SLICE_BYTES {
            break;
        }
    }
    Ok(texts)
}

pub(super) fn put(index: &Connection, texts: &[Folded]) -> rusqlite::Result<()> {
    let mut put = index.prepare_cached("INSERT INTO messages_search (rowid, text) VALUES (?1, ?2)")?;
    for (row, text) in texts {
        if let Some(text) = text {
            put.execute((row, indexed(text)))?;
        }
    }
    Ok(())
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
    let quoted =
        |place: usize| format!("\"{}\"", word[starts[place]..starts[place + 3]].replace('"', "\"\""));
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
