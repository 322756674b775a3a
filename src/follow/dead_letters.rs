//! Dead letters are the messages that a target would not take, one a line of JSON at the end of a file.
//!
//! The file is opened for each batch, so that it may be moved away at any time.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::batch::{FeedMessage, MessageBatch};
use crate::file::{as_itself, folder_of, sync_folder};

/// What is read at a time while the last line end is looked for.
const WINDOW_BYTES: usize = 64 << 10;

/// Adds a batch, all of it or nothing, so that it outlives a power cut.
pub fn append(path: &Path, batch: &MessageBatch<'_>) -> io::Result<()> {
    let file = open(path)?;
    file.try_lock()
        .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"))?;
    let end = mend(&file)?;
    let written = (&file).write_all(&batch.ndjson()).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is left of it would be half a line for whoever reads the file meanwhile.
        let _ = file.set_len(end);
    }
    written?;
    sync_folder(folder_of(path))
}

/// Fails if a batch could not be added for a reason that is there already.
pub fn probe(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

fn open(path: &Path) -> io::Result<File> {
    let file = as_itself().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Has the file end with a line end, and says how long it is then. Half a line is what a crash has left of a batch
/// that was never remembered as confirmed: it comes again, and this goes.
fn mend(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let tail = tail(file, length)?;
    if tail.is_empty() {
        return Ok(length);
    }
    let text = String::from_utf8_lossy(&tail);
    if FeedMessage::parse(&text).is_ok() {
        (&mut &*file).write_all(b"\n")?;
        return Ok(length + 1);
    }
    if !text.starts_with('{') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its last line is no dead letter, and is left as it is",
        ));
    }
    let end = length - tail.len() as u64;
    file.set_len(end)?;
    Ok(end)
}

/// What stands behind the last line end.
fn tail(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    let mut start = length;
    while start > 0 {
        let size = start.min(WINDOW_BYTES as u64);
        let mut window = vec![0; size as usize];
        start -= size;
        file.read_exact_at(&mut window, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &window) {
            return Ok([&window[at + 1..], &tail].concat());
        }
        tail = [window, tail].concat();
    }
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(before: &[u8]) -> io::Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.ndjson");
        std::fs::write(&path, before).unwrap();
        let message = FeedMessage::parse(r#"{"message_id":"new"}"#).unwrap();
        append(&path, &MessageBatch::of(&[message]).unwrap())?;
        Ok(std::fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn a_batch_follows_the_last_whole_line() {
        let new = "{\"message_id\":\"new\"}\n";
        let old = "{\"message_id\":\"old\"}\n";
        let long = format!("{old}{{\"message_id\":\"{}", "x".repeat(WINDOW_BYTES * 2));
        for (before, kept) in [
            ("", ""),
            (old, old),
            (old.trim_end(), old),
            ("{\"mess", ""),
            ("{", ""),
            (&*format!("{old}{{\"message_id\":\"ha"), old),
            (&*format!("{old}{{\"message_id\":\"é"), old),
            (&*long, old),
        ] {
            assert_eq!(appended(before.as_bytes()).unwrap(), format!("{kept}{new}"), "{before}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_as_it_is() {
        assert!(appended(b"root:x:0:0").is_err());
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(probe(&link).is_err() && probe(folder.path()).is_err() && !target.exists());
        probe(&target).unwrap();
    }
}
