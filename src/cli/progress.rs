//! Progress says on stderr how far a copy has come, where somebody is looking.

use std::io::{IsTerminal, stderr};
use std::path::Path;

use super::Failure;
use super::streams::say;
use crate::escape::escaped;
use crate::store::OpenError;

/// Runs something that makes `file` and tells of its progress: so many pages of so many.
pub(super) fn shown(
    file: &Path,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<(), OpenError>,
) -> Result<(), Failure> {
    let is_terminal = stderr().is_terminal();
    let mut last = None;
    let result = work(&mut |done, all| {
        let percent = done * 100 / all.max(1);
        if is_terminal && last.replace(percent) != Some(percent) {
            say(&format!("\r{percent:3} %"));
        }
    });
    if is_terminal && last.is_some() {
        match &result {
            Ok(()) => say(&format!("\r{} written\n", escaped(&file.to_string_lossy()))),
            Err(_) => say("\n"),
        }
    }
    Ok(result?)
}
