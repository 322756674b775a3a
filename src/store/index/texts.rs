//! Folded texts stand side by side in blocks, so that a word in many messages is found without a look at their rows.
//!
//! - A block holds the texts of [`ROWS`] row numbers that follow each other, in their order. Between two row numbers
//!   stands a separator, a byte that no UTF-8 has, so the separators before a word tell which row it is in.
//! - There is one wherever such rows have a text, up to the watermark of the search index, and none behind it
//!   ([`covered_before`]). Where one of its rows changes, a block is made anew of all of them.
//! - Texts too long to be held in memory together are not kept: of such a block the rows are read.

use std::ops::RangeInclusive;

use memchr::memchr_iter;
use memchr::memmem::Finder;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::first_behind;
use crate::folding::{Needle, fold};

/// Rows of a block: fewer take longer to go through, and of more a change writes more.
pub const ROWS: i64 = 1 << ROWS_LOG2;
const ROWS_LOG2: u32 = 6;
/// Bytes of a block that is kept. The longest texts that the contract allows fit.
const MAX_BLOCK_BYTES: usize = (1 << 20) + ROWS as usize;
/// What stands between two texts.
const SEPARATOR: u8 = 0xff;

/// The text of a row, folded; `None` if it has none.
pub type FoldedText = (i64, Option<String>);

/// Reads the row number and the text from the first two columns, the text as [`TEXT`] gives it.
pub fn folded(row: &Row<'_>) -> rusqlite::Result<FoldedText> {
    let folded = match row.get_ref(1)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(fold(&String::from_utf8_lossy(text))),
        _ => None,
    };
    Ok((row.get(0)?, folded))
}

/// The text of a message as it is searched, whatever stands in the column.
pub const TEXT: &str = "CAST(m.text AS BLOB)";

/// The first row that no block covers, given the watermark of the search index.
pub fn covered_before(watermark: Option<i64>) -> i64 {
    first_row(block_of(first_behind(watermark)))
}

fn block_of(row: i64) -> i64 {
    row >> ROWS_LOG2
}

fn first_row(block: i64) -> i64 {
    block << ROWS_LOG2
}

fn last_row(block: i64) -> i64 {
    first_row(block) + (ROWS - 1)
}

/// The texts of one block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    number: i64,
    /// `None` if they are too long.
    texts: Option<Vec<u8>>,
    separators: i64,
}

impl Block {
    fn new(number: i64) -> Self {
        Self { number, texts: Some(Vec::new()), separators: 0 }
    }

    fn put(&mut self, row: i64, text: &str) {
        let Some(texts) = &mut self.texts else {
            return;
        };
        let before = row - first_row(self.number);
        texts.resize(texts.len() + (before - self.separators) as usize, SEPARATOR);
        self.separators = before;
        texts.extend_from_slice(text.as_bytes());
        if texts.len() > MAX_BLOCK_BYTES {
            self.texts = None;
        }
    }
}

/// The blocks that texts make, given in the order of their rows.
#[derive(Default)]
pub struct Blocks(Vec<Block>);

impl Blocks {
    pub fn put(&mut self, (row, text): &FoldedText) {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
            return;
        };
        if self.0.last().is_none_or(|last| last.number != block_of(*row)) {
            self.0.push(Block::new(block_of(*row)));
        }
        if let Some(last) = self.0.last_mut() {
            last.put(*row, text);
        }
    }

    /// Those that are whole when every row up to this one has been seen.
    pub fn whole(mut self, through: i64) -> Vec<Block> {
        self.0.pop_if(|last| last_row(last.number) > through);
        self.0
    }
}

/// Keeps blocks, in the place of those that are there.
pub fn keep(index: &Connection, blocks: &[Block]) -> rusqlite::Result<()> {
    let mut put =
        index.prepare_cached("INSERT OR REPLACE INTO messages_texts (block, texts) VALUES (?1, ?2)")?;
    blocks.iter().try_for_each(|block| put.execute((block.number, &block.texts)).map(drop))
}

/// Lets go of what a watermark that was lowered does not cover any more.
pub(super) fn cut(index: &Connection, watermark: Option<i64>) -> rusqlite::Result<()> {
    let mut cut = index.prepare_cached("DELETE FROM messages_texts WHERE block >= ?1")?;
    cut.execute([block_of(covered_before(watermark))]).map(drop)
}

/// Makes the blocks anew in which these rows lie, of the messages as they are now.
pub(super) fn renew(
    messages: &Connection,
    index: &Connection,
    watermark: Option<i64>,
    rows: impl Iterator<Item = i64>,
) -> rusqlite::Result<()> {
    let mut numbers: Vec<i64> = rows.filter(|row| *row < covered_before(watermark)).map(block_of).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut delete = index.prepare_cached("DELETE FROM messages_texts WHERE block = ?1")?;
    for number in numbers {
        let blocks = of_rows(messages, first_row(number), last_row(number))?;
        delete.execute([number])?;
        keep(index, &blocks)?;
    }
    Ok(())
}

/// The blocks that the messages in whole blocks of rows make.
fn of_rows(messages: &Connection, from: i64, through: i64) -> rusqlite::Result<Vec<Block>> {
    let mut statement = messages.prepare_cached(&format!(
        "SELECT m.rowid, {TEXT} FROM messages AS m WHERE m.rowid BETWEEN ?1 AND ?2 ORDER BY m.rowid"
    ))?;
    let mut blocks = Blocks::default();
    let mut rows = statement.query((from, through))?;
    while let Some(row) = rows.next()? {
        blocks.put(&folded(row)?);
    }
    Ok(blocks.whole(through))
}

/// Goes through the rows from `from` on that have a word in their text: those that blocks cover, given the watermark
/// of the search index, then the others. Gives the last row that was looked at.
pub fn search(
    connection: &Connection,
    word: &Needle,
    from: i64,
    watermark: Option<i64>,
    mut found: impl FnMut(i64),
) -> rusqlite::Result<Option<i64>> {
    let finder = Finder::new(word.as_str());
    let mut statement = connection
        .prepare_cached("SELECT block, texts FROM messages_texts WHERE block >= ?1 ORDER BY block")?;
    let mut blocks = statement.query([block_of(from)])?;
    while let Some(block) = blocks.next()? {
        let number = block.get(0)?;
        let rows = first_row(number).max(from)..=last_row(number);
        match block.get_ref(1)? {
            ValueRef::Blob(texts) => search_block(texts, &finder, |at| {
                let row = first_row(number) + at;
                if rows.contains(&row) {
                    found(row);
                }
            }),
            _ => search_rows(connection, word, rows, &mut found).map(drop)?,
        }
    }
    let behind = covered_before(watermark).max(from);
    let last = search_rows(connection, word, behind..=i64::MAX, &mut found)?;
    Ok(last.or(behind.checked_sub(1)))
}

/// The places in a block of the texts that have the word in them.
fn search_block(texts: &[u8], finder: &Finder<'_>, mut found: impl FnMut(i64)) {
    let (mut rest, mut place) = (texts, 0);
    while let Some(at) = finder.find(rest) {
        place += memchr_iter(SEPARATOR, &rest[..at]).count() as i64;
        found(place);
        let Some(end) = memchr::memchr(SEPARATOR, &rest[at..]) else {
            return;
        };
        rest = &rest[at + end..];
    }
}

/// Gives the last row that was looked at.
fn search_rows(
    messages: &Connection,
    word: &Needle,
    rows: RangeInclusive<i64>,
    found: &mut impl FnMut(i64),
) -> rusqlite::Result<Option<i64>> {
    let mut statement = messages.prepare_cached(&format!(
        "SELECT m.rowid, {TEXT} FROM messages AS m WHERE m.rowid BETWEEN ?1 AND ?2 ORDER BY m.rowid"
    ))?;
    let mut rows = statement.query((rows.start(), rows.end()))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        if let (ValueRef::Blob(text), Some(row)) = (row.get_ref(1)?, last)
            && word.is_in(text)
        {
            found(row);
        }
    }
    Ok(last)
}

/// True if the message in a row has a word in its text.
pub fn has_word(messages: &Connection, word: &Needle, row: i64) -> rusqlite::Result<bool> {
    let mut has_word = false;
    search_rows(messages, word, row..=row, &mut |_| has_word = true)?;
    Ok(has_word)
}

/// How many blocks are not what their rows make them, or are missing, or should not be there.
pub fn faults(connection: &Connection, watermark: Option<i64>) -> rusqlite::Result<u64> {
    let mut kept = connection.prepare("SELECT block, texts FROM messages_texts ORDER BY block")?;
    let mut kept = kept.query([])?;
    let (mut there, mut wrong) = (0, 0);
    while let Some(block) = kept.next()? {
        let (number, texts): (i64, Option<Vec<u8>>) = (block.get(0)?, block.get(1)?);
        let made = of_rows(connection, first_row(number), last_row(number))?;
        let should_be = made.first().filter(|_| last_row(number) < covered_before(watermark));
        there += u64::from(should_be.is_some());
        wrong += u64::from(should_be.is_none_or(|made| made.texts != texts));
    }
    let sql = format!(
        "SELECT COUNT(DISTINCT m.rowid >> {ROWS_LOG2}) FROM messages AS m \
         WHERE m.rowid < ?1 AND octet_length({TEXT}) > 0"
    );
    let expected: i64 = connection.query_row(&sql, [covered_before(watermark)], |row| row.get(0))?;
    Ok(wrong + expected.unsigned_abs().saturating_sub(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(texts: &[(i64, &str)], through: i64) -> Vec<Block> {
        let mut blocks = Blocks::default();
        texts.iter().for_each(|(row, text)| blocks.put(&(*row, Some((*text).to_owned()))));
        blocks.whole(through)
    }

    #[test]
    fn the_place_of_a_word_is_its_row() {
        let texts =
            [(-3, "abc ab"), (-1, "b"), (0, "ab"), (1, "xé"), (2, ""), (63, "abab"), (64, "a"), (65, "b")];
        for (word, expected) in [
            ("ab", vec![-3, 0, 63]),
            ("b", vec![-3, -1, 0, 63, 65]),
            ("é", vec![1]),
            ("ba", vec![63]),
            ("aa", vec![]),
        ] {
            let mut found = Vec::new();
            for block in made(&texts, 127) {
                let finder = Finder::new(word);
                let first = first_row(block.number);
                search_block(block.texts.as_ref().unwrap(), &finder, |at| found.push(first + at));
            }
            assert_eq!(found, expected, "{word}");
        }
    }

    #[test]
    fn blocks_are_kept_when_they_are_whole() {
        let numbers = |through| -> Vec<i64> {
            made(&[(-65, "a"), (3, "a"), (63, "a"), (64, "a")], through)
                .iter()
                .map(|block| block.number)
                .collect()
        };
        assert_eq!((numbers(64), numbers(126), numbers(127)), (vec![-2, 0], vec![-2, 0], vec![-2, 0, 1]));
        for (watermark, before) in
            [(None, i64::MIN), (Some(-1), 0), (Some(62), 0), (Some(63), 64), (Some(-2), -64), (Some(64), 64)]
        {
            assert_eq!(covered_before(watermark), before, "{watermark:?}");
        }
        let largest = covered_before(Some(i64::MAX - 1));
        assert_eq!((block_of(largest), last_row(block_of(i64::MAX))), (block_of(i64::MAX), i64::MAX));
    }

    #[test]
    fn texts_that_are_too_long_together_are_not_kept() {
        let longest = "x".repeat(MAX_BLOCK_BYTES - 1);
        let texts = |texts: &[(i64, &str)]| made(texts, 63)[0].texts.as_ref().map(Vec::len);
        assert_eq!(texts(&[(1, &longest)]), Some(MAX_BLOCK_BYTES));
        assert_eq!(texts(&[(2, &longest)]), None);
        assert_eq!(texts(&[(1, &longest), (2, "a"), (3, "b")]), None);
    }
}
