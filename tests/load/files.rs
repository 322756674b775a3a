//! Databases as files: opened, copied, counted, renamed, removed; with the index that the service
//! keeps beside its own.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::Failure;
use crate::plain;

/// Behind the name of a database, what names the database that is derived from it.
pub(crate) const INDEX: &str = "-index";

/// A copy to change, by reference where the file system can; written out before anything is measured.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    remove(to)?;
    for part in parts(from) {
        settle(&part)?;
        let copy = counterpart(&part, from, to);
        fs::copy(&part, &copy)?;
        File::open(copy)?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    remove(to)?;
    for part in parts(from) {
        settle(&part)?;
        fs::rename(&part, counterpart(&part, from, to))?;
    }
    Ok(())
}

/// What it takes on disk, the index included.
pub(crate) fn bytes(path: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for part in parts(path) {
        settle(&part)?;
        bytes += fs::metadata(part)?.len();
    }
    Ok(bytes)
}

/// A file that is there, whoever made it.
pub(crate) fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    Ok(connection.map_err(|error| format!("cannot open {}: {error}", path.display()))?)
}

pub(crate) fn count(path: &Path) -> Result<u64, Failure> {
    Ok(plain::count(&open(path)?)?)
}

/// A database, with what belongs to it.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    for database in [path.to_owned(), with_suffix(path, INDEX)] {
        for suffix in ["", "-wal", "-shm"] {
            match fs::remove_file(with_suffix(&database, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The database, and its index if there is one.
pub(crate) fn parts(path: &Path) -> impl Iterator<Item = PathBuf> {
    [path.to_owned(), with_suffix(path, INDEX)].into_iter().filter(|part| part.exists())
}

/// Folds a log into its file, so that the file alone is the database.
fn settle(path: &Path) -> Result<(), Failure> {
    if with_suffix(path, "-wal").exists() {
        open(path)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(File::open(path)?.sync_all()?)
}

fn counterpart(part: &Path, from: &Path, to: &Path) -> PathBuf {
    if part == from { to.to_owned() } else { with_suffix(to, INDEX) }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
