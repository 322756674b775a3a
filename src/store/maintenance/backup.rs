//! A backup is a consistent copy of a database that is in use.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use super::vacuum::vacuum_into;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::files::{file_id, folder_of, with_suffix};
use crate::store::database::open_error::OpenError;
use crate::store::database::temporary::Temporary;
use crate::store::database::{journals, lock, schema};

/// What a database has beside it.
const BESIDE: [&str; 9] =
    ["", "-wal", "-shm", "-journal", "-lock", "-index", "-index-wal", "-index-shm", "-index-journal"];

/// Copies the database at `source` to `target`, whoever is writing to it meanwhile: the copy is the
/// state of one moment. It appears under its name only when it is whole and synced, and takes the
/// place of an older file of that name; what is no regular file is refused before any work.
/// `progress` hears of bytes done and bytes in all.
///
/// Commits never wait for it. [`OpenError::InUse`] if they come so fast that it cannot end, or if the older file
/// is a database in use.
pub fn backup(
    source: &DatabasePath,
    target: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let what = format!("cannot back up {} to {}", source.display(), target.display());
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    let target = target_at(target).map_err(|error| failed("choose another name", &error))?;
    if BESIDE.iter().any(|suffix| is_same(&with_suffix(source, suffix), &target)) {
        return Err(failed("the copy must be another file", &"choose another name"));
    }
    let _in_use = lock::shared_if_there(source)?;
    schema::inspect(source)?;
    let is_free = || {
        lock::nobody_has_open(&target)?;
        journals::checkpoint_and_remove(&target)
    };
    let _alone =
        if file_id(&with_suffix(&target, "-lock")).is_some() { Some(lock::alone(&target)?) } else { None };
    is_free()?;
    let temporary = Temporary::of(&target).map_err(|error| failed("creating the copy", &error))?;
    vacuum_into(source, &temporary, &what, progress)?;
    // It may have been opened meanwhile.
    is_free()?;
    temporary.publish().map_err(|error| failed("keeping the copy", &error))
}

/// The path with no link in it, or why no file can be made there.
fn target_at(target: &Path) -> Result<PathBuf, String> {
    let text = target.as_os_str().as_encoded_bytes();
    let name = target.file_name().filter(|_| !text.ends_with(b"/") && !text.ends_with(b"/."));
    let name = name.ok_or("that is not the name of a file")?;
    let folder = DatabasePath::resolve(folder_of(target)).map_err(|error| error.to_string())?;
    let target = folder.join(name);
    match fs::symlink_metadata(&target) {
        Ok(found) if found.is_symlink() => Err("a symbolic link is there, which is not followed".to_owned()),
        Ok(found) if !found.is_file() => Err("what is there is no regular file".to_owned()),
        _ => Ok(target),
    }
}

/// Whether two paths name one file, or would, if it were there.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    a == b || file_id(a).is_some_and(|id| file_id(b) == Some(id))
}
