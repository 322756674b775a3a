//! A transaction takes the write lock when it begins, so that it never fails for want of it later.

use rusqlite::Connection;

/// `COMMIT` is inside: on `Ok` it has returned. On an error nothing of the transaction is kept.
pub fn in_transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    begin(connection)?;
    end(connection, work(connection))
}

/// Waits for others that commit, as long as the connection's busy timeout says.
pub fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

/// Commits what was done since [`begin`], or takes it back if it has failed.
pub fn end<T>(connection: &Connection, result: rusqlite::Result<T>) -> rusqlite::Result<T> {
    let result = result.and_then(|done| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    });
    if result.is_err() && !connection.is_autocommit() {
        // Some errors have rolled back by themselves; if this one fails too, the connection is
        // thrown away or the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}

/// SQLite's count of changes of the schema, whoever makes them.
pub fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// SQLite's count of commits on other connections than this one.
pub fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
