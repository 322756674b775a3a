-- A database made from a dump brings along what follows, but neither its version nor its row numbers;
-- one that was worked on by hand may have lost a part of it.
DROP TRIGGER IF EXISTS messages_deleted;
DROP TRIGGER IF EXISTS messages_updated;
DROP TABLE IF EXISTS messages_changes;
DROP TABLE IF EXISTS messages_store;

-- By this an index knows the database it belongs to.
CREATE TABLE messages_store (id BLOB NOT NULL);
INSERT INTO messages_store VALUES (randomblob(16));

-- This service changes no message, but a person with sqlite3 may; the index hears of it here: what
-- stood in which row. The numbers rise by chance, so that a database that was restored and then
-- changed in another way does not come by the same ones again.
CREATE TABLE messages_changes (
    change INTEGER PRIMARY KEY AUTOINCREMENT, message_row INTEGER NOT NULL,
    message_id TEXT, from_msisdn TEXT, ts TEXT);
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO messages_changes VALUES (
        max(ifnull((SELECT max(change) FROM messages_changes), 0),
            ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages_changes'), 0))
            + 1 + (random() & 0xfffffff),
        old.rowid, old.message_id, old.from_msisdn, old.ts);
END;
CREATE TRIGGER messages_updated AFTER UPDATE ON messages BEGIN
    INSERT INTO messages_changes VALUES (
        max(ifnull((SELECT max(change) FROM messages_changes), 0),
            ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages_changes'), 0))
            + 1 + (random() & 0xfffffff),
        old.rowid, old.message_id, old.from_msisdn, old.ts);
END;
