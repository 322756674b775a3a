//! Advice tells whoever reads of an error of the system what to do about its cause.

use std::io::{Error, ErrorKind};

use rustix::io::Errno;

/// What to do where a file or a folder cannot be used.
pub fn on_file(error: &Error) -> String {
    let advice = match error.kind() {
        // By its number, because a container's user often has no name, and a volume's owner is another one.
        ErrorKind::PermissionDenied if Errno::from_io_error(error) != Some(Errno::PERM) => {
            let user = rustix::process::geteuid().as_raw();
            return format!(
                "make the folder and the file readable and writable for user {user}, or name another"
            );
        }
        ErrorKind::ReadOnlyFilesystem => "mount it for writing, or name a file on another file system",
        ErrorKind::StorageFull => "make room on its file system",
        ErrorKind::QuotaExceeded => "raise the quota of its owner, or remove other files of his",
        ErrorKind::FileTooLarge => "raise the limit on the size of a file (ulimit -f, LimitFSIZE)",
        ErrorKind::NotFound => "there is no such file; look for a typing error in its name",
        ErrorKind::InvalidFilename => "name a file with a shorter path",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a part of its path is a file; name another path, or move that file away"
        }
        ErrorKind::IsADirectory => "it is a folder; name a file in it",
        ErrorKind::InvalidInput => "name a regular file",
        ErrorKind::OutOfMemory => "let the process have more memory",
        ErrorKind::BrokenPipe => "whoever read it has ended",
        _ => return other(error),
    };
    advice.to_owned()
}

/// What to do where no thread can be made.
pub fn on_thread(error: &Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::OutOfMemory => {
            "raise the limit on threads (ulimit -u, TasksMax, pids.max) or on memory, or lower WORKERS"
                .to_owned()
        }
        _ => other(error),
    }
}

/// Of what the standard library has no name for.
fn other(error: &Error) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise the limit on open files of the process (ulimit -n, LimitNOFILE)",
        Some(Errno::NFILE) => "raise the limit on open files of the machine (fs.file-max)",
        Some(Errno::IO | Errno::NODEV | Errno::NXIO) => "the disk fails: look at the kernel's log",
        Some(Errno::BADF) => "whoever started this has closed it; connect it to a file or a pipe",
        Some(Errno::LOOP) => "the symbolic links on its path go round in a circle; name the file itself",
        Some(Errno::PERM) => "it is protected (chattr, a mandatory policy); lift that, or name another",
        _ => "look at the log of the kernel, and at the rights on the path",
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_an_advice_of_its_own() {
        let causes = [
            (Errno::ACCESS, "writable for user"),
            (Errno::ROFS, "mount it for writing"),
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::FBIG, "size of a file"),
            (Errno::NOENT, "no such file"),
            (Errno::NAMETOOLONG, "shorter"),
            (Errno::NOTDIR, "a part of its path is a file"),
            (Errno::ISDIR, "it is a folder"),
            (Errno::MFILE, "LimitNOFILE"),
            (Errno::IO, "the disk fails"),
            (Errno::BADF, "closed"),
            (Errno::LOOP, "symbolic links"),
            (Errno::PERM, "protected"),
        ];
        for (errno, said) in causes {
            let advice = on_file(&errno.into());
            assert!(advice.contains(said), "{errno:?}: {advice}");
            let others = causes.iter().filter(|(other, _)| *other != errno);
            for (other, _) in others {
                assert_ne!(on_file(&(*other).into()), advice, "{errno:?} and {other:?}");
            }
        }
        assert!(on_thread(&Errno::AGAIN.into()).contains("TasksMax"));
    }
}
