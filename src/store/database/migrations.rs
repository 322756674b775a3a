//! A migration brings the schema of a database from one version to the next.
//!
//! Which of them a file has been through is seen by what is there ([`Shapes`]): its `user_version` may be
//! somebody else's, and is lost in a dump.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

/// What brings a file from version n to n + 1, where n is the place in this list. All that is due runs in
/// one transaction with the change of `PRAGMA user_version`. Names are our own (`messages_…`): earlier
/// implementations have taken `idx_ts` and its like. A statement may meet what a later one makes, where a
/// file has only a part of it.
const MIGRATIONS: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS messages (
        message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL, to_msisdn TEXT NOT NULL,
        ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);",
    include_str!("migration_2.sql"),
    include_str!("migration_3.sql"),
    include_str!("migration_4.sql"),
    ITEMS,
];

/// The last one is lazy: the transaction that stores the first item makes their table ([`ensure_items`]).
const ITEMS: &str = include_str!("migration_5.sql");

/// Indexes of an earlier version of this service: every message paid for them as it came. What is derived
/// from messages is in a file of its own now (store/index).
const FORMER: [&str; 2] = [
    "CREATE INDEX messages_by_instant ON messages (rtrim(ts, 'Z.0'), message_id)",
    "CREATE INDEX messages_by_sender ON messages (from_msisdn, rtrim(ts, 'Z.0'), message_id)",
];

/// The version that a start brings a file to.
pub const VERSION: i64 = NEWEST - 1;

/// The version of a file that holds items. Both are up to date.
pub const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Brings a database from this version up to date. To be called in a transaction.
pub(super) fn apply(connection: &Connection, from: i64) -> rusqlite::Result<()> {
    for object in objects(connection)? {
        if object.is_former() {
            connection.execute_batch(&format!("DROP INDEX \"{}\"", object.name))?;
        }
    }
    let from = usize::try_from(from).unwrap_or(0);
    for sql in MIGRATIONS.iter().take(VERSION as usize).skip(from) {
        connection.execute_batch(sql)?;
    }
    // Items that are there, though a part beside them or the number was lost.
    if has_items(connection)? { make_items(connection) } else { name(connection, VERSION) }
}

fn name(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", version)
}

fn make_items(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(ITEMS)?;
    name(connection, NEWEST)
}

/// True if the table of items is there. A file is without it until something was to be kept in it.
pub fn has_items(connection: &Connection) -> rusqlite::Result<bool> {
    let found = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'messages_items'";
    connection.prepare_cached(found)?.exists([])
}

/// Makes the table of items where there is none. To be called in the transaction that stores one, on a file that a
/// start has brought up to date. True if it was made: the schema has another number then.
pub fn ensure_items(connection: &Connection) -> rusqlite::Result<bool> {
    let is_missing = !has_items(connection)?;
    if is_missing {
        make_items(connection)?;
    }
    Ok(is_missing)
}

/// A table, an index, a trigger or a view of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: String,
    /// In lower case, as SQLite compares it.
    pub(super) name: String,
    /// What an index or a trigger is on, in lower case; of others, its own name.
    pub(super) table: String,
    /// The statement that made it, as the file has it.
    pub(super) sql: String,
}

impl Object {
    /// An earlier version of this service has made it, and [`apply`] removes it.
    fn is_former(&self) -> bool {
        FORMER.iter().any(|sql| written(sql) == written(&self.sql))
    }

    /// Made by the same statement, but for blanks and quotes: renaming a table adds some.
    fn is_like(&self, other: &Self) -> bool {
        (&self.kind, &self.name, &self.table) == (&other.kind, &other.name, &other.table)
            && written(&self.sql) == written(&other.sql)
    }
}

/// Whether what a schema has by this name is an index of an earlier version of this service.
pub(super) fn is_former(schema: &[Object], name: &str) -> bool {
    schema.iter().any(|object| object.name == name.to_lowercase() && object.is_former())
}

fn written(sql: &str) -> String {
    let meant = |character: &char| !character.is_whitespace() && *character != '"';
    sql.chars().filter(meant).collect()
}

/// All of a database's schema that has a statement, SQLite's own tables apart.
pub(super) fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut statement = connection.prepare(
        "SELECT type, lower(name), lower(tbl_name), sql FROM sqlite_schema \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type = 'table' DESC, rowid",
    )?;
    let object = |row: &Row<'_>| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    };
    statement.query_map([], object)?.collect()
}

/// What each version of the schema has.
pub(super) struct Shapes {
    /// The table of messages, which others make as well.
    messages: Vec<Object>,
    /// All else, by version.
    beside: Vec<Vec<Object>>,
}

/// What of a schema is of this service's making, or stands where that would be.
pub(super) enum Own {
    /// Nothing of it.
    None,
    /// All that a version has, and nothing else.
    Whole(i64),
    /// Something is missing, or is of another version.
    Part,
    /// Something by one of our names, or on one of our tables, that no version of ours has made.
    Strange(Object),
}

impl Shapes {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let model = Connection::open_in_memory()?;
        let (mut messages, mut shapes) = (Vec::new(), vec![Vec::new()]);
        for sql in MIGRATIONS {
            model.execute_batch(sql)?;
            let shape;
            (messages, shape) = objects(&model)?.into_iter().partition(|object| object.name == "messages");
            shapes.push(shape);
        }
        Ok(Self { messages, beside: shapes })
    }

    /// The table of messages was made by the statement of this service, to the letter, and has no index.
    pub(super) fn have_messages(&self, schema: &[Object]) -> bool {
        let of_messages =
            schema.iter().filter(|object| object.table == "messages" && object.kind != "trigger");
        of_messages.eq(&self.messages)
    }

    /// Some version has made it.
    pub(super) fn have(&self, object: &Object) -> bool {
        self.beside.iter().flatten().any(|known| known.is_like(object))
    }

    pub(super) fn recognise(&self, schema: &[Object]) -> Own {
        let names: BTreeSet<&str> = self.beside.iter().flatten().map(|object| object.name.as_str()).collect();
        let is_ours =
            |object: &&Object| names.contains(object.name.as_str()) || names.contains(object.table.as_str());
        let found: Vec<&Object> = schema.iter().filter(is_ours).collect();
        if let Some(strange) = found.iter().find(|object| !self.have(object)) {
            return Own::Strange((*strange).clone());
        }
        if found.is_empty() {
            return Own::None;
        }
        let is_whole = |shape: &Vec<Object>| {
            shape.len() == found.len() && shape.iter().all(|object| found.iter().any(|f| f.is_like(object)))
        };
        self.beside.iter().rposition(is_whole).map_or(Own::Part, |version| Own::Whole(version as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(from: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(from).unwrap();
        apply(&connection, 0).unwrap();
        connection
    }

    fn recognised(connection: &Connection) -> String {
        match Shapes::new().unwrap().recognise(&objects(connection).unwrap()) {
            Own::None => "none".to_owned(),
            Own::Whole(version) => format!("whole {version}"),
            Own::Part => "part".to_owned(),
            Own::Strange(object) => format!("strange {} {}", object.kind, object.name),
        }
    }

    #[test]
    fn what_is_there_says_which_migrations_were_applied() {
        let current = migrated("");
        assert_eq!(recognised(&current), "whole 4");
        let items = |change: &str| format!("{ITEMS}; {change}");
        let cases = [
            ("", "whole 4"),
            ("PRAGMA user_version = 77", "whole 4"),
            ("CREATE TABLE others (id); CREATE INDEX mine ON messages (ts)", "whole 4"),
            ("DROP TRIGGER messages_deleted", "part"),
            ("DROP TABLE messages_store", "part"),
            ("DROP TRIGGER messages_floor", "part"),
            ("DROP TABLE messages_epochs", "part"),
            (ITEMS, "whole 5"),
            (&items("DROP INDEX messages_items_unmapped"), "part"),
            (&items("DROP TABLE messages_items"), "whole 4"),
            (&items("DROP TRIGGER messages_floor"), "part"),
            (&items("DROP TABLE messages_epochs"), "part"),
            (&items("ALTER TABLE messages_items ADD COLUMN more"), "strange table messages_items"),
            (&items("CREATE INDEX mine ON messages_items (created_at)"), "strange index mine"),
            (
                &items("CREATE TRIGGER t AFTER INSERT ON messages_items BEGIN SELECT 1; END"),
                "strange trigger t",
            ),
            ("CREATE TABLE messages_items (id)", "strange table messages_items"),
            ("CREATE VIEW messages_items AS SELECT 1", "strange view messages_items"),
            ("CREATE TRIGGER t AFTER INSERT ON messages_changes BEGIN SELECT 1; END", "strange trigger t"),
            ("CREATE UNIQUE INDEX i ON messages_changes (ts)", "strange index i"),
            ("ALTER TABLE messages_store ADD COLUMN more", "strange table messages_store"),
            (
                "DROP TABLE messages_store; CREATE VIEW messages_store AS SELECT 1",
                "strange view messages_store",
            ),
            ("DROP TABLE messages_store; CREATE TABLE Messages_Store (a)", "strange table messages_store"),
            (
                "ALTER TABLE messages_forgotten RENAME TO f; ALTER TABLE f RENAME TO messages_forgotten",
                "whole 4",
            ),
        ];
        for (change, expected) in cases {
            let changed = migrated("");
            changed.execute_batch(change).unwrap();
            assert_eq!(recognised(&changed), expected, "{change}");
        }
        let second = Connection::open_in_memory().unwrap();
        second.execute_batch(MIGRATIONS[0]).unwrap();
        assert_eq!(recognised(&second), "none");
        second.execute_batch(MIGRATIONS[1]).unwrap();
        assert_eq!(recognised(&second), "whole 2");
    }

    #[test]
    fn a_part_of_the_schema_is_made_whole_and_keeps_what_it_remembers() {
        for lost in ["TRIGGER messages_deleted", "TABLE messages_changes", "TABLE messages_store"] {
            let connection = migrated("");
            connection.execute_batch("INSERT INTO messages_forgotten VALUES (x'01', 1)").unwrap();
            let salt = |connection: &Connection| -> Vec<u8> {
                connection.query_row("SELECT salt FROM messages_retention", [], |row| row.get(0)).unwrap()
            };
            let before = salt(&connection);
            connection.execute_batch(&format!("DROP {lost}")).unwrap();
            apply(&connection, 0).unwrap();
            assert_eq!(recognised(&connection), "whole 4", "{lost}");
            assert_eq!(salt(&connection), before);
            let kept = "SELECT COUNT(*) FROM messages_forgotten";
            assert_eq!(connection.query_row(kept, [], |row| row.get::<_, i64>(0)), Ok(1));
        }
    }

    #[test]
    fn the_table_of_items_is_made_once_and_outlives_whatever_else_is_lost() {
        let version = |connection: &Connection| -> i64 {
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
        };
        let item =
            "INSERT INTO messages_items VALUES (7, x'01', x'02', 'other', NULL, 'unmapped', '', x'7b7d')";
        for lost in
            ["", "DROP INDEX messages_items_unmapped", "DROP TABLE messages_store", "PRAGMA user_version = 0"]
        {
            let connection = migrated("");
            assert_eq!((version(&connection), has_items(&connection)), (4, Ok(false)));
            assert_eq!(ensure_items(&connection), Ok(true));
            connection.execute_batch(item).unwrap();
            assert_eq!(ensure_items(&connection), Ok(false), "it is there");
            connection.execute_batch(lost).unwrap();
            apply(&connection, 0).unwrap();
            assert_eq!((recognised(&connection).as_str(), version(&connection)), ("whole 5", 5), "{lost}");
            let kept = "SELECT COUNT(*) FROM messages_items INDEXED BY messages_items_unmapped \
                 WHERE mapping = 'unmapped'";
            assert_eq!(connection.query_row(kept, [], |row| row.get::<_, i64>(0)), Ok(1));
        }
        let connection = migrated("");
        ensure_items(&connection).unwrap();
        connection.execute_batch("DROP TABLE messages_items").unwrap();
        apply(&connection, 0).unwrap();
        assert_eq!((recognised(&connection).as_str(), version(&connection)), ("whole 4", 4));
    }

    #[test]
    fn indexes_of_an_earlier_version_go_and_others_by_their_names_stay() {
        let former = format!("{} {};{};", MIGRATIONS[0], FORMER[0], FORMER[1]);
        let names = |connection: &Connection| -> Vec<String> {
            let objects = objects(connection).unwrap();
            objects.into_iter().filter(|o| o.kind == "index").map(|o| o.name).collect()
        };
        assert_eq!(names(&migrated(&former)), [] as [&str; 0]);
        let of_others = format!("{} CREATE INDEX messages_by_sender ON messages (ts)", MIGRATIONS[0]);
        assert_eq!(names(&migrated(&of_others)), ["messages_by_sender"]);
    }
}
