//! Advisory locks (flock(2)) on a file beside the database tell other processes who has it open.
//!
//! - Whoever commits to the database shares the lock for as long as it lives, whatever becomes of its
//!   connections; so does whoever reads it from another process than the service's. Whoever creates
//!   the database, or puts another file in its place, needs the lock alone.
//! - Whoever is not the service and needs a moment without queries, because a log has to restart, asks for
//!   it by a lock of another kind (fcntl(2)) on the same file, which Linux keeps apart from the first. It dies
//!   with its process, so nobody who is killed has asked for ever.
//! - The file is never removed: otherwise two processes could hold locks on two files of its name.
//! - Nobody else may open it, because to open it is to be able to lock it. It belongs to the owner of the
//!   database, also where root was the first to make it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::{file_id, give_to, id_of, open_regular, owner_of, with_suffix};
use super::open_error::{OpenError, unusable};

/// Where SQLite's locks lie in a database file (sqlite.org/src/file/src/os.h, `PENDING_BYTE`), and on how
/// many bytes.
const SQLITE_LOCKS: (u64, u64) = (0x4000_0000, 512);
/// How long it is waited for a process that creates the database: that takes two syncs.
const CREATION_PATIENCE: Duration = Duration::from_secs(3);
const CREATION_POLL: Duration = Duration::from_millis(5);

/// Held until it is dropped, or the process ends.
pub struct Lock {
    file: File,
}

/// As long as it is there, and its process lives, a running service is asked to keep queries back.
pub struct Asking<'a>(&'a File);

impl Lock {
    /// Asks a running service for a moment without queries. It gives it soon, for some seconds at most.
    /// `None` while another process asks.
    pub fn ask_for_a_moment(&self) -> Option<Asking<'_>> {
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
pub fn is_asked(database: &Path) -> bool {
    // Opened anew, because a lock file of an earlier time may have been replaced by whoever moved things about.
    // None of this process is lost when it is closed again: the service never asks.
    let Ok(file) = open_regular(&with_suffix(database, "-lock")) else {
        return false;
    };
    // Where a file system makes one kind of lock of both (flock(2), "NFS details"), the other is a shared one.
    is_locked(&file, FlockType::ReadLock, 0, 0).is_some()
}

/// One process at a time does something in a folder that takes a moment, by a lock on the folder itself. Who
/// waits for too long goes on: this keeps processes out of each other's way, and no data.
pub(super) fn turn_in(folder: &Path) -> Option<Lock> {
    let file = File::open(folder).ok()?;
    within_patience(|| Ok((!matches!(file.try_lock(), Err(TryLockError::WouldBlock))).then_some(())))
        .ok()??;
    Some(Lock { file })
}

/// For a process that is going to commit to the database. Any number of them may.
pub fn shared(database: &Path) -> Result<Lock, OpenError> {
    within_patience(|| take(database, File::try_lock_shared))?.ok_or_else(|| being_replaced(database))
}

/// For a process that only reads the database: it makes no lock where there is none, and goes without
/// where it may not open it.
pub fn shared_if_there(database: &Path) -> Result<Option<Lock>, OpenError> {
    let Ok(file) = open_regular(&with_suffix(database, "-lock")) else {
        return Ok(None);
    };
    // Whoever creates the database has it alone for a moment.
    let is_ours = within_patience(|| match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(())),
    })?;
    is_ours.map(|()| Some(Lock { file })).ok_or_else(|| being_replaced(database))
}

/// For a process that is going to create the database. `None` as soon as another one has created it.
pub(super) fn to_create(database: &Path) -> Result<Option<Lock>, OpenError> {
    let created_or_locked = within_patience(|| match file_id(database) {
        Some(_) => Ok(Some(None)),
        None => Ok(take(database, File::try_lock)?.map(Some)),
    });
    created_or_locked?.ok_or_else(|| {
        OpenError::InUse(format!(
            "there is no database {}, but another process has it open, or is about to make it; stop that one, or \
             try again",
            database.display()
        ))
    })
}

/// For a process that is going to replace the database: nobody may have it open.
pub fn alone(database: &Path) -> Result<Lock, OpenError> {
    let lock = take(database, File::try_lock)?.ok_or_else(|| {
        OpenError::InUse(format!(
            "a service or a command has the database {} open; stop it first",
            database.display()
        ))
    })?;
    nobody_has_open(database)?;
    Ok(lock)
}

fn being_replaced(database: &Path) -> OpenError {
    OpenError::InUse(format!(
        "another database is being restored to {}; start again when that is done",
        database.display()
    ))
}

/// Tries until something comes of it. `None` if nothing does for as long as a database is waited for.
fn within_patience<T>(
    mut attempt: impl FnMut() -> Result<Option<T>, OpenError>,
) -> Result<Option<T>, OpenError> {
    let began = Instant::now();
    loop {
        let done = attempt()?;
        if done.is_some() || began.elapsed() >= CREATION_PATIENCE {
            return Ok(done);
        }
        thread::sleep(CREATION_POLL);
    }
}

/// `None` if others hold it.
fn take(database: &Path, attempt: fn(&File) -> Result<(), TryLockError>) -> Result<Option<Lock>, OpenError> {
    let locked = || -> io::Result<Option<Lock>> {
        let file = open(database)?;
        match attempt(&file) {
            Err(TryLockError::WouldBlock) => return Ok(None),
            locked => locked?,
        }
        // Somebody may have removed it in between, and others have locked the next of its name.
        let is_there = file_id(&with_suffix(database, "-lock")) == Some(id_of(&file.metadata()?));
        Ok(is_there.then_some(Lock { file }))
    };
    locked().map_err(|error| unusable(database, &with_suffix(database, "-lock"), &error))
}

/// Makes it where it is not there.
fn open(database: &Path) -> io::Result<File> {
    let path = with_suffix(database, "-lock");
    let mut options = OpenOptions::new();
    // A link that somebody has planted is not followed, and a pipe not waited for.
    options.read(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let opened = match options.clone().write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.write(true).create(true).open(&path),
        // To ask for a moment takes the right to write; to lock does not.
        Err(error) if is_denied(&error) => options.open(&path),
        opened => opened,
    };
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("it is a symbolic link; remove it"));
        }
        opened => opened?,
    };
    tighten(&file, database)?;
    Ok(file)
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Gives one that root has made to the owner of the database, and takes from others the right to open one that an
/// earlier version, or an operator, has made. Nothing is done to what could be another file under a second name.
fn tighten(file: &File, database: &Path) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file; remove it"));
    }
    let user = rustix::process::geteuid();
    if found.nlink() != 1 || found.len() != 0 || !(user.is_root() || user.as_raw() == found.uid()) {
        return Ok(());
    }
    if found.uid() == 0 {
        give_to(file, owner_of(database)?)?;
    }
    if found.mode() & 0o777 != 0o600 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Fails if another program has the database open, say a shell or something that replicates it: a
/// connection to a database with a log keeps a lock on its file. This process must have none.
pub fn nobody_has_open(database: &Path) -> Result<(), OpenError> {
    let Ok(file) = open_regular(database) else {
        return Ok(());
    };
    let (start, length) = SQLITE_LOCKS;
    let Some(held) = is_locked(&file, FlockType::WriteLock, start, length) else {
        return Ok(());
    };
    // A process of another container has no number here.
    let user = match held.pid {
        Some(pid) => format!("the process {}", pid.as_raw_nonzero()),
        None => "another process".to_owned(),
    };
    Err(OpenError::InUse(format!("{user} has the database {} open; end it first", database.display())))
}

/// A lock that another process has on these bytes, and that such a lock would have to wait for; a length of 0
/// is all of them.
fn is_locked(file: &File, typ: FlockType, start: u64, length: u64) -> Option<Flock> {
    let any = Flock { start, length, pid: None, typ, offset_type: FlockOffsetType::Set };
    // A file system that cannot tell is not one for a database.
    fcntl_getlk(file, &any).ok()?
}
