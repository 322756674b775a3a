//! A snapshot is what a query sees: one state of the messages, how far the index has come in it, with the tail behind.
//!
//! While messages come fast the tail is some thousands of rows, and most of the work of most queries
//! would be to go through them. So each read connection keeps in memory what queries look for there,
//! and reads only what has come since the query before. It is given up with the connection, and when a
//! message was changed. Where it is too much, queries go through the rows.

mod places;
mod texts;

use rusqlite::Connection;

use crate::store::index::{LAST_ROW, Watermarks};
pub(super) use places::Places;
pub(super) use texts::Texts;

/// A read transaction.
#[derive(Clone, Copy)]
pub(in crate::store) struct Snapshot<'a> {
    pub(super) connection: &'a Connection,
    pub(in crate::store) watermarks: &'a Watermarks,
    /// The tail of the order, if it is in memory.
    pub(in crate::store) places: Option<&'a Places>,
    /// The tail of the search, if it is in memory.
    pub(in crate::store) texts: Option<&'a Texts>,
}

/// What a connection keeps.
#[derive(Default)]
pub(in crate::store) struct Tails {
    places: Places,
    texts: Texts,
}

impl Tails {
    /// The state that a transaction sees, in which no change may be pending. What is brought up to it
    /// is what the query needs. `None` where row numbers do not rise any more, and no watermark means anything.
    pub(in crate::store) fn follow<'a>(
        &'a mut self,
        connection: &'a Connection,
        watermarks: &'a Watermarks,
        goes_through_texts: bool,
    ) -> rusqlite::Result<Option<Snapshot<'a>>> {
        let last: Option<i64> =
            connection.prepare_cached("SELECT max(rowid) FROM messages")?.query_row([], |row| row.get(0))?;
        if last == LAST_ROW {
            return Ok(None);
        }
        let mut snapshot = Snapshot::without_tails(connection, watermarks);
        if goes_through_texts {
            snapshot.texts = self.texts.follow(connection, watermarks, last)?.then_some(&self.texts);
        } else {
            snapshot.places = self.places.follow(connection, watermarks, last)?.then_some(&self.places);
        }
        Ok(Some(snapshot))
    }
}

impl<'a> Snapshot<'a> {
    /// Queries go through the rows of the tail.
    pub(in crate::store) fn without_tails(connection: &'a Connection, watermarks: &'a Watermarks) -> Self {
        Self { connection, watermarks, places: None, texts: None }
    }
}

/// Which rows are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct TailExtent {
    /// Those behind this one,
    after: Option<i64>,
    /// up to this one,
    through: Option<i64>,
    /// as they are since this change.
    changes_through: i64,
    /// Up to this row it was too much to be kept.
    too_much_through: Option<Option<i64>>,
}

/// What is to be done before a state is reached.
enum TailStep {
    /// Nothing that is kept is of use.
    Clear,
    /// What the index has taken in since is of no use any more.
    LetGo,
    Nothing,
}

impl TailExtent {
    /// Begins where the index ends.
    fn begin_after(&mut self, after: Option<i64>, watermarks: &Watermarks) -> TailStep {
        if watermarks.changes_through != self.changes_through || !(self.after..=self.through).contains(&after)
        {
            self.restart(after);
            self.changes_through = watermarks.changes_through;
            return TailStep::Clear;
        }
        if std::mem::replace(&mut self.after, after) == after { TailStep::Nothing } else { TailStep::LetGo }
    }

    fn restart(&mut self, after: Option<i64>) {
        (self.after, self.through) = (after, after);
    }

    /// False until the index has taken in what was too much.
    fn may_be_kept(&mut self) -> bool {
        self.too_much_through = self.too_much_through.filter(|row| self.after < *row);
        self.too_much_through.is_none()
    }

    fn give_up(&mut self, last: Option<i64>) {
        self.restart(self.after);
        self.too_much_through = Some(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folding::Needle;
    use crate::limits::{MAX_KEPT_PLACES, MAX_KEPT_TEXT_BYTES};
    use crate::store::database::prepare;

    fn store(rows: i64, text_bytes: usize) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let (database, _lock) = prepare::prepare(&folder.path().join("app.db")).unwrap();
        insert(&database, 1, rows, text_bytes);
        (folder, database)
    }

    fn insert(database: &Connection, from: i64, to: i64, text_bytes: usize) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO messages SELECT 'm' || i, '+1', '+2', '2025-01-15T10:00:00Z',
                i || replace(hex(zeroblob(?3)), '00', 'x'), '' FROM n";
        database.execute(sql, (from, to, text_bytes as i64)).unwrap();
    }

    fn watermarks(row: i64) -> Watermarks {
        Watermarks { ordered_through: Some(row), searchable_through: Some(row), ..Watermarks::default() }
    }

    /// How many places and how many texts are kept.
    fn kept(tails: &mut Tails, database: &Connection, watermarks: &Watermarks) -> [Option<usize>; 2] {
        let places = tails
            .follow(database, watermarks, false)
            .unwrap()
            .unwrap()
            .places
            .map(|places| places.all().count());
        let any = Needle::new("x");
        let texts = tails.follow(database, watermarks, true).unwrap().unwrap().texts;
        [places, texts.map(|texts| texts.with(&any, None).count())]
    }

    #[test]
    fn what_the_index_has_taken_in_is_let_go() {
        let (_folder, database) = store(10, 1);
        let mut tails = Tails::default();
        assert_eq!(kept(&mut tails, &database, &watermarks(2)), [Some(8); 2]);
        insert(&database, 11, 15, 1);
        assert_eq!(kept(&mut tails, &database, &watermarks(9)), [Some(6); 2]);
        assert_eq!(kept(&mut tails, &database, &watermarks(15)), [Some(0); 2]);
        let changed = Watermarks { changes_through: 1, ..watermarks(0) };
        assert_eq!(kept(&mut tails, &database, &changed), [Some(15); 2], "an index that is made anew");
    }

    #[test]
    fn what_is_too_much_is_not_tried_again_before_the_index_has_it() {
        let rows = MAX_KEPT_PLACES as i64 + 1;
        let (_folder, database) = store(rows, MAX_KEPT_TEXT_BYTES / rows as usize + 1);
        let mut tails = Tails::default();
        assert_eq!(kept(&mut tails, &database, &watermarks(0)), [None; 2]);
        assert_eq!(kept(&mut tails, &database, &watermarks(rows - 1)), [None; 2]);
        insert(&database, rows + 1, rows + 3, 1);
        assert_eq!(kept(&mut tails, &database, &watermarks(rows)), [Some(3); 2]);
    }
}
