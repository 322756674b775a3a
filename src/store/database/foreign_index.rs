//! A foreign index on messages, one that others have made, is accepted only if no message can fail by it.
//!
//! Which messages a condition or an expression fails for, or takes for equal, no trial finds out: both may ask
//! for any value. A unique index refuses nothing that the key does not if the whole message_id is in it.

use rusqlite::Connection;

use super::migrations::{self, Object};

/// Why some message could not be stored for an index on the table, if one could not. Names the index.
pub(super) fn fault(connection: &Connection, schema: &[Object]) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(
        "SELECT i.name, i.\"unique\", i.partial, max(c.cid = -2), \
            max(c.key AND lower(c.name) = 'message_id' AND upper(c.coll) = 'BINARY') \
         FROM pragma_index_list('messages') AS i, pragma_index_xinfo(i.name) AS c GROUP BY i.name ORDER BY i.seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if migrations::is_former(schema, &name) {
            continue;
        }
        let [is_unique, is_partial, has_expression] = [row.get(1)?, row.get(2)?, row.get(3)?];
        let has_the_id: Option<bool> = row.get(4)?;
        let why = match (is_partial, has_expression) {
            (true, _) => "has a condition (WHERE), which may fail for a message",
            (_, true) => "has an expression, which may fail for a message",
            _ if is_unique && has_the_id != Some(true) => {
                "is unique and may refuse a message, because message_id as it is stored is not in it"
            }
            _ => continue,
        };
        return Ok(Some(format!("its index {name} on messages {why}: drop it")));
    }
    Ok(None)
}
