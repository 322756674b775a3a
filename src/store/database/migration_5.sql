-- What WhatsApp sends, element by element, as it came. Made with the first of it (database/migrations.rs), so that a
-- file that never takes any in stays as it is. A dump brings it along whole.
CREATE TABLE IF NOT EXISTS messages_items (
    item INTEGER PRIMARY KEY, id_hash BLOB NOT NULL, content_hash BLOB NOT NULL,
    kind TEXT NOT NULL, message_id TEXT, mapping TEXT NOT NULL, created_at TEXT NOT NULL, original BLOB NOT NULL,
    UNIQUE (id_hash, content_hash));
CREATE INDEX IF NOT EXISTS messages_items_unmapped ON messages_items (item) WHERE mapping = 'unmapped';
