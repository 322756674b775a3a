//! The files of a follower are different ones, because what is written to one would destroy another.

use std::fs;
use std::path::{Path, PathBuf};

use super::options::{Destination, FollowOptions, Origin};
use crate::file::id_of;
use crate::follow::is_checkpoint;

const STATE: &str = "--state";
const STDOUT: &str = "stdout";

/// Says which two options name one file, by whatever path, or which names some follower's state.
pub(super) fn check(options: &FollowOptions) -> Result<(), String> {
    let mut files = match &options.origin {
        Origin::Feed(feed) => vec![(STATE, feed.state.as_path())],
        Origin::File(file) => vec![("--from-file", file.as_path())],
    };
    files.extend(options.dead_letters.iter().map(|file| ("--dead-letters", file.as_path())));
    if matches!(options.destination, Destination::Stdout) {
        files.push((STDOUT, Path::new("/proc/self/fd/1")));
    }
    for (index, (option, file)) in files.iter().enumerate() {
        if let Some((other, path)) = files[..index].iter().find(|(_, other)| is_same(file, other)) {
            return Err(format!("{option} must be another file than {other}, which is {}", path.display()));
        }
        if *option != STATE && file.is_file() && is_checkpoint(file) {
            let shown = if *option == STDOUT { STDOUT.into() } else { file.display().to_string() };
            return Err(format!("{option} must be another file: {shown} is the state of a follower"));
        }
    }
    Ok(())
}

/// True of one regular file, or of one name that no file has yet.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.is_file() && id_of(&one) == id_of(&other),
        (Err(_), Err(_)) => place(one) == place(other),
        _ => false,
    }
}

/// Where a file would be made.
fn place(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = whole.parent().and_then(|folder| fs::canonicalize(folder).ok());
    folder.zip(whole.file_name()).map_or(whole.clone(), |(folder, name)| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_known_by_every_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink("folder", path("alias")).unwrap();
        fs::write(path("folder/a"), "").unwrap();
        fs::hard_link(path("folder/a"), path("hard")).unwrap();
        std::os::unix::fs::symlink("folder/a", path("soft")).unwrap();
        for (one, other, expected) in [
            ("folder/a", "alias/a", true),
            ("folder/a", "hard", true),
            ("soft", "folder/a", true),
            ("folder/../hard", "hard", true),
            ("folder/new", "alias/new", true),
            ("new", "folder/../new", true),
            ("nowhere/new", "nowhere/new", true),
            ("folder/a", "folder/new", false),
            ("folder/new", "new", false),
            ("folder", "alias", false),
        ] {
            assert_eq!(is_same(&path(one), &path(other)), expected, "{one} {other}");
        }
    }
}
