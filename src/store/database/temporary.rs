//! A temporary file has a name that nobody else has until it is whole, then takes its own.
//!
//! - It is new, a regular file of mode 0600, whatever somebody has put at the names that it might take.
//! - Whoever makes it holds a lock (flock(2)) on it. One that nobody holds is what a killed process has left
//!   behind, which the next one to make the same file removes; `erase` removes all of them beside
//!   the database, and `check` names them. SQLite needs a path, so a file without a name (O_TMPFILE) does not do.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::files::{FileId, file_id, folder_of, give_to, id_of, open_regular, sync_folder, with_suffix};

/// Between the name that the file is to have and the part that makes it unique.
const MARK: &str = ".partial-";
/// Letters and digits of the unique part.
const UNIQUE: usize = 12;
/// What SQLite may have beside a file.
pub(super) const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Removed when it is dropped, unless it was published.
pub struct Temporary {
    _companions: Companions,
    file: NamedTempFile,
    target: PathBuf,
}

/// What SQLite leaves beside a file where writing fails, removed when it is dropped.
struct Companions(PathBuf);

impl Drop for Companions {
    fn drop(&mut self) {
        for suffix in COMPANIONS {
            // Most often there is none.
            let _ = fs::remove_file(with_suffix(&self.0, suffix));
        }
    }
}

impl Temporary {
    /// Empty, in the folder of `target`. What killed processes have left of the same is removed.
    pub fn of(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut prefix = name.to_owned();
        prefix.push(MARK);
        for left in left_behind(folder_of(target))? {
            if left.file_name().is_some_and(|left| left.as_bytes().starts_with(prefix.as_bytes())) {
                // Whatever keeps it there keeps nobody from making another one.
                let _ = remove(&left);
            }
        }
        loop {
            let file = Builder::new().prefix(&prefix).rand_bytes(UNIQUE).tempfile_in(folder_of(target))?;
            // Before it was locked, it may have been taken for one that was left behind.
            if file.as_file().try_lock().is_ok()
                && file_id(file.path()) == Some(id_of(&file.as_file().metadata()?))
            {
                let _companions = Companions(file.path().to_owned());
                return Ok(Self { _companions, file, target: target.to_owned() });
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// See [`give_to`].
    pub fn give_to(&self, owner: (u32, u32)) -> io::Result<()> {
        give_to(self.file(), owner)
    }

    /// From here on it has its name, also after a power cut, in the place of a file that had it.
    pub fn publish(self) -> io::Result<()> {
        self.file().sync_all()?;
        self.file.persist(&self.target).map_err(|failed| failed.error)?;
        sync_folder(folder_of(&self.target))
    }

    /// The same, but only where nothing has that name: `None` if something has.
    pub(super) fn publish_new(self) -> io::Result<Option<FileId>> {
        self.file().sync_all()?;
        let published = match self.file.persist_noclobber(&self.target) {
            Ok(published) => published,
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(failed) => return Err(failed.error),
        };
        sync_folder(folder_of(&self.target))?;
        Ok(Some(id_of(&published.metadata()?)))
    }
}

/// Temporaries in a folder whose makers have ended without removing them.
pub fn left_behind(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| is_temporary(name.as_bytes())) && hold(&path).is_ok() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes one, and what SQLite has beside it, unless somebody holds it.
pub fn remove(left: &Path) -> io::Result<()> {
    let _held = hold(left)?;
    // The file itself is the last, because what is beside it is found by its name.
    for suffix in COMPANIONS.into_iter().chain([""]) {
        match fs::remove_file(with_suffix(left, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn hold(path: &Path) -> io::Result<File> {
    let file = open_regular(path)?;
    file.try_lock()?;
    Ok(file)
}

fn is_temporary(name: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(UNIQUE) else {
        return false;
    };
    let (before, unique) = name.split_at(start);
    before.len() > MARK.len()
        && before.ends_with(MARK.as_bytes())
        && unique.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let others = ["copy.db", "copy.db.partial", "copy.db.partial-short", "other.db.partial-0123456789ab"];
        let left = ["copy.db.partial-0123456789ab", "copy.db.partial-0123456789ab-journal"];
        others.iter().chain(&left).for_each(|name| fs::write(at(name), "people's messages").unwrap());
        std::os::unix::fs::symlink("copy.db", at("copy.db.partial-ba9876543210")).unwrap();
        let made = Temporary::of(&at("copy.db")).unwrap();
        // Another one at the same time leaves this one alone.
        let other = Temporary::of(&at("copy.db")).unwrap();
        assert!(left.iter().all(|name| !at(name).exists()));
        assert!(others.iter().all(|name| at(name).exists()));
        assert!(made.path().exists() && other.path() != made.path());
        assert_eq!(left_behind(folder.path()).unwrap(), [at("other.db.partial-0123456789ab")]);
        let path = made.path().to_owned();
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn a_new_file_is_published_only_where_nothing_is() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("copy.db");
        let (first, second) = (Temporary::of(&target).unwrap(), Temporary::of(&target).unwrap());
        let id = first.publish_new().unwrap();
        assert!(id.is_some());
        assert_eq!(second.publish_new().unwrap(), None);
        assert_eq!(file_id(&target), id);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        Temporary::of(&target).unwrap().publish().unwrap();
        assert_ne!(file_id(&target), id);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
