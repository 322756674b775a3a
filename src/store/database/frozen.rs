//! A frozen database is read although nobody can write to it for want of room.
//!
//! A connection to a database with a log needs memory that it shares with others, in a file of 32 KiB. Where there
//! is no room for that, SQLite can be told that nobody writes (`immutable`, sqlite.org/uri.html): it then
//! takes no lock and reads no log. So only a database whose log is empty is read so, and what was read
//! counts only if the file is what it was before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::files::{FileId, id_of, wal_path, with_suffix};
use crate::url::percent_encode;

/// A state of the database in which nothing is in its log. Another one has another stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    file: FileId,
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` where there may be more than the file shows.
    fn of(path: &Path) -> Option<Self> {
        let has_content = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if has_content(&wal_path(path)) || has_content(&with_suffix(path, "-journal")) {
            return None;
        }
        let file = fs::metadata(path).ok()?;
        Some(Self {
            file: id_of(&file),
            bytes: file.len(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Nobody has written to the database since.
    pub fn is_still_of(&self, path: &Path) -> bool {
        Self::of(path).as_ref() == Some(self)
    }
}

/// A connection for reading, and the state that it reads. `None` where it cannot be read so.
pub(super) fn open(path: &Path) -> rusqlite::Result<Option<(Connection, Stamp)>> {
    let (Some(stamp), Some(name)) = (Stamp::of(path), path.to_str()) else {
        return Ok(None);
    };
    let mut uri = "file:".to_owned();
    for (number, part) in name.split('/').enumerate() {
        uri.push_str(if number > 0 { "/" } else { "" });
        percent_encode(&mut uri, part);
    }
    uri.push_str("?immutable=1");
    // The file is read only all the same; what is attached in memory is not.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Some((Connection::open_with_flags(uri, flags)?, stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_database_without_a_log_is_read_until_somebody_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b%20?#é.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
            .unwrap();
        assert!(open(&path).unwrap().is_none(), "there is a log");
        writer.close().unwrap();
        let (frozen, stamp) = open(&path).unwrap().expect("the log is gone");
        assert_eq!(count(&frozen), 1);
        assert!(!with_suffix(&path, "-shm").exists());
        assert!(stamp.is_still_of(&path));
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        assert!(!stamp.is_still_of(&path), "there is a log");
        writer.close().unwrap();
        assert!(!stamp.is_still_of(&path), "the file is another one");
        assert_eq!(count(&open(&path).unwrap().unwrap().0), 2);
    }
}
