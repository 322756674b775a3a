-- Where the messages ended right after one was deleted: numbers of rows behind that are given again, also
-- those of messages that the index has forgotten before.
DROP TRIGGER messages_deleted;
ALTER TABLE messages_changes ADD COLUMN last_row INTEGER;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO messages_changes (change, message_row, message_id, from_msisdn, ts, last_row) VALUES (
        max(ifnull((SELECT max(change) FROM messages_changes), 0),
            ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages_changes'), 0))
            + 1 + (random() & 0xfffffff),
        old.rowid, old.message_id, old.from_msisdn, old.ts, (SELECT ifnull(max(rowid), 0) FROM messages));
END;
DROP TRIGGER messages_updated;
CREATE TRIGGER messages_updated AFTER UPDATE ON messages BEGIN
    INSERT INTO messages_changes (change, message_row, message_id, from_msisdn, ts) VALUES (
        max(ifnull((SELECT max(change) FROM messages_changes), 0),
            ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages_changes'), 0))
            + 1 + (random() & 0xfffffff),
        old.rowid, old.message_id, old.from_msisdn, old.ts);
END;

-- Changes are removed once the index has taken account of them (store/index/changes.rs). The last one
-- that is removed stays as a bare number: an index that has not come that far cannot come any further.
ALTER TABLE messages_store ADD COLUMN changes_removed_through INTEGER NOT NULL DEFAULT 0;

-- Ids of messages that are gone, so that one of them sent again is a duplicate still: as hashes,
-- because an id may name a person. These two outlive a dump, and belong together.
CREATE TABLE IF NOT EXISTS messages_forgotten (
    id BLOB PRIMARY KEY, forgotten_at INTEGER NOT NULL) WITHOUT ROWID;
-- One row: what the ids are hashed with, and when old messages were looked for last (store/maintenance/retention/trusted_clock.rs).
CREATE TABLE IF NOT EXISTS messages_retention (
    salt BLOB NOT NULL, believed_clock INTEGER);
INSERT INTO messages_retention SELECT randomblob(32), NULL
    WHERE NOT EXISTS (SELECT 1 FROM messages_retention);
