//! Who has a database open, in a way that other processes see: a lock (flock(2)) on a file beside it.
//!
//! - Whoever commits to the database shares the lock for as long as it lives, whatever becomes of its
//!   connections; whoever puts another file in the place of the database needs the lock alone.
//! - Whoever is not the service and needs a moment without queries, because a log has to start over, asks for
//!   it by a lock of another kind (fcntl(2)) on the same file, which Linux keeps apart from the first. It dies
//!   with its process, so nobody who is killed has asked for ever.
//! - The file is never removed: otherwise two processes could hold locks on two files of its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::with_suffix;
use super::open_error::{self, OpenError};

/// Where SQLite's locks lie in a database file (sqlite.org/src/file/src/os.h, `PENDING_BYTE`), and on how
/// many bytes.
const SQLITE_LOCKS: (u64, u64) = (0x4000_0000, 512);

/// Held until it is dropped, or the process ends.
pub(super) struct Lock {
    file: File,
}

/// As long as it is there, and its process lives, a running service is asked to keep queries back.
pub(super) struct Asking<'a>(&'a File);

impl Lock {
    /// Asks a running service for a moment without queries. It gives it soon, for some seconds at most.
    /// `None` while another process asks.
    pub(super) fn ask_for_a_moment(&self) -> Option<Asking<'_>> {
        fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Asking(&self.file))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let _ = fcntl_lock(self.0, FlockOperation::NonBlockingUnlock);
    }
}

/// True while another process asks for a moment without queries.
pub(super) fn is_asked(database: &Path) -> bool {
    // Opened anew, because a lock file of an earlier time may have been replaced by whoever moved things about.
    // None of this process is lost when it is closed again: the service never asks.
    let Ok(file) = File::open(with_suffix(database, "-lock")) else {
        return false;
    };
    // Where a file system makes one kind of lock of both (flock(2), "NFS details"), the other is a shared one.
    is_locked(&file, FlockType::ReadLock, 0, 0).is_some()
}

/// For a process that is going to commit to the database. Any number of them may.
pub(super) fn shared(database: &Path) -> Result<Lock, OpenError> {
    let file = open(database)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(format!(
            "another database is being restored to {}; start again when that is done",
            database.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(database, &error)),
    }
}

/// For a process that is going to replace the database: nobody may have it open.
pub(super) fn alone(database: &Path) -> Result<Lock, OpenError> {
    let file = open(database)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse(format!(
                "a service has the database {} open; stop it first",
                database.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(database, &error)),
    }
    match user_of(database) {
        None => Ok(Lock { file }),
        Some(user) => Err(OpenError::InUse(format!(
            "{user} has the database {} open; end it first",
            database.display()
        ))),
    }
}

/// Another program that has the database open, say a shell or something that replicates it: a
/// connection to a database with a log keeps a lock on its file. This process must have none.
fn user_of(database: &Path) -> Option<String> {
    let file = File::open(database).ok()?;
    let (start, length) = SQLITE_LOCKS;
    let held = is_locked(&file, FlockType::WriteLock, start, length)?;
    // A process of another container has no number here.
    Some(match held.pid {
        Some(pid) => format!("the process {}", pid.as_raw_nonzero()),
        None => "another process".to_owned(),
    })
}

/// A lock that another process has on these bytes, and that such a lock would have to wait for; a length of 0
/// is all of them.
fn is_locked(file: &File, typ: FlockType, start: u64, length: u64) -> Option<Flock> {
    let any = Flock { start, length, pid: None, typ, offset_type: FlockOffsetType::Set };
    // A file system that cannot tell is not one for a database.
    fcntl_getlk(file, &any).ok()?
}

fn open(database: &Path) -> Result<File, OpenError> {
    // Where an operator was the first to make it, the service's user has to be able to open it.
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .open(with_suffix(database, "-lock"))
        .or_else(|error| File::open(with_suffix(database, "-lock")).map_err(|_| error))
        .map_err(|error| unusable(database, &error))
}

fn unusable(database: &Path, error: &std::io::Error) -> OpenError {
    open_error::unusable(database, &with_suffix(database, "-lock"), error)
}
