//! A file of the database is named after it, belongs to its owner, is opened following no link.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

pub use crate::file::{FileId, file_id, folder_of, open_regular};
pub(super) use crate::file::{id_of, sync_folder};

/// For a connection that may write. Never creates: a file that vanishes while the service runs must not
/// be replaced by an empty one. Follows no link: the path was resolved ([`super::database_path::DatabasePath`]).
pub const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW);
/// For a connection that changes nothing.
pub const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

pub fn wal_path(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

/// A file that belongs to the database, or comes from it: its name and something more.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Hard links. SQLite names a log after the path by which a file is opened, so whoever opens it by another name does not
/// know of what stands in the log, and overwrites it (sqlite.org/howtocorrupt.html, 2.5).
pub fn has_other_names(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.nlink() > 1)
}

/// Makes a folder and those above it, each of which has its name also after a power cut.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(above)
}

/// Whom a file beside a database has to belong to, so that the service's user can open it whoever was the
/// first to make it: the owner of the database, or, before there is one, of the folder.
pub fn owner_of(database: &Path) -> io::Result<(u32, u32)> {
    let of = fs::symlink_metadata(database).or_else(|_| fs::metadata(folder_of(database)))?;
    Ok((of.uid(), of.gid()))
}

/// Only root can; where even root may not, the file stays root's.
pub(super) fn give_to(file: &File, owner: (u32, u32)) -> io::Result<()> {
    let ours = file.metadata()?;
    if rustix::process::geteuid().is_root() && (ours.uid(), ours.gid()) != owner {
        let _ = fchown(file, Some(owner.0), Some(owner.1));
    }
    Ok(())
}
