//! An insert puts one message into the table, or proves that it is there.

use rusqlite::{Connection, Error, ErrorCode, Statement, ffi, params};

/// What became of a message that is in the store now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// This insert put it there.
    Created,
    /// A message with this id was there before, and is unchanged, or it was there and is gone.
    Duplicate,
}

/// A message that is there already stays as it is, whichever of several unique indexes says so.
pub const INSERT: &str = "INSERT INTO messages (message_id, from_msisdn, to_msisdn, ts, text, created_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";

/// The same under a number of our own.
const INSERT_AT: &str = "INSERT INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at) \
     VALUES (?7, ?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";

/// The index finds the row by the column's own rules of comparison; the bytes decide.
const FIND: &str = "SELECT EXISTS (SELECT 1 FROM messages \
     WHERE message_id = ?1 AND CAST(message_id AS BLOB) = CAST(?1 AS BLOB))";

/// The values of a row, in the order of [`INSERT`].
pub struct Row<'a> {
    pub message_id: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub ts: &'a str,
    pub text: Option<&'a str>,
    pub created_at: &'a str,
}

/// By the statement [`INSERT`], or under a number of our own, which is rare.
///
/// That nothing was inserted does not say that the row is there: a constraint or a trigger of somebody
/// else's can ignore an insert. Then it is an error like any other constraint.
pub fn insert_row(
    connection: &Connection,
    insert: &mut Statement<'_>,
    row: &Row<'_>,
    number: Option<i64>,
) -> rusqlite::Result<Inserted> {
    let Row { message_id, from, to, ts, text, created_at } = row;
    let inserted = match number {
        None => insert.execute(params![message_id, from, to, ts, text, created_at])?,
        Some(number) => {
            let mut insert = connection.prepare_cached(INSERT_AT)?;
            insert.execute(params![message_id, from, to, ts, text, created_at, number])?
        }
    };
    if inserted == 1 {
        return Ok(Inserted::Created);
    }
    let is_there = connection.prepare_cached(FIND)?.query_row([row.message_id], |found| found.get(0))?;
    if is_there { Ok(Inserted::Duplicate) } else { Err(ignored("an insert into messages")) }
}

/// The error of a statement that SQLite has ignored without saying why, as a trigger can have it do, or a
/// constraint's own conflict clause.
pub fn ignored(what: &str) -> Error {
    let error = ffi::Error { code: ErrorCode::ConstraintViolation, extended_code: ffi::SQLITE_CONSTRAINT };
    Error::SqliteFailure(
        error,
        Some(format!("{what} was ignored: a constraint or a trigger in the file does that")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT, to_msisdn TEXT, \
         ts TEXT, text TEXT, created_at TEXT)";

    fn inserted(schema: &str, ids: &[&str]) -> Vec<rusqlite::Result<Inserted>> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        let mut insert = connection.prepare(INSERT).unwrap();
        let one = |id: &&str| {
            let row =
                Row { message_id: id, from: "+1", to: "+2", ts: "2025", text: None, created_at: "2025" };
            insert_row(&connection, &mut insert, &row, None)
        };
        ids.iter().map(one).collect()
    }

    #[test]
    fn a_duplicate_is_one_whose_id_is_found_to_the_byte() {
        let outcomes = inserted(TABLE, &["a", "A", "a", "a\0b", "a\0c", "a\0b"]);
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        use Inserted::{Created, Duplicate};
        assert_eq!(outcomes, [Created, Created, Duplicate, Created, Created, Duplicate]);
    }

    #[test]
    fn an_insert_that_does_nothing_is_an_error_where_the_id_is_not_there() {
        let trigger = "CREATE TRIGGER t BEFORE INSERT ON messages BEGIN SELECT RAISE(IGNORE); END";
        let nocase = TABLE.replace("PRIMARY KEY", "COLLATE NOCASE PRIMARY KEY");
        let unique = format!("{TABLE}; CREATE UNIQUE INDEX u ON messages (from_msisdn, ts)");
        for (schema, ids) in
            [(format!("{TABLE}; {trigger}"), ["a", "a"]), (nocase, ["A", "a"]), (unique, ["a", "b"])]
        {
            let last = inserted(&schema, &ids).pop().unwrap();
            let error = last.unwrap_err();
            assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation), "{schema}: {error}");
        }
    }
}
