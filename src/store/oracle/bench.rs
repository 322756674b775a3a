//! A bench is a store whose index is kept up by hand.

use std::cell::RefCell;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::model::Model;
use crate::filter::{Filter, PageQuery};
use crate::folding::Needle;
use crate::store::database::transaction::in_transaction;
use crate::store::database::{connections, prepare};
use crate::store::index::{self, Watermarks, changes, order, search, texts};
use crate::store::maintenance::retention::age::ExpiredMessage;
use crate::store::maintenance::retention::expiry;
use crate::store::read::memory::Memory;
use crate::store::read::{Snapshot, stats};
use crate::timestamp::parse_instant;

/// xorshift64*: each seed is the same store and the same questions every time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Letters that fold to others or to several, and what SQL and the search index take for syntax.
const PIECES: [&str; 24] = [
    "a", "b", "A", "ab", "s", "SS", "ß", "STRASSE", "straße", "k", "\u{212a}", "ſ", "É", "é", "ﬃ", "Σ", "ς",
    "😀", "\0", "\"", "%", "_", " OR ", "\u{1}",
];
/// What follows the second of an instant, several ways of writing the same one among them.
const FRACTIONS: [&str; 9] = ["Z", "Z", ".5Z", ".50Z", ".500Z", ".000Z", ".05Z", ".000000001Z", "+00:00"];
/// What older files may have for a time.
const ODD_TIMES: [&str; 6] = ["2025-01-15 10:00:00", "", "0", "Z.0", "yesterday", "2025-01-15T10:00:00"];
const SINCE: [&str; 8] = [
    "2025-01-15",
    "2025-01-16",
    "2025-01-15T10:00:00Z",
    "2025-01-15T10:00:00.5Z",
    "2025-01-15T10:00:00.500000001Z",
    "2025-01-15T10:00:10Z",
    "2025-01-15T15:30:05+05:30",
    "1970-01-01",
];

/// A database, and the connections by which the index is kept up.
pub(super) struct Bench {
    pub(super) random: Random,
    senders: usize,
    written: usize,
    folder: TempDir,
    pub(super) database: Connection,
    messages: Connection,
    pub(super) index: Connection,
    /// As queries have them.
    pub(super) with_index: Connection,
    without: Connection,
    /// Of the one with the index.
    memory: RefCell<Memory>,
    /// How often the index was compared with the messages.
    pub(super) compared: u64,
    /// Somebody has changed messages since the index last took account of it.
    pub(super) pending: bool,
}

impl Bench {
    pub(super) fn new(seed: u64, senders: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let (database, _lock) = prepare::prepare(&path).unwrap();
        database.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let messages = connections::open_for_reading(&path).unwrap();
        let index = index::open(&path, &messages).unwrap();
        let [with_index, without] = [(); 2].map(|()| connections::open_for_reading(&path).unwrap());
        index::attach(&with_index, &path, index::file_of(&path)).unwrap();
        index::attach_none(&without).unwrap();
        let random = Random(seed);
        let (written, pending) = (0, false);
        let memory = RefCell::default();
        Self {
            random,
            senders,
            written,
            folder,
            database,
            messages,
            index,
            with_index,
            without,
            memory,
            compared: 0,
            pending,
        }
    }

    fn text(&mut self) -> Option<String> {
        match self.random.below(10) {
            0 => None,
            1 => Some(String::new()),
            _ => Some((0..self.random.below(9)).map(|_| self.random.one_of(&PIECES)).collect()),
        }
    }

    fn sender(&mut self) -> String {
        format!("+{}", self.random.below(self.senders))
    }

    fn ts(&mut self) -> String {
        if self.random.chance(10) {
            return self.random.one_of(&ODD_TIMES).to_owned();
        }
        let second = self.random.one_of(&[0, 0, 0, 5, 10, 59]);
        format!("2025-01-1{}T10:00:{second:02}{}", 5 + self.random.below(2), self.random.one_of(&FRACTIONS))
    }

    /// Messages as they come, and some as older files have them.
    pub(super) fn insert(&mut self, rows: usize) {
        self.database.execute_batch("BEGIN").unwrap();
        for _ in 0..rows {
            self.written += 1;
            let number = self.written;
            let ts = self.ts();
            let id: rusqlite::types::Value = match self.random.below(20) {
                0 => rusqlite::types::Value::Null,
                1 => {
                    (0..=self.random.below(3)).map(|_| self.random.one_of(&PIECES)).collect::<String>().into()
                }
                // Only their ends differ.
                2 => format!("{}{number}", "l".repeat(600)).into(),
                3 => format!("m{}", number % 50).into_bytes().into(),
                _ => format!("m{}", number * 7 % 1000 + number / 1000).into(),
            };
            let (from, text) = (self.sender(), self.text());
            // Some ids are text that is no UTF-8.
            let id_of = if self.random.chance(5) { "CAST(x'ff' || CAST(?1 AS BLOB) AS TEXT)" } else { "?1" };
            let sql =
                format!("INSERT INTO messages VALUES ({id_of}, ?2, '+9', ?3, ?4, ?5) ON CONFLICT DO NOTHING");
            self.database.execute(&sql, params![id, from, ts, text, format!("at {number}")]).unwrap();
        }
        self.database.execute_batch("COMMIT").unwrap();
    }

    /// Somebody with sqlite3.
    pub(super) fn interfere(&mut self) {
        let (ts, from, text) = (self.ts(), self.sender(), self.text());
        let last: i64 = self
            .database
            .query_row("SELECT ifnull(max(rowid), 0) FROM messages", [], |row| row.get(0))
            .unwrap();
        let row = self.random.below(usize::try_from(last).unwrap() + 1) as i64;
        let newest = last - self.random.below(4) as i64;
        let (sql, values): (_, &[&dyn rusqlite::ToSql]) = match self.random.below(7) {
            0 => ("UPDATE messages SET ts = ?2 WHERE rowid = ?1 AND message_id IS NOT NULL", &[&row, &ts]),
            1 => ("UPDATE messages SET from_msisdn = ?2 WHERE rowid = ?1", &[&row, &from]),
            2 => ("UPDATE messages SET text = ?2 WHERE rowid = ?1", &[&row, &text]),
            3 => ("UPDATE messages SET from_msisdn = ?2 WHERE rowid BETWEEN ?1 AND ?1 + 5", &[&row, &from]),
            4 => ("UPDATE messages SET text = ?2 WHERE rowid >= ?1", &[&newest, &text]),
            5 => ("DELETE FROM messages WHERE rowid = ?1", &[&row]),
            _ => ("DELETE FROM messages WHERE rowid >= ?1", &[&newest]),
        };
        self.pending |= self.database.execute(sql, values).unwrap() > 0;
    }

    /// The oldest go, as the writer lets them.
    pub(super) fn expire(&mut self, rows: usize) {
        let sql = "SELECT rowid, CAST(created_at AS BLOB), CAST(message_id AS BLOB) FROM messages ORDER BY rowid LIMIT ?1";
        let mut statement = self.database.prepare(sql).unwrap();
        let expired = statement.query_map([rows as i64], |row| row.try_into()).unwrap();
        let expired: Vec<ExpiredMessage> = expired.map(Result::unwrap).collect();
        let deleted =
            in_transaction(&self.database, |database| expiry::delete(database, &expired, 0)).unwrap();
        assert_eq!(deleted, expired.len() as u64);
        self.pending |= deleted > 0;
    }

    /// Changes that the index knows are removed, not always all of them.
    pub(super) fn remove_changes(&mut self) {
        let known = Watermarks::read(&self.index).unwrap().changes_through;
        let most = self.random.one_of(&[1, 5, 1000]);
        in_transaction(&self.database, |database| changes::remove(database, known, most)).unwrap();
    }

    /// Of a store without pending changes: the search index has the texts up to its watermark and no other.
    fn holds_no_text_that_is_gone(&self, watermarks: &Watermarks) {
        let number = |sql: &str| -> i64 { self.with_index.query_row(sql, [], |row| row.get(0)).unwrap() };
        let searchable = format!(
            "SELECT COUNT(*) FROM messages WHERE text IS NOT NULL AND rowid <= {}",
            watermarks.searchable_through.unwrap_or(i64::MIN)
        );
        assert_eq!(
            number("SELECT COUNT(*) FROM messages_search_docsize"),
            number(&searchable),
            "{watermarks:?} {:?}",
            self.pending
        );
        assert_eq!(texts::faults(&self.with_index, watermarks.searchable_through), Ok(0), "{watermarks:?}");
    }

    /// One slice as the indexer does it: changes go first.
    pub(super) fn take_in(&mut self, search: bool, rows: usize) {
        let index = self.index.unchecked_transaction().unwrap();
        let messages = self.messages.unchecked_transaction().unwrap();
        let mut watermarks = Watermarks::read(&index).unwrap();
        if changes::are_pending(&messages, &watermarks).unwrap() {
            changes::apply(&messages, &index, &mut watermarks, rows).unwrap();
            self.pending = changes::are_pending(&messages, &watermarks).unwrap();
        } else if search {
            let texts = search::read(&messages, watermarks.searchable_through, rows).unwrap();
            search::extend(&index, &mut watermarks, &texts).unwrap();
        } else {
            let entries = order::read(&messages, watermarks.ordered_through, rows).unwrap();
            order::extend(&index, &mut watermarks, entries).unwrap();
        }
        index.commit().unwrap();
    }

    /// An index that is up to date with the database, or behind it, is used again after a start.
    pub(super) fn open_index_again(&mut self) {
        let before = Watermarks::read(&self.index).unwrap();
        let path = self.folder.path().join("app.db");
        self.index = index::open(&path, &self.messages).unwrap();
        assert_eq!(Watermarks::read(&self.index).unwrap(), before, "the index was taken for another's");
    }

    /// The index that is used after a start, whatever there was.
    pub(super) fn opened_anew(&mut self) -> Watermarks {
        let path = self.folder.path().join("app.db");
        self.index = index::open(&path, &self.messages).unwrap();
        self.with_index = connections::open_for_reading(&path).unwrap();
        self.memory.take();
        index::attach(&self.with_index, &path, index::file_of(&path)).unwrap();
        let watermarks = Watermarks::read(&self.index).unwrap();
        self.pending = changes::are_pending(&self.messages, &watermarks).unwrap();
        watermarks
    }

    /// Asks a few things of the index, and of the messages alone.
    pub(super) fn check(&mut self, questions: usize) {
        let model = Model::of(&self.database);
        let questions: Vec<_> = (0..questions).map(|_| self.question(&model)).collect();
        let since = SINCE.map(|since| parse_instant(since).unwrap());
        let check = |snapshot: Snapshot<'_>, queries: &mut dyn Iterator<Item = &PageQuery>| {
            assert_eq!(
                stats::read(snapshot, &since).unwrap(),
                model.stats(&since),
                "{:?}",
                snapshot.watermarks
            );
            queries.for_each(|query| model.compare(snapshot, query));
        };
        let connection = self.without.unchecked_transaction().unwrap();
        let watermarks = Watermarks::read(&connection).unwrap();
        let memory = &RefCell::default();
        check(Snapshot { connection: &connection, watermarks: &watermarks, memory }, &mut questions.iter());
        drop(connection);

        let connection = self.with_index.unchecked_transaction().unwrap();
        let watermarks = Watermarks::read(&connection).unwrap();
        assert_eq!(changes::are_pending(&connection, &watermarks).unwrap(), self.pending);
        if self.pending {
            return;
        }
        self.holds_no_text_that_is_gone(&watermarks);
        drop(connection);
        self.ask(|snapshot| check(snapshot, &mut questions.iter()));
    }

    /// As a query does that finds the index fresh.
    pub(super) fn ask(&self, query: impl FnOnce(Snapshot<'_>)) {
        let connection = &self.with_index.unchecked_transaction().unwrap();
        let watermarks = &Watermarks::read(connection).unwrap();
        self.memory.borrow_mut().begin(connection, watermarks, self.compared).unwrap();
        query(Snapshot { connection, watermarks, memory: &self.memory });
    }

    fn question(&mut self, model: &Model) -> PageQuery {
        let mut query = PageQuery::parse("").unwrap();
        let text =
            |bench: &mut Self| model.rows.get(bench.random.below(model.rows.len().max(1)))?.1.text.clone();
        query.filter = Filter {
            from: self.random.chance(30).then(|| self.sender()),
            since: self.random.chance(40).then(|| parse_instant(self.random.one_of(&SINCE)).unwrap()),
            q: match self.random.below(8) {
                0 => Some("zebra".to_owned()),
                1 => Some((0..=self.random.below(2)).map(|_| self.random.one_of(&PIECES)).collect()),
                2 | 3 => text(self),
                4 => text(self).map(|text| text.chars().skip(1).take(3).collect()),
                _ => None,
            }
            .filter(|q| !q.is_empty())
            .map(|q| Needle::new(&q)),
        };
        query.limit = self.random.one_of(&[1, 2, 7, 50, 100]);
        let largest = if self.random.chance(70) { 20 } else { model.rows.len() + 50 };
        query.offset = if self.random.chance(30) { 0 } else { self.random.below(largest) as i64 };
        query
    }
}
