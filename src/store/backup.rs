//! A consistent copy of a database that is in use.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use super::copy::{CopyError, copy};
use super::replace::{Partial, settle};
use super::{OpenError, schema};

/// Copies the database at `source` to `target`, whoever is writing to it meanwhile: the copy is the
/// state of one moment. It appears under its name only when it is whole and synced, and takes the
/// place of an older file of that name. What was cut short goes on when it is called again.
/// `progress` hears of pages done and pages in all.
///
/// Commits never wait for it. [`OpenError::InUse`] if they come so fast that it cannot end, or if the
/// same copy is being made by another process.
pub fn backup(source: &Path, target: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), OpenError> {
    let what = format!("cannot back up {} to {}", source.display(), target.display());
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    if is_same(source, target) {
        return Err(failed("the copy must be another file", &"choose another name"));
    }
    schema::inspect(source)?;
    settle(target).map_err(|error| failed("a database of that name is in use", &error))?;
    let partial = Partial::open(target)
        .map_err(|error| failed("creating the copy", &error))?
        .ok_or_else(|| OpenError::InUse(format!("{what}: another backup to that name is running")))?;
    match copy(source, &partial.file, progress) {
        Ok(()) => partial.publish(target).map_err(|error| failed("keeping the copy", &error)),
        Err(CopyError::Busy) => Err(OpenError::InUse(format!(
            "{what}: messages come too fast for it to end; what is copied is kept, run it again when there is less to do"
        ))),
        Err(CopyError::Source(error)) => Err(failed("copying", &error)),
        Err(CopyError::Target(error)) => {
            // The room may be what the service needs to go on.
            if error.kind() == io::ErrorKind::StorageFull {
                partial.discard();
            }
            Err(failed("writing the copy", &error))
        }
    }
}

/// Whether two paths name one file.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}
