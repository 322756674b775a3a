//! The path of a database is resolved once, where it enters the store.
//!
//! - A symbolic link stands for its target: log, index and lock lie beside the target, and whoever names
//!   the link and whoever names the target lock the same file.
//! - What comes out leads through no link any more, so SQLite is told to follow none
//!   ([`super::files::READ_WRITE`]): one that is planted later is an error.
//! - Only a link that this user, or root, has made is followed. To a user without root's rights, one
//!   that the owner of its folder has made is as good, because he could have put anything there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, readlinkat};

use super::open_error::{OpenError, foreign};

/// Links on the way to one file (path_resolution(7) allows as many).
const MAX_LINKS: usize = 40;

/// An absolute path without a link in it, of a file that need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePath(PathBuf);

impl DatabasePath {
    /// [`OpenError::Refused`] if the links lead in a circle, or are not to be followed, or if what is there can be no
    /// database: what SQLite makes of a pipe or of a device says nothing of the cause.
    pub fn resolve(path: &Path) -> Result<Self, OpenError> {
        let refused =
            |reason: String| OpenError::Refused(format!("{} cannot be used: {reason}", path.display()));
        let absolute = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let mut pending = parts_of(&absolute);
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            if part == OsStr::new("..") {
                resolved.pop();
                continue;
            }
            let here = resolved.join(&part);
            let Some(link) = Link::at(&here) else {
                resolved = here;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(refused("its symbolic links lead in a circle".to_owned()));
            }
            if !link.may_be_followed(&resolved) {
                return Err(refused(format!(
                    "{} is a symbolic link that user {} has made, who is neither root nor this user; name its \
                     target instead",
                    here.display(),
                    link.owner
                )));
            }
            if link.target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            for part in parts_of(&link.target).into_iter().rev() {
                pending.push_front(part);
            }
        }
        // Whoever opens a folder is told that it is one.
        if fs::symlink_metadata(&resolved).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(foreign(&resolved, "it is no regular file"));
        }
        Ok(Self(resolved))
    }
}

impl Deref for DatabasePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

/// Names and steps up, without the root.
fn parts_of(path: &Path) -> VecDeque<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}

struct Link {
    owner: u32,
    target: PathBuf,
}

impl Link {
    /// `None` where there is no link, or nothing, or nothing that this user may look at: opening it says why.
    fn at(path: &Path) -> Option<Self> {
        // One descriptor for both, so that the owner is that of the link that is read.
        let link: OwnedFd =
            open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let found = fstat(&link).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return None;
        }
        let target = readlinkat(&link, "", Vec::new()).ok()?;
        Some(Self { owner: found.st_uid, target: OsString::from_vec(target.into_bytes()).into() })
    }

    fn may_be_followed(&self, folder: &Path) -> bool {
        let user = rustix::process::geteuid().as_raw();
        let folder_owner = fs::symlink_metadata(folder).ok().map(|folder| folder.uid());
        is_trusted(self.owner, user, folder_owner)
    }
}

fn is_trusted(owner: u32, user: u32, folder_owner: Option<u32>) -> bool {
    owner == 0 || owner == user || (user != 0 && Some(owner) == folder_owner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_a_file_that_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        let at = |name: &str| home.join(name);
        fs::create_dir(at("data")).unwrap();
        symlink("data", at("folder")).unwrap();
        symlink("folder/../second", at("first")).unwrap();
        symlink(at("folder/app.db"), at("second")).unwrap();
        symlink("one", at("other")).unwrap();
        symlink("other", at("one")).unwrap();
        for (name, expected) in [
            ("app.db", "app.db"),
            ("first", "data/app.db"),
            ("folder/app.db", "data/app.db"),
            ("folder/new/app.db", "data/new/app.db"),
            ("./data/../data/app.db", "data/app.db"),
        ] {
            assert_eq!(&*DatabasePath::resolve(&at(name)).unwrap(), at(expected), "{name}");
        }
        let circle = DatabasePath::resolve(&at("one")).unwrap_err().to_string();
        assert!(circle.contains("circle") && circle.contains("one"), "{circle}");
    }

    #[test]
    fn a_link_is_followed_by_whom_its_maker_could_not_harm() {
        for (owner, user, folder_owner, expected) in [
            (0, 0, 0, true),
            (0, 1000, 1000, true),
            (1000, 1000, 0, true),
            (1001, 1000, 1001, true),
            (1001, 1000, 0, false),
            (1000, 0, 1000, false),
            (1000, 0, 0, false),
        ] {
            assert_eq!(
                is_trusted(owner, user, Some(folder_owner)),
                expected,
                "{owner} {user} {folder_owner}"
            );
        }
    }
}
