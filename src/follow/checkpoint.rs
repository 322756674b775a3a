//! A checkpoint is a file that says up to where messages were handed on, and that is whole at every instant.
//!
//! It has two slots of one sector each, which are written in turn: the newer one counts, and what a crash leaves
//! of the other does no harm. Nothing is made or renamed for it, so a full disk does not stop it. A kill finds what
//! was last written; a power cut what was last synced.
//!
//! A slot is JSON, so that an operator can read it. `version` is what every later form has to keep.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::advice;

/// What a disk writes whole or not at all.
const SLOT_BYTES: usize = 512;
const SLOTS: u64 = 2;
const VERSION: u64 = 1;
/// Those that are confirmed within this share a sync, which takes most of a millisecond.
const SYNC_INTERVAL: Duration = Duration::from_millis(20);

/// A follower that was killed while it started a command leaves its lock to that for an instant, until it is the
/// command.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// Why where to go on cannot be told, or not be remembered.
#[derive(Debug)]
pub enum CheckpointError {
    /// Another follower has it.
    InUse(PathBuf),
    Damaged(PathBuf),
    /// A later version has written it.
    Newer(PathBuf, u64),
    /// The service has given out a cursor that does not fit.
    TooLong,
    Unusable(PathBuf, io::Error),
}

impl CheckpointError {
    /// True where writing may succeed later without anybody ending the follower. A state that was removed does not
    /// come back.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unusable(_, error) if error.kind() != io::ErrorKind::NotFound)
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another follower has the state {}; end it, or name another file with --state",
                path.display()
            ),
            Self::Damaged(path) => write!(
                f,
                "the state {} is damaged, so where to go on is not known; put back a copy of it, or remove it and \
                 start with --from beginning (every message once more) or --from now (those that come from now on)",
                path.display()
            ),
            Self::Newer(path, version) => write!(
                f,
                "the state {} has the form {version} of a newer version of this program, which knows {VERSION}; use \
                 that version, or another file with --state",
                path.display()
            ),
            Self::TooLong => {
                f.write_str("the service gave a cursor that is too long to be kept; is it of this program?")
            }
            Self::Unusable(path, error) => {
                write!(f, "the state {} cannot be used: {error}; {}", path.display(), advice::on_file(error))
            }
        }
    }
}

/// Where a follower stands. No other process has the same one.
pub struct Checkpoint {
    file: File,
    path: PathBuf,
    sequence: u64,
    cursor: String,
    /// Since when there is something that a power cut would undo.
    unsynced_since: Option<Instant>,
}

impl Checkpoint {
    /// The one in the file; `None` where there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let unusable = |error| CheckpointError::Unusable(path.to_owned(), error);
        let file = match options().open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unusable)?,
        };
        if !file.metadata().map_err(unusable)?.is_file() {
            return Err(unusable(io::ErrorKind::InvalidInput.into()));
        }
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_LOOK),
                Err(TryLockError::WouldBlock) => return Err(CheckpointError::InUse(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        let (sequence, cursor) = read(&file).map_err(unusable)?.map_err(|version| match version {
            Some(version) => CheckpointError::Newer(path.to_owned(), version),
            None => CheckpointError::Damaged(path.to_owned()),
        })?;
        Ok(Some(Self { file, path: path.to_owned(), sequence, cursor, unsynced_since: None }))
    }

    /// A new one, which stands at `cursor`: empty is the beginning. It is on the disk, or it is not there.
    pub fn create(path: &Path, cursor: &str) -> Result<Self, CheckpointError> {
        let unusable = |error| CheckpointError::Unusable(path.to_owned(), error);
        let mut slots = Vec::new();
        for sequence in 0..SLOTS {
            slots.extend_from_slice(&slot(sequence, cursor)?);
        }
        publish(path, &slots).map_err(unusable)?;
        Self::open(path)?.ok_or_else(|| unusable(io::ErrorKind::NotFound.into()))
    }

    /// Where to go on.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Goes on to `cursor`. What was written survives a kill, and once [`Self::sync`] has returned a power cut.
    pub fn advance(&mut self, cursor: &str) -> Result<(), CheckpointError> {
        let sequence = self.sequence + 1;
        let place = sequence % SLOTS * SLOT_BYTES as u64;
        self.file.write_all_at(&slot(sequence, cursor)?, place).map_err(|error| self.unusable(error))?;
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.sequence = sequence;
        cursor.clone_into(&mut self.cursor);
        Ok(())
    }

    /// True if what was written has waited for long enough.
    pub fn wants_sync(&self) -> bool {
        self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL)
    }

    pub fn sync(&mut self) -> Result<(), CheckpointError> {
        if self.unsynced_since.is_some() {
            self.file.sync_data().map_err(|error| self.unusable(error))?;
            let links = self.file.metadata().map_err(|error| self.unusable(error))?.nlink();
            if links == 0 {
                return Err(self.unusable(io::ErrorKind::NotFound.into()));
            }
            self.unsynced_since = None;
        }
        Ok(())
    }

    fn unusable(&self, error: io::Error) -> CheckpointError {
        CheckpointError::Unusable(self.path.clone(), error)
    }
}

/// A link that somebody has planted is not followed, and a pipe not waited for.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Puts the content in place, whole, where nothing has that name yet; something that has it stays as it is.
fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new().prefix(".follow-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => return Err(failed.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

/// The folder in which a file is.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The bytes of one slot, filled up with blanks.
fn slot(sequence: u64, cursor: &str) -> Result<[u8; SLOT_BYTES], CheckpointError> {
    let record =
        json!({"version": VERSION, "sequence": sequence, "cursor": cursor, "check": check(sequence, cursor)});
    let record = record.to_string();
    let mut slot = [b' '; SLOT_BYTES];
    if record.len() >= SLOT_BYTES {
        return Err(CheckpointError::TooLong);
    }
    slot[..record.len()].copy_from_slice(record.as_bytes());
    slot[SLOT_BYTES - 1] = b'\n';
    Ok(slot)
}

fn check(sequence: u64, cursor: &str) -> String {
    hex::encode(&Sha256::digest(format!("{VERSION} {sequence} {cursor}"))[..4])
}

/// The newer of the slots that are whole, or the version that has written the file, if it says.
fn read(file: &File) -> io::Result<Result<(u64, String), Option<u64>>> {
    // One more than it has, so that a file of something else is seen.
    let mut bytes = [0; SLOT_BYTES * SLOTS as usize + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    let mut newest = None;
    let mut newer_version = None;
    for slot in bytes[..length].chunks(SLOT_BYTES) {
        let Ok(record) = serde_json::from_slice::<Value>(slot) else { continue };
        match record["version"].as_u64() {
            Some(VERSION) => newest = newest.max(whole(&record)),
            Some(version) if version > VERSION => newer_version = Some(version),
            _ => {}
        }
    }
    // A later form may be one object that is longer than a slot of this one.
    let first: Option<Value> =
        serde_json::Deserializer::from_slice(&bytes[..length]).into_iter().next().and_then(Result::ok);
    let version = first.and_then(|record| record["version"].as_u64()).filter(|version| *version > VERSION);
    Ok(match (newer_version.or(version), newest) {
        (None, Some(found)) if length == SLOT_BYTES * SLOTS as usize => Ok(found),
        (version, _) => Err(version),
    })
}

fn whole(record: &Value) -> Option<(u64, String)> {
    let (sequence, cursor) = (record["sequence"].as_u64()?, record["cursor"].as_str()?);
    (record["check"] == check(sequence, cursor)).then(|| (sequence, cursor.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("follow.state");
        (folder, path)
    }

    #[test]
    fn what_was_advanced_to_is_found_again() {
        let (_folder, path) = state();
        assert!(Checkpoint::open(&path).unwrap().is_none());
        let mut made = Checkpoint::create(&path, "").unwrap();
        for cursor in ["a", "b", "c"] {
            assert!(matches!(Checkpoint::open(&path), Err(CheckpointError::InUse(_))));
            made.advance(cursor).unwrap();
            drop(made);
            made = Checkpoint::open(&path).unwrap().unwrap();
            assert_eq!(made.cursor(), cursor);
        }
        made.sync().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(made);
        assert_eq!(Checkpoint::create(&path, "other").unwrap().cursor(), "c", "the one that is there stays");
    }

    #[test]
    fn whatever_a_crash_leaves_of_one_slot_the_other_counts() {
        let (_folder, path) = state();
        let mut made = Checkpoint::create(&path, "a").unwrap();
        made.advance("b").unwrap();
        drop(made);
        let written = std::fs::read(&path).unwrap();
        for torn in 0..SLOT_BYTES {
            // The next is written over the older slot, which is the second one.
            let mut bytes = written.clone();
            bytes[SLOT_BYTES..SLOT_BYTES + torn].copy_from_slice(&slot(3, "c").unwrap()[..torn]);
            std::fs::write(&path, &bytes).unwrap();
            let found = Checkpoint::open(&path).unwrap().unwrap();
            assert!(["b", "c"].contains(&found.cursor()), "{torn}");
        }
    }

    #[test]
    fn a_file_that_does_not_say_where_to_go_on_is_refused() {
        let (_folder, path) = state();
        let whole = [slot(4, "a").unwrap(), slot(5, "b").unwrap()].concat();
        let flipped: Vec<u8> =
            whole.iter().map(|byte| if *byte == b'4' || *byte == b'5' { b'6' } else { *byte }).collect();
        for damaged in [&b""[..], b"\n", b"cursor", &whole[..100], &flipped, &[0; 1024]] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(Checkpoint::open(&path), Err(CheckpointError::Damaged(_))), "{damaged:?}");
        }
        let newer = String::from_utf8(whole).unwrap().replace("\"version\":1", "\"version\":2");
        for newer in [
            newer,
            format!("{{\"version\":2,\"more\":\"{}\"}}", "x".repeat(400)),
            "{\"version\":2}".to_owned(),
        ] {
            std::fs::write(&path, &newer).unwrap();
            assert!(matches!(Checkpoint::open(&path), Err(CheckpointError::Newer(_, 2))), "{newer}");
        }
        assert!(matches!(slot(1, &"c".repeat(500)), Err(CheckpointError::TooLong)));
    }

    #[test]
    fn a_state_that_was_removed_under_its_follower_is_missed() {
        let (_folder, path) = state();
        let mut made = Checkpoint::create(&path, "a").unwrap();
        std::fs::remove_file(&path).unwrap();
        made.advance("b").unwrap();
        assert!(matches!(made.sync(), Err(CheckpointError::Unusable(..))));
    }
}
