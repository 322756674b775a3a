//! A database of unknown origin is judged before the first change to it: by what is there, by a trial, never by a
//! number that it carries.
//!
//! | `user_version` | our own tables | what it is |
//! |---|---|---|
//! | any | none | somebody else's number: all migrations are due |
//! | n | all of version n | migrated to n, and what was derived from it is still right |
//! | another one, none newer | all or some | from a dump, or worked on by hand: all migrations are due, which name it anew |
//! | a newer one | some, of whatever shape | of a newer version of this program: refused |
//! | none newer | by our names, of another shape | somebody else's: refused |

use rusqlite::{Connection, OptionalExtension};

use super::migrations::{self, NEWEST, Object, Own, Shapes};
use super::{foreign_index, trial};

/// The columns of `messages`, which earlier implementations of the contract share (section 9).
const COLUMNS: [&str; 6] = ["created_at", "from_msisdn", "message_id", "text", "to_msisdn", "ts"];

/// What a database is.
pub(super) enum Verdict {
    /// Messages can be stored in it. Migrations are due from this version on: all from 0, none from [`migrations::VERSION`].
    Ours(i64),
    /// None that messages can be stored in, and why.
    Foreign(String),
}

/// Changes nothing.
pub(super) fn examine(connection: &Connection) -> rusqlite::Result<Verdict> {
    let refuse = |why: String| Ok(Verdict::Foreign(why));
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let schema = migrations::objects(connection)?;
    let shapes = Shapes::new()?;
    let own = shapes.recognise(&schema);
    if version > NEWEST && !matches!(own, Own::None) {
        return refuse(format!("its schema version is {version}, this program knows {NEWEST}: upgrade it"));
    }
    if let Own::Strange(Object { kind, name, table, .. }) = &own {
        let what = if kind == "table" || kind == "view" { String::new() } else { format!(" on {table}") };
        return refuse(format!("its {kind} {name}{what} is not of this service's making"));
    }
    let has_messages = schema.iter().any(|object| object.name == "messages");
    if !has_messages && !matches!(own, Own::None) {
        return refuse("its table messages is missing, and others of this service are there".to_owned());
    }
    if has_messages && let Some(fault) = fault_of_messages(connection, &shapes, &schema)? {
        return refuse(fault);
    }
    Ok(Verdict::Ours(match own {
        Own::Whole(of) if of == version && has_names(connection, of)? => version,
        _ => 0,
    }))
}

/// The rows of tables that nothing works without, from the version on that has them.
fn has_names(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    let exists = |table: &str| -> rusqlite::Result<bool> {
        connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0))
    };
    let tables = ["messages_store", "messages_retention", "messages_feed", "messages_epochs"];
    let due = match version {
        ..3 => 1,
        3 => 2,
        _ => tables.len(),
    };
    tables.iter().take(due).try_fold(true, |all, table| Ok(all && exists(table)?))
}

/// Why the table cannot hold every message as it is, if it cannot.
fn fault_of_messages(
    connection: &Connection,
    shapes: &Shapes,
    schema: &[Object],
) -> rusqlite::Result<Option<String>> {
    let kind = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND lower(name) = 'messages'";
    let kind: Option<(String, bool)> =
        connection.query_row(kind, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match kind.as_ref().map(|(kind, without_rowid)| (kind.as_str(), without_rowid)) {
        Some(("table", false)) => {}
        Some(("table", true)) => {
            return Ok(Some("its table messages has no row numbers (WITHOUT ROWID)".to_owned()));
        }
        _ => return Ok(Some("its messages are no ordinary table".to_owned())),
    }
    let mut statement =
        connection.prepare("SELECT lower(name) FROM pragma_table_xinfo('messages') ORDER BY lower(name)")?;
    let columns: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if columns != COLUMNS {
        return Ok(Some(format!("its table messages has other columns ({})", columns.join(", "))));
    }
    let is_strange =
        |object: &&Object| object.kind == "trigger" && object.table == "messages" && !shapes.have(object);
    if let Some(trigger) = schema.iter().find(is_strange) {
        return Ok(Some(format!("its trigger {} on messages may do anything to a message", trigger.name)));
    }
    if let Some(fault) = foreign_index::fault(connection, schema)? {
        return Ok(Some(fault));
    }
    // Of its own table it is known.
    if shapes.have_messages(schema) {
        return Ok(None);
    }
    let fault = trial::fault(schema);
    Ok(fault.map(|fault| format!("its table messages cannot hold every message as it is: {fault}")))
}
