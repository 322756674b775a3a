//! A disk in memory, which fills up and has room again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
}

/// More than ten minutes take.
const ROOM: &str = "4g";

impl Disk {
    pub(crate) fn mount(folder: &Path) -> Self {
        fs::create_dir(folder).expect("the folder is the test's");
        let options = format!("size={ROOM},mode=0777");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder).status();
        assert!(mounted.expect("the machine has mount").success());
        Self { folder: folder.to_owned() }
    }

    /// A part of the disk on which this machine has its temporary files. It cannot be filled.
    pub(crate) fn folder(folder: &Path) -> Self {
        fs::create_dir(folder).expect("the folder is the test's");
        fs::set_permissions(folder, Permissions::from_mode(0o777)).expect("the folder is the test's");
        Self { folder: folder.to_owned() }
    }

    fn resize(&self, size: &str) -> bool {
        let options = format!("remount,size={size}");
        let resized = Command::new("mount").args(["-o", &options]).arg(&self.folder).output();
        resized.expect("the machine has mount").status.success()
    }

    /// Leaves no room but for what is there, and takes no memory for it.
    pub(crate) fn fill(&self) {
        let is_full = (0..100).any(|_| {
            let of = rustix::fs::statvfs(&self.folder).expect("it is mounted");
            // Others write meanwhile: what is less than there is by now is refused.
            self.resize(&((of.f_blocks - of.f_bfree) * of.f_frsize).to_string())
        });
        assert!(is_full, "{} does not shrink", self.folder.display());
    }

    pub(crate) fn free(&self) {
        assert!(self.resize(ROOM));
    }
}
