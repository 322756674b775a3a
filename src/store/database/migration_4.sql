-- The feed hands messages on in the order of their row numbers (store/read/feed.rs). A dump brings these tables along
-- but not the numbers, so a database made from one is another store, as is one that has lost a part of this.
DROP TRIGGER IF EXISTS messages_floor;
DROP TABLE IF EXISTS messages_feed;
DROP TABLE IF EXISTS messages_epochs;

-- One row: what cursors know the store by; the highest number that was ever deleted from the end, which SQLite
-- would give again; and the last row that stood then. Nothing but a row put in by hand stands between these two: while
-- one does, both are kept, so that it is found out. Behind the last number that there is nothing could follow.
CREATE TABLE messages_feed (store INTEGER NOT NULL, floor INTEGER NOT NULL, standing INTEGER NOT NULL);
INSERT INTO messages_feed VALUES (random(), 0, 0);
CREATE TRIGGER messages_floor AFTER DELETE ON messages
    WHEN old.rowid > ifnull((SELECT max(rowid) FROM messages), 0) AND old.rowid < 9223372036854775807 BEGIN
    UPDATE messages_feed SET
        floor = max(floor, old.rowid),
        standing = CASE
            WHEN EXISTS (SELECT 1 FROM messages WHERE rowid > standing AND rowid <= floor) THEN standing
            ELSE ifnull((SELECT max(rowid) FROM messages), 0) END;
END;

-- Who opens the database to write to it begins an epoch with its first message. By that a copy that was put back, and
-- has taken in other messages since, is known from the database that it was made of.
CREATE TABLE messages_epochs (first_row INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
INSERT INTO messages_epochs VALUES (-9223372036854775808, random());
