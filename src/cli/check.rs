//! `check` says whether a database is sound: in words on stdout, for scripts by its exit status.

use super::Failure;
use super::streams::print;
use crate::store::{self, DatabasePath};

/// What is wrong was said.
const NOT_SOUND: u8 = 1;

pub(super) fn check(database: &DatabasePath) -> Result<(), Failure> {
    let mut written = Ok(());
    let is_sound = store::check(database, &mut |line| {
        if written.is_ok() {
            written = print(&format!("{line}\n"));
        }
    })?;
    written?;
    if is_sound {
        return Ok(());
    }
    Err(Failure::new(NOT_SOUND, format!("{} is not sound", database.display())))
}
