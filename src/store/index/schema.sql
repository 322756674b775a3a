-- One row: whose index this is, and how far it has come (store/index/watermarks.rs).
CREATE TABLE messages_marks (
    store BLOB NOT NULL, ordered_through INTEGER, ordered INTEGER NOT NULL,
    senders INTEGER NOT NULL, searchable_through INTEGER, changes_through INTEGER NOT NULL);

-- Keys stand as they sort (store/database/sort_columns.rs), so their columns have no type.
CREATE TABLE messages_order (
    instant, message_id, message_row INTEGER,
    PRIMARY KEY (instant, message_id, message_row)) WITHOUT ROWID;
CREATE TABLE messages_of_sender (
    sender TEXT, instant, message_id, message_row INTEGER,
    PRIMARY KEY (sender, instant, message_id, message_row)) WITHOUT ROWID;
CREATE TABLE messages_senders (sender TEXT PRIMARY KEY, messages INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE messages_top (sender TEXT PRIMARY KEY, messages INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE messages_ranks (
    level INTEGER, instant, message_id, message_row INTEGER, messages INTEGER NOT NULL,
    PRIMARY KEY (level, instant, message_id, message_row)) WITHOUT ROWID;
-- Each level begins before every key.
INSERT INTO messages_ranks VALUES (0, '', 0, -9223372036854775808, 0), (1, '', 0, -9223372036854775808, 0);

-- Folded texts, side by side (store/index/texts.rs). NULL: they are too long.
CREATE TABLE messages_texts (block INTEGER PRIMARY KEY, texts BLOB);

-- Texts are folded before they are indexed, so the index itself tells cases apart. It keeps the length
-- of each, because it can let go of a text by its row alone only then.
CREATE VIRTUAL TABLE messages_search USING fts5 (
    text, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1');
