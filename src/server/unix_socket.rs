//! A Unix socket has a file of its own, which whoever made it removes.
//!
//! - A file that a stopped service has left behind is taken over, one behind which somebody listens is not. Between
//!   looking and binding no other process of ours does the same, by a lock on the folder.
//! - Nobody can connect before the rights are set: they are those with which the file appears.
//! - What is removed at the end is the file that was bound, and not one that has its name by then.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::umask;

use crate::file::{FileId, file_id, folder_of};
use crate::limits::LISTEN_BACKLOG;

/// How long it is waited for a process that is at the same. Then both go on, as they would without a lock.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// The file of a socket that this process has bound. It goes when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    id: Option<FileId>,
}

impl SocketFile {
    /// A socket that listens there. To be called before a second thread is started: it changes the umask for a
    /// moment.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(OwnedFd, Self)> {
        let _turn = turn_in(folder_of(path));
        let address = SocketAddrUnix::new(path)?;
        remove_if_left_behind(path, &address)?;
        let socket = stream()?;
        let before = umask(Mode::from_raw_mode(0o777 & !mode));
        let bound = bind(&socket, &address);
        umask(before);
        bound?;
        let file = Self { path: path.to_owned(), id: file_id(path) };
        // While others keep away: to them, one that does not listen yet is left behind.
        listen(&socket, LISTEN_BACKLOG)?;
        Ok((socket, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_some() && file_id(&self.path) == self.id {
            // If it is gone already, that was the aim.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn remove_if_left_behind(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Where somebody listens and has no room for one more, that is no refusal.
    if is_socket && connect(stream()?, address) == Err(Errno::CONNREFUSED) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn stream() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

fn turn_in(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    let began = Instant::now();
    while folder.try_lock().is_err() {
        if began.elapsed() >= TURN_PATIENCE {
            return None;
        }
        thread::sleep(LOCK_RETRY_INTERVAL);
    }
    Some(folder)
}
