//! A checkpoint is a file that says up to where messages were handed on, and that is whole at every instant.
//!
//! It has slots of one sector each, one of which is written at a time: the newest counts, and what a crash leaves
//! of it does no harm to the others. Nothing is made or renamed for it, so a full disk does not stop it. A kill finds
//! what was last written. A power cut finds what was last synced, which begins at once after each write
//! ([`Syncer`]), so it undoes what was written during one sync and the one before it, some milliseconds.
//!
//! A slot is JSON, so that an operator can read it. `version` is what every later form has to keep.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::checkpoint_error::CheckpointError;
use super::syncer::{Mark, SLOTS, Syncer};
use crate::file::{as_itself, folder_of, sync_folder};

/// What a disk writes whole or not at all.
const SLOT_BYTES: usize = 512;
const VERSION: u64 = 1;

/// A follower that was killed while it started a command leaves its lock to that for an instant, until it is the
/// command.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// Where a follower stands. No other process has the same one.
pub struct Checkpoint {
    file: Arc<File>,
    path: PathBuf,
    sequence: u64,
    cursor: String,
    syncer: Syncer,
    /// A sync has failed, so what was written is written again.
    is_in_doubt: bool,
}

impl Checkpoint {
    /// The one in the file; `None` where there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let unusable = |error| CheckpointError::Unusable(path.to_owned(), error);
        let file = match as_itself().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => Arc::new(opened.map_err(unusable)?),
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
        let WholeSlot { sequence, slot, cursor } =
            read(&file).map_err(unusable)?.map_err(|version| match version {
                Some(version) => CheckpointError::Newer { path: path.to_owned(), version, known: VERSION },
                None => CheckpointError::Damaged(path.to_owned()),
            })?;
        // Whoever wrote it may have been killed before it was synced.
        file.sync_data().map_err(unusable)?;
        let synced = Arc::clone(&file);
        let syncer = Syncer::start(Mark { sequence, slot }, move || sync(&synced)).map_err(unusable)?;
        Ok(Some(Self { file, path: path.to_owned(), sequence, cursor, syncer, is_in_doubt: false }))
    }

    /// A new one, which stands at `cursor`: empty is the beginning. It is on the disk, or it is not there.
    pub fn create(path: &Path, cursor: &str) -> Result<Self, CheckpointError> {
        let unusable = |error| CheckpointError::Unusable(path.to_owned(), error);
        let mut slots = Vec::new();
        for sequence in 0..SLOTS {
            slots.extend_from_slice(&slot(sequence as u64, cursor)?);
        }
        publish(path, &slots).map_err(unusable)?;
        Self::open(path)?.ok_or_else(|| unusable(io::ErrorKind::NotFound.into()))
    }

    /// Where to go on.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Goes on to `cursor`. What was written survives a kill, and, soon after or once [`Self::sync`] has returned, a
    /// power cut.
    pub fn advance(&mut self, cursor: &str) -> Result<(), CheckpointError> {
        let mark = Mark { sequence: self.sequence + 1, slot: self.syncer.free_slot() };
        let place = (mark.slot * SLOT_BYTES) as u64;
        self.file.write_all_at(&slot(mark.sequence, cursor)?, place).map_err(|error| self.unusable(error))?;
        self.syncer.ask(mark);
        self.sequence = mark.sequence;
        cursor.clone_into(&mut self.cursor);
        Ok(())
    }

    /// True if what was written could not be synced.
    pub fn wants_sync(&self) -> bool {
        self.is_in_doubt || self.syncer.has_failed()
    }

    /// Waits until what was written is synced.
    pub fn sync(&mut self) -> Result<(), CheckpointError> {
        if self.is_in_doubt {
            let cursor = self.cursor.clone();
            self.advance(&cursor)?;
        }
        let synced = self.syncer.wait();
        self.is_in_doubt = synced.is_err();
        synced.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CheckpointError::Removed(self.path.clone()),
            _ => self.unusable(error),
        })
    }

    fn unusable(&self, error: io::Error) -> CheckpointError {
        CheckpointError::Unusable(self.path.clone(), error)
    }
}

/// True of a file that is some follower's state, of this version or of a later one.
pub fn is_checkpoint(path: &Path) -> bool {
    let read = as_itself().open(path).and_then(|file| read(&file));
    matches!(read, Ok(Ok(_) | Err(Some(_))))
}

/// A file that has no name any more is as good as not there.
fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    if file.metadata()?.nlink() == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
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
    sync_folder(folder)
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

/// What a slot says. The one with the highest sequence counts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct WholeSlot {
    sequence: u64,
    slot: usize,
    cursor: String,
}

/// The newest of the slots that are whole, or the version that has written the file, if it says.
fn read(file: &File) -> io::Result<Result<WholeSlot, Option<u64>>> {
    // One more than it has, so that a file of something else is seen.
    let mut bytes = [0; SLOT_BYTES * SLOTS + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    let mut newest = None;
    let mut newer_version = None;
    for (slot, bytes) in bytes[..length].chunks(SLOT_BYTES).enumerate() {
        let Ok(record) = serde_json::from_slice::<Value>(bytes) else { continue };
        match record["version"].as_u64() {
            Some(VERSION) => newest = newest.max(whole(&record, slot)),
            Some(version) if version > VERSION => newer_version = Some(version),
            _ => {}
        }
    }
    // A later form may be one object that is longer than a slot of this one.
    let first: Option<Value> =
        serde_json::Deserializer::from_slice(&bytes[..length]).into_iter().next().and_then(Result::ok);
    let version = first.and_then(|record| record["version"].as_u64()).filter(|version| *version > VERSION);
    Ok(match (newer_version.or(version), newest) {
        (None, Some(found)) if length == SLOT_BYTES * SLOTS => Ok(found),
        (version, _) => Err(version),
    })
}

fn whole(record: &Value, slot: usize) -> Option<WholeSlot> {
    let (sequence, cursor) = (record["sequence"].as_u64()?, record["cursor"].as_str()?);
    (record["check"] == check(sequence, cursor)).then(|| WholeSlot {
        sequence,
        slot,
        cursor: cursor.to_owned(),
    })
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
    fn what_was_advanced_to_is_synced_at_once_and_the_next_does_not_wait() {
        let (_folder, path) = state();
        let mut made = Checkpoint::create(&path, "").unwrap();
        for number in 1..=1000 {
            made.advance(&format!("c{number}")).unwrap();
        }
        while !made.syncer.is_idle() {
            thread::yield_now();
        }
        assert!(!made.wants_sync());
        made.sync().unwrap();
        drop(made);
        assert_eq!(Checkpoint::open(&path).unwrap().unwrap().cursor(), "c1000");
    }

    #[test]
    fn a_state_is_told_from_other_files() {
        let (folder, path) = state();
        assert!(!is_checkpoint(&path));
        drop(Checkpoint::create(&path, "").unwrap());
        assert!(is_checkpoint(&path) && !is_checkpoint(folder.path()));
        std::fs::write(&path, "{\"message_id\":\"m1\"}\n").unwrap();
        assert!(!is_checkpoint(&path));
    }

    #[test]
    fn whatever_a_crash_leaves_of_one_slot_the_other_counts() {
        let (_folder, path) = state();
        let mut made = Checkpoint::create(&path, "a").unwrap();
        made.advance("b").unwrap();
        drop(made);
        let written = std::fs::read(&path).unwrap();
        for torn in 0..SLOT_BYTES {
            // The next is written to any slot but the newest, which is the first one.
            let mut bytes = written.clone();
            bytes[SLOT_BYTES..SLOT_BYTES + torn].copy_from_slice(&slot(5, "c").unwrap()[..torn]);
            std::fs::write(&path, &bytes).unwrap();
            let found = Checkpoint::open(&path).unwrap().unwrap();
            assert!(["b", "c"].contains(&found.cursor()), "{torn}");
        }
    }

    #[test]
    fn a_file_that_does_not_say_where_to_go_on_is_refused() {
        let (_folder, path) = state();
        let whole = [4, 5, 4, 4].map(|sequence| slot(sequence, "a").unwrap()).concat();
        let flipped: Vec<u8> =
            whole.iter().map(|byte| if *byte == b'4' || *byte == b'5' { b'6' } else { *byte }).collect();
        for damaged in [&b""[..], b"\n", b"cursor", &whole[..100], &whole[..1024], &flipped, &[0; 2048]] {
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
            assert!(
                matches!(Checkpoint::open(&path), Err(CheckpointError::Newer { version: 2, .. })),
                "{newer}"
            );
        }
        assert!(matches!(slot(1, &"c".repeat(500)), Err(CheckpointError::TooLong)));
    }

    #[test]
    fn a_state_that_was_removed_under_its_follower_is_missed() {
        let (_folder, path) = state();
        let mut made = Checkpoint::create(&path, "a").unwrap();
        std::fs::remove_file(&path).unwrap();
        made.advance("b").unwrap();
        assert!(matches!(made.sync(), Err(CheckpointError::Removed(_))));
    }
}
