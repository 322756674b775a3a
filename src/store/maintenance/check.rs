//! A check tells whether a database is sound with what is derived from it, also while a service uses them.
//!
//! Nothing is changed. A snapshot keeps the log from restarting, so a check gives up when that has
//! grown too long, or when another command needs it to restart; a backup can be checked at leisure.

mod derived;
mod items;

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::wal_limit::WalLimit;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::files::folder_of;
use crate::store::database::migrations::VERSION;
use crate::store::database::open_error::{OpenError, from_sqlite};
use crate::store::database::sort_columns::INSTANT;
use crate::store::database::{column, connections, lock, schema, temporary};
use crate::store::read::feed::OrderEnd;

/// SQLite instructions between two looks of a check at the log: some milliseconds of work.
const CHECK_POLL_OPS: i32 = 200_000;
/// Faults that a check names before it stops looking for more of a kind.
const NAMED_FAULTS: usize = 20;

/// Checks the structure of the file, counts what is in it, and compares the index with the messages.
/// `say` hears of each in a line. True if all of it is sound.
///
/// [`OpenError::InUse`] if a service commits so fast that the log grew too long meanwhile, or another
/// command needs it to restart.
pub fn check(database: &DatabasePath, say: &mut dyn FnMut(&str)) -> Result<bool, OpenError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => OpenError::InUse(format!(
            "messages come too fast to check {}, or another command is changing it; check a backup of it, or when \
             there is less to do",
            database.display()
        )),
        _ => from_sqlite(database, &error),
    };
    let version = schema::inspect(database)?.version;
    let _lock = lock::shared_if_there(database)?;
    // They hold people's messages.
    for left in temporary::left_behind(folder_of(database)).unwrap_or_default() {
        say(&format!("{}: left behind by a command that was killed; remove it", left.display()));
    }
    let connection = open(database).map_err(failed)?;
    say(&format!("{}: schema version {version}", database.display()));
    let mut is_sound = structure(&connection, "main", say).map_err(failed)?;
    if !is_sound {
        say("what is derived from a damaged file was not compared; restore a backup");
        return Ok(false);
    }
    let figures = format!(
        "SELECT COUNT(*), COUNT(DISTINCT from_msisdn), \
            (SELECT m.ts FROM messages AS m ORDER BY {INSTANT} LIMIT 1), \
            (SELECT m.ts FROM messages AS m ORDER BY {INSTANT} DESC LIMIT 1) FROM messages"
    );
    let figures = connection.query_row(&figures, [], |row| {
        let text = |at| column::text(row, at).map(|text| text.unwrap_or_else(|| "-".to_owned()));
        Ok(format!("{} messages from {} senders, {} to {}", text(0)?, text(1)?, text(2)?, text(3)?))
    });
    // Of a new file without a table there is nothing to count.
    if version > 0 || figures.is_ok() {
        say(&figures.map_err(failed)?);
    }
    if version >= VERSION {
        say(order(&connection).map_err(failed)?);
        let items_agree = items::agree(&connection, say).map_err(failed)?;
        is_sound = derived::agrees(&connection, database, say).map_err(failed)? && items_agree;
    }
    Ok(is_sound)
}

/// Whether new messages are in the order of the feed. Messages are whole in any case.
fn order(connection: &Connection) -> rusqlite::Result<&'static str> {
    let has_numbers = OrderEnd::read(connection)?.head() < i64::MAX;
    Ok(if has_numbers {
        "feed: new messages come behind all others"
    } else {
        "feed: the last row number is in use, so that new messages have no order; export them and import them into a \
         new file"
    })
}

/// What it does is interrupted when the log has to restart.
fn open(database: &Path) -> rusqlite::Result<Connection> {
    let mut connection = connections::open_for_reading(database)?;
    // What is sorted here may be larger than memory.
    connection.execute_batch("PRAGMA temp_store = DEFAULT")?;
    let log = WalLimit::of(database)?;
    let database = database.to_owned();
    let is_in_the_way = move || lock::is_asked(&database) || log.is_exceeded();
    connection.progress_handler(CHECK_POLL_OPS, Some(is_in_the_way))?;
    Ok(connection)
}

/// What SQLite itself can say of a file.
fn structure(connection: &Connection, file: &str, say: &mut dyn FnMut(&str)) -> rusqlite::Result<bool> {
    let faults = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&format!("PRAGMA {file}.integrity_check({NAMED_FAULTS})"))?;
        let faults = statement.query_map([], |row| row.get::<_, String>(0))?;
        faults.filter(|fault| !fault.as_ref().is_ok_and(|fault| fault == "ok")).collect()
    };
    let name = if file == "main" { "structure" } else { "structure of the index" };
    let faults = match faults() {
        Err(error) if is_damage(&error) => vec![error.to_string()],
        other => other?,
    };
    if faults.is_empty() {
        say(&format!("{name}: sound"));
    }
    for fault in &faults {
        say(&format!("{name}: {}", fault.replace('\n', " ")));
    }
    Ok(faults.is_empty())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
