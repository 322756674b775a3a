//! Random stores, with the index at every stage of lag, asked everything and compared with a model that
//! goes through all rows.

mod model;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::index::{self, Marks, changes, order, rank, rank::Place, search};
use super::{schema, stats};
use crate::filter::{Filter, PageQuery};
use crate::folding::Needle;
use crate::limits::{KEPT_MATCHES, ORDER_SLICE, RANK_BLOCKS, WALKED_OFFSET};
use crate::timestamp::parse_instant;
use model::Model;

/// xorshift64*: each seed is the same store and the same questions every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
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
struct Bench {
    random: Random,
    senders: usize,
    written: usize,
    folder: TempDir,
    database: Connection,
    messages: Connection,
    index: Connection,
    /// As queries have them.
    with_index: Connection,
    without: Connection,
    /// Somebody has changed messages since the index last took account of it.
    pending: bool,
}

impl Bench {
    fn new(seed: u64, senders: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let database = schema::prepare(&path).unwrap();
        database.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let messages = schema::open_for_reading(&path).unwrap();
        let index = index::open(&path, &messages).unwrap();
        let [with_index, without] = [(); 2].map(|()| schema::open_for_reading(&path).unwrap());
        index::attach(&with_index, &path).unwrap();
        index::attach_none(&without).unwrap();
        let random = Random(seed);
        let (written, pending) = (0, false);
        Self { random, senders, written, folder, database, messages, index, with_index, without, pending }
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
    fn insert(&mut self, rows: usize) {
        self.database.execute_batch("BEGIN").unwrap();
        for _ in 0..rows {
            self.written += 1;
            let number = self.written;
            let mut ts = self.ts();
            let id = match self.random.below(20) {
                0 => {
                    // Without an id, only the time tells one row from another.
                    ts = format!("2025-01-15T10:00:00.{number}1Z");
                    None
                }
                1 => Some((0..=self.random.below(3)).map(|_| self.random.one_of(&PIECES)).collect()),
                2 => Some(format!("{}{number}", "l".repeat(600))),
                _ => Some(format!("m{}", number * 7 % 1000 + number / 1000)),
            };
            let (from, text) = (self.sender(), self.text());
            let sql = "INSERT INTO messages VALUES (?1, ?2, '+9', ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            self.database.execute(sql, params![id, from, ts, text, format!("at {number}")]).unwrap();
        }
        self.database.execute_batch("COMMIT").unwrap();
    }

    /// Somebody with sqlite3.
    fn interfere(&mut self) {
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

    /// One slice as the indexer does it: changes go first.
    fn take_in(&mut self, search: bool, rows: usize) {
        let index = self.index.unchecked_transaction().unwrap();
        let messages = self.messages.unchecked_transaction().unwrap();
        let mut marks = Marks::read(&index).unwrap();
        if changes::are_pending(&messages, &marks).unwrap() {
            changes::apply(&messages, &index, &mut marks, rows).unwrap();
            self.pending = changes::are_pending(&messages, &marks).unwrap();
        } else if search {
            let texts = search::read(&messages, marks.searchable_through, rows).unwrap();
            search::extend(&index, &mut marks, &texts).unwrap();
        } else {
            let entries = order::read(&messages, marks.ordered_through, rows).unwrap();
            order::extend(&index, &mut marks, entries).unwrap();
        }
        index.commit().unwrap();
    }

    /// An index that is up to date with the database, or behind it, is used again after a start.
    fn open_index_again(&mut self) {
        let before = Marks::read(&self.index).unwrap();
        let path = self.folder.path().join("app.db");
        self.index = index::open(&path, &self.messages).unwrap();
        assert_eq!(Marks::read(&self.index).unwrap(), before, "the index was taken for another's");
    }

    /// Asks a few things of the index, and of the messages alone.
    fn check(&mut self, questions: usize) {
        let model = Model::of(&self.database);
        let questions: Vec<_> = (0..questions).map(|_| self.question(&model)).collect();
        for with_index in [true, false] {
            let reader = if with_index { &self.with_index } else { &self.without };
            let snapshot = reader.unchecked_transaction().unwrap();
            let marks = Marks::read(&snapshot).unwrap();
            if with_index {
                assert_eq!(changes::are_pending(&snapshot, &marks).unwrap(), self.pending);
                if self.pending {
                    continue;
                }
            }
            assert_eq!(stats::read(&snapshot, &marks).unwrap(), model.stats(), "{marks:?}");
            for query in &questions {
                model.compare(&snapshot, &marks, query);
            }
        }
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

/// Messages come, somebody interferes, the order and the search follow in steps of their own, each as
/// often as its chance in a hundred says; whatever the stage, the answers are compared.
fn is_exact_at_every_stage(seed: u64, senders: usize, steps: usize, chances: [usize; 4]) {
    let mut bench = Bench::new(seed, senders);
    let [insert, interfere, order, search] = chances;
    for step in 0..steps {
        if bench.random.chance(insert) {
            let rows = bench.random.below(60);
            bench.insert(rows);
        }
        if bench.random.chance(interfere) {
            (0..=bench.random.below(6)).for_each(|_| bench.interfere());
        }
        for (chance, is_search) in [(order, false), (search, true)] {
            if bench.random.chance(chance) {
                let rows = bench.random.one_of(&[1, 3, 40, 1000]);
                bench.take_in(is_search, rows);
            }
        }
        if step % 7 == 0 {
            bench.open_index_again();
        }
        bench.check(4);
    }
}

#[test]
fn answers_are_exact_however_far_the_index_is_behind() {
    for (seed, chances) in
        [(1, [50, 0, 50, 50]), (2, [30, 0, 80, 20]), (3, [30, 0, 20, 80]), (4, [90, 0, 0, 90])]
    {
        is_exact_at_every_stage(seed, 3, 25, chances);
        is_exact_at_every_stage(seed + 100, 200, 25, chances);
    }
}

#[test]
fn answers_are_exact_before_and_after_changes_by_others_are_taken_account_of() {
    for (seed, chances) in
        [(5, [40, 40, 70, 70]), (6, [40, 20, 90, 30]), (7, [40, 20, 30, 90]), (8, [20, 80, 90, 90])]
    {
        is_exact_at_every_stage(seed, 3, 40, chances);
        is_exact_at_every_stage(seed + 100, 30, 40, chances);
    }
}

#[test]
fn answers_are_exact_where_offsets_are_large_and_matches_too_many_to_keep() {
    let mut bench = Bench::new(9, 5);
    bench.database.execute_batch(&plain_rows(6000)).unwrap();
    assert!(6000 > KEPT_MATCHES && 6000 > 5 * WALKED_OFFSET);
    bench.insert(400);
    for (search, rows) in
        [(true, 1000), (false, 3000), (false, 2500), (true, 5000), (false, 1000), (true, 1000)]
    {
        bench.take_in(search, rows);
        bench.check(4);
        let model = Model::of(&bench.database);
        let marks = Marks::read(&bench.with_index).unwrap();
        for (q, offset) in
            [("", 1001), ("", 3000), ("", 6390), ("text", 0), ("text", 5990), ("", 9000), ("text of 77", 0)]
        {
            let mut query = PageQuery::parse("").unwrap();
            query.filter.q = Some(q).filter(|q| !q.is_empty()).map(Needle::new);
            query.filter.since = (offset == 3000).then(|| parse_instant("2025-01-15T10:05:00Z").unwrap());
            query.offset = offset;
            model.compare(&bench.with_index, &marks, &query);
        }
    }
}

/// Messages of many instants, in no order, and each with the same word.
fn plain_rows(rows: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO messages SELECT 'r' || i, '+' || (i % 3), '+9',
            strftime('2025-01-15T10:%M:%SZ', (i * 7919) % 3001, 'unixepoch'), 'text of ' || i, 'at ' || i FROM n;"
    )
}

/// Every rank that is asked for, against a list of all places.
fn ranks_are_right(bench: &mut Bench) {
    let mut statement = bench.database.prepare("SELECT rtrim(ts, 'Z.0'), message_id FROM messages").unwrap();
    let place = |row: &rusqlite::Row<'_>| Ok(Place { instant: row.get(0)?, message_id: row.get(1)? });
    let mut places: Vec<Place> = statement.query_map([], place).unwrap().map(Result::unwrap).collect();
    places.sort();
    let before = |place: &Place| places.partition_point(|other| other < place) as u64;
    for asked in 0..300 {
        let number = bench.random.below(places.len() + 10);
        let mut place = places[number.min(places.len() - 1)].clone();
        if asked % 3 == 0 {
            place.message_id.push('x');
        }
        assert_eq!(rank::before(&bench.index, &place).unwrap(), before(&place), "{place:?}");
        let (start, passed) = rank::seek(&bench.index, number as u64).unwrap();
        assert_eq!(passed, before(&start), "{start:?}");
        let apart = number as u64 - passed;
        assert!(passed <= number as u64 && apart <= RANK_BLOCKS[0] + 10, "{apart} entries are walked");
    }
}

#[test]
fn ranks_are_exact_when_blocks_on_both_levels_have_split() {
    let mut bench = Bench::new(10, 3);
    bench.database.execute_batch(&plain_rows(70_000)).unwrap();
    for _ in 0..9 {
        bench.take_in(false, ORDER_SLICE);
    }
    let upper = "SELECT COUNT(*) FROM messages_ranks WHERE level = 1";
    let upper: i64 = bench.index.query_row(upper, [], |row| row.get(0)).unwrap();
    assert!(upper > 1, "the upper level has not split");
    ranks_are_right(&mut bench);
    bench.database.execute_batch("DELETE FROM messages WHERE rowid % 40 = 0 OR rowid > 69000").unwrap();
    for _ in 0..5 {
        bench.take_in(false, 1000);
    }
    ranks_are_right(&mut bench);
}
