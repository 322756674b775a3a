//! The search index finds texts by the trigrams that they hold (FTS5).
//!
//! It only ever proposes rows: whether one has the word in it is read from the row itself, by the
//! one definition of folding. So it may name too many, and must never miss one.

use std::borrow::Cow;
use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension};

use super::texts::{self, Block, Blocks, FoldedText, TEXT, folded};
use super::{Watermarks, first_behind};
use crate::folding::rarity;

/// Trigrams of a searched word that are looked up in the index.
const SEARCHED_TRIGRAMS: usize = 12;
/// Bytes of texts indexed at once, however few they are.
const SEARCH_SLICE_BYTES: usize = 1 << 20;

/// What is taken in at once.
pub struct SearchSlice {
    /// Of the rows behind the watermark.
    texts: Vec<FoldedText>,
    /// Those that are whole with these rows.
    blocks: Vec<Block>,
}

/// Takes in what was read from behind the watermark. To be called in a transaction.
pub fn extend(index: &Connection, watermarks: &mut Watermarks, slice: &SearchSlice) -> rusqlite::Result<()> {
    put(index, &slice.texts)?;
    if let Some((last, _)) = slice.texts.last() {
        texts::keep(index, &slice.blocks)?;
        watermarks.searchable_through = Some(*last);
        watermarks.write(index)?;
    }
    Ok(())
}

/// The texts behind a watermark: up to `rows` of them, and only as many as fit in a few megabytes.
pub fn read(messages: &Connection, watermark: Option<i64>, rows: usize) -> rusqlite::Result<SearchSlice> {
    let mut statement = messages.prepare_cached(&format!(
        "SELECT m.rowid, {TEXT} FROM messages AS m WHERE m.rowid >= ?1 ORDER BY m.rowid"
    ))?;
    // The block at the watermark is not whole yet: what is in front of that belongs to it as well.
    let mut found = statement.query([texts::covered_before(watermark)])?;
    let (mut texts, mut blocks, mut bytes) = (Vec::new(), Blocks::default(), 0);
    while texts.len() < rows
        && bytes < SEARCH_SLICE_BYTES
        && let Some(row) = found.next()?
    {
        let text = folded(row)?;
        blocks.put(&text);
        if text.0 >= first_behind(watermark) {
            bytes += text.1.as_ref().map_or(0, String::len);
            texts.push(text);
        }
    }
    let blocks = texts.last().map_or_else(Vec::new, |(last, _)| blocks.whole(*last));
    Ok(SearchSlice { texts, blocks })
}

/// The text of the message in a row, if there is one.
pub(super) fn read_row(messages: &Connection, row: i64) -> rusqlite::Result<Option<FoldedText>> {
    messages
        .prepare_cached(&format!("SELECT m.rowid, {TEXT} FROM messages AS m WHERE m.rowid = ?1"))?
        .query_row([row], folded)
        .optional()
}

/// Lets go of the text of a row, if it is known.
pub(super) fn take_out(index: &Connection, row: i64) -> rusqlite::Result<()> {
    index.prepare_cached("DELETE FROM messages_search WHERE rowid = ?1")?.execute([row])?;
    Ok(())
}

pub(super) fn put(index: &Connection, texts: &[FoldedText]) -> rusqlite::Result<()> {
    let mut put = index.prepare_cached("INSERT INTO messages_search (rowid, text) VALUES (?1, ?2)")?;
    for (row, text) in texts {
        if let Some(text) = text {
            put.execute((row, indexed(text)))?;
        }
    }
    Ok(())
}

/// What to ask the index for a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// FTS5 expressions for trigrams of the word, the one that is likely to be rarest first: every
    /// row that has the word in it has each of them.
    pub trigrams: Vec<String>,
}

impl Question {
    /// For a folded word. `None` if it is too short for the index to say anything.
    pub fn new(folded_word: &str) -> Option<Self> {
        let word = indexed(folded_word);
        let starts: Vec<usize> = word.char_indices().map(|(start, _)| start).chain([word.len()]).collect();
        let count = starts.len().checked_sub(3).filter(|count| *count > 0)?;
        let mut trigrams: Vec<&str> = (0..count).map(|n| &word[starts[n]..starts[n + 3]]).collect();
        trigrams.sort_unstable();
        trigrams.dedup();
        trigrams.sort_by_key(|trigram| Reverse(trigram.bytes().map(|byte| rarity(byte) as u32).sum::<u32>()));
        // Rows are read again anyway.
        trigrams.truncate(SEARCHED_TRIGRAMS);
        let quoted = |trigram: &str| format!("\"{}\"", trigram.replace('"', "\"\""));
        Some(Self { trigrams: trigrams.into_iter().map(quoted).collect() })
    }

    /// An FTS5 expression for all of them together.
    pub fn all(&self) -> String {
        self.trigrams.join(" AND ")
    }
}

/// The index ends a text at U+0000, which therefore stands as U+0001 in it.
fn indexed(folded: &str) -> Cow<'_, str> {
    if folded.contains('\0') { folded.replace('\0', "\u{1}").into() } else { folded.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_asked_for_by_its_trigrams() {
        let all = |word: &str| Question::new(word).map(|question| question.all());
        assert_eq!(all("ab"), None);
        assert_eq!(all("abc").as_deref(), Some("\"abc\""));
        assert_eq!(all("ab\"c").as_deref(), Some("\"b\"\"c\" AND \"ab\"\"\""));
        assert_eq!(all("aaaaaa").as_deref(), Some("\"aaa\""));
        assert_eq!(all("äöü\0").as_deref(), Some("\"äöü\" AND \"öü\u{1}\""));
        assert!(all("eeezzz").is_some_and(|all| all.starts_with("\"zzz\"")));
        let long = Question::new(&"abcdefghij".repeat(400)).unwrap();
        assert!(long.trigrams.len() <= SEARCHED_TRIGRAMS, "{long:?}");
    }
}
