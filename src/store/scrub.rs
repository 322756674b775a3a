//! What SQLite leaves behind in places that hold nothing now, overwritten with zeros.
//!
//! `secure_delete` zeroes what is deleted where it stood. It knows nothing of pages that were freed
//! without it, nor of copies: a row that once moved to make room leaves itself behind in the unused part
//! of its old page. So all pages are looked at, through SQLite's own pager (sqlite.org/dbpage.html) and so
//! inside transactions, and what is unused by their own account (sqlite.org/fileformat2.html) is zeroed:
//!
//! - in a page of a tree, the gap before the cells and the inside of free blocks
//! - on the last page of a long row, what is behind its end
//! - pages of the freelist
//!
//! A page that is not as expected is left alone: whoever reads it next will say that it is damaged.

mod page;

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension};

use page::{TreePage, u32_at};

/// What is gone through in slices.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The tree of a table or an index, by its root.
    Tree(u32),
    Freelist,
}

pub(super) fn parts(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    // Those of the schema itself are on the first page.
    let mut roots =
        connection.prepare("SELECT 1 UNION SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")?;
    let mut parts: Vec<Part> =
        roots.query_map([], |row| row.get(0).map(Part::Tree))?.collect::<rusqlite::Result<_>>()?;
    parts.push(Part::Freelist);
    Ok(parts)
}

/// Scrubs one slice of a part, some hundred pages, in the transaction that is open. Slices are counted from the end,
/// so that what is added there between two of them puts none out of its turn. Gives the number of pages that
/// were written, or `None` behind the last slice.
pub(super) fn slice(connection: &Connection, part: Part, number: usize) -> rusqlite::Result<Option<u64>> {
    let file = File::open(connection)?;
    match part {
        Part::Tree(root) => {
            let parents = file.parents_of_leaves(root)?;
            let Some(parent) = parents.len().checked_sub(number + 1).map(|place| parents[place]) else {
                return Ok(None);
            };
            let mut written = file.scrub_tree_page(parent)?;
            for child in file.children(parent)? {
                written += file.scrub_tree_page(child)?;
            }
            if number == 0 {
                for above in file.above_parents(root)? {
                    written += file.scrub_tree_page(above)?;
                }
            }
            Ok(Some(written))
        }
        Part::Freelist => {
            let trunks = file.trunks()?;
            let Some(trunk) = trunks.len().checked_sub(number + 1).map(|place| trunks[place]) else {
                return Ok(None);
            };
            file.scrub_trunk(trunk).map(Some)
        }
    }
}

/// SQLite takes a deeper tree for damaged (BTCURSOR_MAX_DEPTH).
const DEEPEST_TREE: usize = 20;

/// The database, page by page.
struct File<'a> {
    connection: &'a Connection,
    /// Bytes of a page that may be used.
    usable: usize,
}

impl<'a> File<'a> {
    fn open(connection: &'a Connection) -> rusqlite::Result<Self> {
        let mut file = Self { connection, usable: 0 };
        if let Some(first) = file.read(1)? {
            file.usable = first.len().saturating_sub(usize::from(first.get(20).copied().unwrap_or(0)));
        }
        Ok(file)
    }

    fn read(&self, page: u32) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement =
            self.connection.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        statement.query_row([page], |row| row.get(0)).optional()
    }

    /// Zeroes parts of a page that holds something there. Gives the number of pages written.
    fn zero(&self, page: u32, mut bytes: Vec<u8>, parts: &[Range<usize>]) -> rusqlite::Result<u64> {
        let mut is_dirty = false;
        for part in parts {
            if let Some(part) = bytes.get_mut(part.clone())
                && part.iter().any(|byte| *byte != 0)
            {
                part.fill(0);
                is_dirty = true;
            }
        }
        if is_dirty {
            let mut statement =
                self.connection.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?;
            statement.execute((page, bytes))?;
        }
        Ok(u64::from(is_dirty))
    }

    fn tree_page(&self, page: u32) -> rusqlite::Result<Option<TreePage>> {
        Ok(self.read(page)?.and_then(|bytes| TreePage::parse(page, bytes, self.usable)))
    }

    fn children(&self, page: u32) -> rusqlite::Result<Vec<u32>> {
        Ok(self.tree_page(page)?.map(|page| page.children()).unwrap_or_default())
    }

    /// The pages right above the leaves; the root itself if it is a leaf.
    fn parents_of_leaves(&self, root: u32) -> rusqlite::Result<Vec<u32>> {
        let mut level = vec![root];
        for _ in 0..DEEPEST_TREE {
            let below = level.first().map_or(Ok(Vec::new()), |first| self.children(*first))?;
            let has_leaves_below = match below.first() {
                Some(first) => self.children(*first)?.is_empty(),
                None => true,
            };
            if has_leaves_below {
                return Ok(level);
            }
            level = self.all_children(&level)?;
        }
        Ok(Vec::new())
    }

    /// The pages from the root down to those that are right above the parents of leaves.
    fn above_parents(&self, root: u32) -> rusqlite::Result<Vec<u32>> {
        let parents = self.parents_of_leaves(root)?;
        let (mut above, mut level) = (Vec::new(), vec![root]);
        while level != parents && !level.is_empty() {
            above.extend(&level);
            level = self.all_children(&level)?;
        }
        Ok(above)
    }

    fn all_children(&self, level: &[u32]) -> rusqlite::Result<Vec<u32>> {
        let mut below = Vec::new();
        for page in level {
            below.extend(self.children(*page)?);
        }
        Ok(below)
    }

    fn scrub_tree_page(&self, page: u32) -> rusqlite::Result<u64> {
        let Some(tree_page) = self.tree_page(page)? else {
            return Ok(0);
        };
        let mut written = 0;
        for (first, length) in tree_page.overflows() {
            written += self.scrub_end(first, length)?;
        }
        let unused = tree_page.unused();
        Ok(written + self.zero(page, tree_page.bytes, &unused)?)
    }

    /// Zeroes what is behind the end of a row that goes on over `length` bytes from a page on.
    fn scrub_end(&self, first: u32, mut length: usize) -> rusqlite::Result<u64> {
        let mut page = first;
        loop {
            let Some(bytes) = self.read(page)? else {
                return Ok(0);
            };
            let held = self.usable - 4;
            if length <= held {
                let parts = 4 + length..bytes.len();
                return self.zero(page, bytes, &[parts]);
            }
            length -= held;
            page = u32_at(&bytes, 0).unwrap_or(0);
        }
    }

    /// The pages that name the other free pages, from the first on.
    fn trunks(&self) -> rusqlite::Result<Vec<u32>> {
        let mut trunks = Vec::new();
        let first = self.read(1)?.unwrap_or_default();
        let (mut next, free) = (u32_at(&first, 32).unwrap_or(0), u32_at(&first, 36).unwrap_or(0) as usize);
        while next != 0 && trunks.len() < free {
            trunks.push(next);
            next = self.read(next)?.and_then(|trunk| u32_at(&trunk, 0)).unwrap_or(0);
        }
        Ok(trunks)
    }

    fn scrub_trunk(&self, trunk: u32) -> rusqlite::Result<u64> {
        let Some(bytes) = self.read(trunk)? else {
            return Ok(0);
        };
        let count = u32_at(&bytes, 4).unwrap_or(0) as usize;
        let mut written = 0;
        for leaf in (0..count).map_while(|n| u32_at(&bytes, 8 + 4 * n)) {
            if let Some(free) = self.read(leaf)? {
                let all = 0..free.len();
                written += self.zero(leaf, free, &[all])?;
            }
        }
        let unused = 8 + 4 * count..bytes.len();
        Ok(written + self.zero(trunk, bytes, &[unused])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(connection: &Connection) -> u64 {
        let mut written = 0;
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for part in parts(connection).unwrap() {
            let mut number = 0;
            while let Some(pages) = slice(connection, part, number).unwrap() {
                written += pages;
                number += 1;
            }
        }
        connection.execute_batch("COMMIT").unwrap();
        written
    }

    fn content(connection: &Connection) -> Vec<(String, String)> {
        let mut statement = connection.prepare("SELECT id, text FROM rows ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Rows of every length come and go without being overwritten; of those that are gone no byte is left, and
    /// those that are there are as they were.
    #[test]
    fn nothing_is_left_of_what_is_gone_and_everything_of_what_is_there() {
        for page_size in [512, 4096, 65_536] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("some.db");
            let connection = Connection::open(&path).unwrap();
            connection
                .execute_batch(&format!(
                    "PRAGMA page_size = {page_size}; PRAGMA secure_delete = OFF; PRAGMA synchronous = OFF;
                     CREATE TABLE rows (id TEXT PRIMARY KEY, text TEXT);
                     CREATE TABLE keys (id TEXT PRIMARY KEY) WITHOUT ROWID"
                ))
                .unwrap();
            for round in 0..6 {
                connection
                    .execute_batch(&format!(
                        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
                         INSERT INTO rows SELECT hex(randomblob(6)) || iif(i % 3, 'gone', 'kept') || {round},
                            replace(hex(zeroblob(abs(random()) % iif(i % 50, 90, 9000))), '00', iif(i % 3, 'GONE', 'kept'))
                            FROM n;
                         INSERT OR IGNORE INTO keys SELECT id || text FROM rows WHERE length(text) < 600 AND random() % 2;
                         UPDATE rows SET text = text || 'kept' WHERE id LIKE '%kept%' AND random() % 3 = 0;
                         DELETE FROM rows WHERE id LIKE '%gone%' AND random() % 2;
                         DELETE FROM keys WHERE id LIKE '%gone%' OR random() % 2"
                    ))
                    .unwrap();
            }
            connection.execute_batch("DELETE FROM rows WHERE id LIKE '%gone%'").unwrap();
            let before = content(&connection);
            assert!(
                std::fs::read(&path).unwrap().windows(4).any(|bytes| bytes.eq_ignore_ascii_case(b"gone"))
            );
            assert!(scrub(&connection) > 0);
            assert_eq!(scrub(&connection), 0, "once is enough");
            assert_eq!(content(&connection), before);
            let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
            let file = std::fs::read(&path).unwrap();
            let left = file.windows(4).position(|bytes| bytes.eq_ignore_ascii_case(b"gone"));
            assert_eq!(left, None, "of {} bytes with pages of {page_size}", file.len());
            // It can go on as if nothing had been done.
            connection
                .execute_batch("INSERT INTO rows SELECT id || 'again', text FROM rows; DELETE FROM keys")
                .unwrap();
            let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
        }
    }
}
