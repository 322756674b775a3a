//! Oracle tests compare the answers of random stores, at every stage of lag, with a model that goes through all rows.

mod bench;
mod model;

use crate::filter::PageQuery;
use crate::folding::Needle;
use crate::limits::ORDER_SLICE;
use crate::sort_key::{MessageId, SortKey};
use crate::store::database::sort_columns;
use crate::store::index::rank::RANK_BLOCKS;
use crate::store::index::{Watermarks, changes, rank};
use crate::store::read::page::WALKED_OFFSET;
use crate::store::read::search::KEPT_MATCHES;
use crate::timestamp::parse_instant;
use bench::Bench;
use model::Model;

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
            bench.open_index_again();
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

/// The same with messages that grow too old, and changes that are removed once the index knows them.
#[test]
fn answers_are_exact_while_old_messages_go_however_far_the_index_is_behind() {
    for (seed, [come, go, take_in, remove]) in
        [(11, [40, 40, 60, 50]), (12, [60, 20, 20, 90]), (13, [30, 80, 90, 90]), (14, [20, 90, 40, 20])]
    {
        let mut bench = Bench::new(seed, 20);
        bench.insert(150);
        for _ in 0..60 {
            if bench.random.chance(come) {
                let rows = bench.random.below(60);
                bench.insert(rows);
            }
            if bench.random.chance(go) {
                let rows = bench.random.one_of(&[1, 20, 50, 300]);
                bench.expire(rows);
            }
            if bench.random.chance(20) {
                bench.interfere();
            }
            for is_search in [false, true] {
                if bench.random.chance(take_in) {
                    let rows = bench.random.one_of(&[1, 10, 1000]);
                    bench.take_in(is_search, rows);
                }
            }
            if bench.random.chance(remove) {
                bench.remove_changes();
            }
            // One that has taken account of a part of the changes may be made anew.
            if !bench.pending {
                bench.open_index_again();
            }
            bench.check(3);
        }
    }
}

#[test]
fn an_index_that_has_missed_changes_is_not_believed() {
    let mut bench = Bench::new(15, 3);
    bench.insert(60);
    bench.take_in(false, 1000);
    // One that has never seen a change is no exception.
    for _ in 0..2 {
        bench.expire(10);
        let before = Watermarks::read(&bench.index).unwrap();
        let removed = "SELECT max(change) FROM messages_changes";
        let removed: i64 = bench.database.query_row(removed, [], |row| row.get(0)).unwrap();
        assert!(!changes::were_missed(&bench.database, &before).unwrap());
        assert!(!changes::remove(&bench.database, removed, 1000).unwrap());
        assert!(changes::were_missed(&bench.database, &before).unwrap());
        assert!(changes::are_pending(&bench.database, &before).unwrap(), "queries go without it");
        let anew = bench.opened_anew();
        assert_eq!((anew.ordered, anew.changes_through), (0, removed));
        bench.take_in(false, 1000);
        bench.check(5);
    }
}

#[test]
fn answers_are_exact_where_offsets_are_large_and_matches_too_many_to_keep() {
    let mut bench = Bench::new(9, 5);
    bench.database.execute_batch(&plain_rows(6000)).unwrap();
    const { assert!(6000 > KEPT_MATCHES && 6000 > 5 * WALKED_OFFSET) };
    bench.insert(400);
    let (order, search) = (false, true);
    let stages = [
        (order, 3000),
        (search, 40),
        (search, 1000),
        (order, 2500),
        (search, 5000),
        (order, 1000),
        (search, 1000),
    ];
    for (part, rows) in stages {
        bench.take_in(part, rows);
        bench.check(4);
        let model = Model::of(&bench.database);
        for (q, offset) in
            [("", 1001), ("", 3000), ("", 6390), ("text", 0), ("text", 5990), ("", 9000), ("text of 77", 0)]
        {
            let mut query = PageQuery::parse("").unwrap();
            query.filter.q = Some(q).filter(|q| !q.is_empty()).map(Needle::new);
            query.filter.since = (offset == 3000).then(|| parse_instant("2025-01-15T10:05:00Z").unwrap());
            query.offset = offset;
            bench.ask(|snapshot| model.compare(snapshot, &query));
        }
    }
}

#[test]
fn searches_are_exact_whatever_is_remembered_of_them() {
    let mut bench = Bench::new(16, 5);
    bench.database.execute_batch(&plain_rows(KEPT_MATCHES + 200)).unwrap();
    for step in 0..60 {
        match bench.random.below(8) {
            0 | 1 => bench.insert(60),
            2 => bench.interfere(),
            3 => bench.expire(90),
            _ => {}
        }
        let rows = bench.random.one_of(&[10, 1000]);
        bench.take_in(step % 2 == 0, rows);
        if bench.pending || step < 10 {
            continue;
        }
        let model = Model::of(&bench.database);
        // Too many to keep, before so many have gone; few; some; what the search index proposes, and a sender's.
        for (q, from) in
            [("t", None), ("\u{e9}", None), ("8", None), ("t of 1", None), ("abs", Some("+1")), ("abs", None)]
        {
            let mut query = PageQuery::parse("limit=1").unwrap();
            query.filter.q = Some(Needle::new(q));
            query.filter.from = from.map(str::to_owned);
            bench.ask(|snapshot| model.compare(snapshot, &query));
        }
    }
}

/// Nothing notes what is gone by that but the comparison which follows a commit by somebody else.
#[test]
fn messages_replaced_past_the_triggers_are_forgotten_when_the_index_was_compared() {
    let mut bench = Bench::new(17, 5);
    bench.insert(200);
    bench.take_in(false, 150);
    for _ in 0..20 {
        bench.check(3);
        let replaced = "INSERT OR REPLACE INTO messages SELECT message_id, from_msisdn, '+9', ts, text, created_at FROM messages \
             WHERE message_id IS NOT NULL AND rowid > ?1 ORDER BY rowid LIMIT 1";
        let ordered_through = Watermarks::read(&bench.index).unwrap().ordered_through;
        assert_eq!(bench.database.execute(replaced, [ordered_through]), Ok(1));
        bench.compared += 1;
    }
    assert!(!bench.pending);
}

/// Messages of many instants, in no order but that the last third is a year older than the rest, and each with
/// the same word.
fn plain_rows(rows: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO messages SELECT 'r' || i, '+' || (i % 3), '+9',
            strftime(iif(i * 3 > {rows} * 2, '2024', '2025') || '-01-15T10:%M:%SZ', (i * 7919) % 3001, 'unixepoch'), 'text of ' || i, 'at ' || i FROM n;"
    )
}

/// So many messages of old files have one instant and no id: more than a block holds.
const TIED: u64 = 700;

/// Every rank that is asked for, against a list of all places.
fn ranks_are_right(bench: &mut Bench) {
    let sql = format!("SELECT {} FROM messages AS m", sort_columns::key_of_message());
    let mut statement = bench.database.prepare(&sql).unwrap();
    let key = |row: &rusqlite::Row<'_>| sort_columns::sort_key(row, 0);
    let mut places: Vec<SortKey> = statement.query_map([], key).unwrap().map(Result::unwrap).collect();
    places.sort();
    let before = |place: &SortKey| places.partition_point(|other| other < place) as u64;
    for asked in 0..300 {
        let number = bench.random.below(places.len() + 10);
        let mut place = places[number.min(places.len() - 1)].clone();
        if asked % 3 == 0 {
            place.message_id = MessageId::Text("m7x".into());
        }
        assert_eq!(rank::before(&bench.index, &place).unwrap(), before(&place), "{place:?}");
        let (start, passed) = rank::seek(&bench.index, number as u64).unwrap();
        assert_eq!(passed, before(&start), "{start:?}");
        let block = (&start.instant, &start.message_id, start.row);
        let held = "SELECT messages FROM messages_ranks \
             WHERE level = 0 AND instant = ?1 AND message_id = ?2 AND message_row = ?3";
        let held: i64 = bench.index.query_row(held, block, |row| row.get(0)).unwrap();
        let is_last = number >= places.len();
        assert!(passed <= number as u64 && (is_last || passed + held as u64 > number as u64), "{number}");
        assert!(held as u64 <= RANK_BLOCKS[0], "{held} entries in a block");
    }
}

#[test]
fn ranks_are_exact_when_blocks_on_both_levels_have_split() {
    let mut bench = Bench::new(10, 3);
    bench.database.execute_batch(&plain_rows(70_000)).unwrap();
    let tied = "INSERT INTO messages SELECT NULL, '+1', '+9', '2025-01-15T10:00:07Z', NULL, '' FROM messages LIMIT ?1";
    bench.database.execute(tied, [TIED as i64]).unwrap();
    for _ in 0..9 {
        bench.take_in(false, ORDER_SLICE);
    }
    let upper = "SELECT COUNT(*) FROM messages_ranks WHERE level = 1";
    let upper: i64 = bench.index.query_row(upper, [], |row| row.get(0)).unwrap();
    assert!(upper > 1, "the upper level has not split");
    ranks_are_right(&mut bench);
    // Here and there, at the end, in long stretches of the order, and all that there is at a place.
    for gone in
        ["rowid % 40 = 0 OR rowid > 69000", "ts BETWEEN '2025-01-15T10:00:05Z' AND '2025-01-15T10:12:00Z'"]
    {
        bench.database.execute_batch(&format!("DELETE FROM messages WHERE {gone}")).unwrap();
        for _ in 0..20 {
            bench.take_in(false, 1000);
        }
        ranks_are_right(&mut bench);
        // Of a message that is gone no block keeps the id.
        let nowhere = "SELECT COUNT(*) FROM messages_ranks AS r WHERE r.instant <> '' AND NOT EXISTS (
            SELECT 1 FROM messages_order AS d WHERE d.instant = r.instant AND d.message_id = r.message_id
                AND d.message_row = r.message_row)";
        assert_eq!(bench.index.query_row(nowhere, [], |row| row.get::<_, i64>(0)), Ok(0));
    }
}
