//! Advice on a follower's own file says what to do where that cannot be used.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::advice;
use crate::file::folder_of;

/// What to do about `error`, which `path` was met with.
pub fn advice(path: &Path, error: &Error) -> String {
    let folder = folder_of(path);
    if path.is_symlink() {
        "it is a link, and links are not followed; name the file itself".to_owned()
    } else if error.kind() == ErrorKind::NotFound && !folder.exists() {
        format!("there is no folder {}; make it, or name a file in another", folder.display())
    } else {
        advice::on_file(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::as_itself;

    #[test]
    fn a_link_and_a_missing_folder_are_named_as_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let said = |path: &Path| as_itself().open(path).map_err(|error| advice(path, &error)).map(drop);
        assert_eq!(said(&target), Ok(()));
        assert!(said(&link).unwrap_err().contains("links are not followed"));
        assert!(said(&folder.path().join("no/file")).unwrap_err().contains("no folder"));
        assert!(said(&folder.path().join("no")).unwrap_err().contains("no such file"));
    }
}
