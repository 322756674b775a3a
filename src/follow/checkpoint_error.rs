//! A checkpoint error says why a follower's cursor cannot be read, or cannot be kept.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::own_file;

/// Why the cursor cannot be read, or cannot be kept.
#[derive(Debug)]
pub enum CheckpointError {
    /// Another follower has it.
    InUse(PathBuf),
    Damaged(PathBuf),
    /// A later version has written it.
    Newer {
        path: PathBuf,
        version: u64,
        known: u64,
    },
    /// The service has given out a cursor that does not fit.
    TooLong,
    /// Somebody has removed it under the follower.
    Removed(PathBuf),
    Unusable(PathBuf, io::Error),
}

impl CheckpointError {
    /// True where writing may succeed later without anybody ending the follower. A state that was removed does not
    /// come back.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unusable(..))
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
            Self::Newer { path, version, known } => write!(
                f,
                "the state {} has the form {version} of a newer version of this program, which knows {known}; use \
                 that version, or another file with --state",
                path.display()
            ),
            Self::TooLong => {
                f.write_str("the service gave a cursor that is too long to be kept; is it of this program?")
            }
            Self::Removed(path) => write!(
                f,
                "the state {} was removed while this follower had it, so where to go on is not known any more; put back \
                 a copy of it, or start with --from beginning (every message once more) or --from now (those that come \
                 from now on)",
                path.display()
            ),
            Self::Unusable(path, error) => write!(
                f,
                "the state {} cannot be used: {error}; {}",
                path.display(),
                own_file::advice(path, error)
            ),
        }
    }
}
