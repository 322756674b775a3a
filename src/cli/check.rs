//! `check` says whether a database is sound: in words on stdout, for scripts by its exit status.

use super::streams::print;
use super::{Failure, NO};
use crate::store::{self, DatabasePath};

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
    Err(Failure::new(NO, format!("{} is not sound", database.display())))
}
