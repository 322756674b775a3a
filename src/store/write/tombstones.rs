//! A tombstone is the hash of the id of a message that is gone: sent again for days, it must not come back as new.
//!
//! An id may name a person, so its salted hash is what is kept. Whoever has the file can tell by it
//! whether a message with an id that he knows was there, and nothing else. Their table is called `messages_forgotten`,
//! as the first version that had it called it.

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::limits::REMOVAL_SLICE;
use crate::store::database::insertion::ignored;

/// Half of SHA-256: two of a million million ids are the same by chance once in 10^14 stores.
const HASH_BYTES: usize = 16;

type Hash = [u8; HASH_BYTES];

/// What ids are hashed with.
pub struct Salt(Vec<u8>);

impl Salt {
    /// `None` while there is no tombstone, so that nobody looks for one in vain.
    pub fn if_any_tombstone(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(
            "SELECT salt FROM messages_retention WHERE EXISTS (SELECT 1 FROM messages_forgotten)",
        )?;
        statement.query_row([], |row| row.get(0).map(Self)).optional()
    }

    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT salt FROM messages_retention")?;
        statement.query_row([], |row| row.get(0).map(Self))
    }

    fn hash(&self, message_id: &[u8]) -> Hash {
        let hash: [u8; 32] = Sha256::new().chain_update(&self.0).chain_update(message_id).finalize().into();
        let mut half = [0; HASH_BYTES];
        half.copy_from_slice(&hash[..HASH_BYTES]);
        half
    }
}

/// True if there is any tombstone.
pub fn are_any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM messages_forgotten LIMIT 1")?.exists([])
}

/// Something by this name was there and is gone: a message with this id, or an item.
pub fn exists(connection: &Connection, salt: &Salt, name: &[u8]) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM messages_forgotten WHERE id = ?1")?.exists([salt.hash(name)])
}

/// `at` in seconds since the Unix epoch.
pub fn put(connection: &Connection, salt: &Salt, message_id: &[u8], at: i64) -> rusqlite::Result<()> {
    let put = connection
        .prepare_cached("INSERT OR REPLACE INTO messages_forgotten (id, forgotten_at) VALUES (?1, ?2)")?
        .execute((salt.hash(message_id), at))?;
    if put == 1 { Ok(()) } else { Err(ignored("a tombstone")) }
}

/// Ids that lie side by side: those behind `after`, up to `through`.
pub struct Stretch {
    pub(super) after: Vec<u8>,
    pub through: Vec<u8>,
    /// How many of them are from before the time that was asked for.
    pub old: usize,
}

/// The stretch behind a hash, or `None` at the end.
pub fn stretch(connection: &Connection, after: Vec<u8>, before: i64) -> rusqlite::Result<Option<Stretch>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, forgotten_at < ?2 FROM messages_forgotten WHERE id > ?1 ORDER BY id LIMIT ?3",
    )?;
    let mut ids = statement.query((&after, before, REMOVAL_SLICE as i64))?;
    let (mut through, mut old) = (None, 0);
    while let Some(id) = ids.next()? {
        through = Some(id.get(0)?);
        old += usize::from(id.get::<_, bool>(1)?);
    }
    Ok(through.map(|through| Stretch { after, through, old }))
}

/// Removes those of a stretch that are from before that time. Gives their number.
pub fn remove(connection: &Connection, stretch: &Stretch, before: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM messages_forgotten WHERE id > ?1 AND id <= ?2 AND forgotten_at < ?3")?
        .execute((&stretch.after, &stretch.through, before))
}
