//! Progress is shown on stderr as a percentage, where that is a terminal.

use std::io::{IsTerminal, stderr};
use std::path::Path;

use super::Failure;
use super::streams::say;
use crate::escape::escaped;
use crate::store::OpenError;

/// Runs `work`, which tells how much is done and how much there is in all. If it makes `file`, that is said at its end.
pub(super) fn with_progress<T>(
    file: Option<&Path>,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<T, OpenError>,
) -> Result<T, Failure> {
    let is_terminal = stderr().is_terminal();
    let mut last = None;
    let result = work(&mut |done, all| {
        let percent = done * 100 / all.max(1);
        if is_terminal && last.replace(percent) != Some(percent) {
            say(&format!("\r{percent:3} %"));
        }
    });
    match (&result, file) {
        _ if last.is_none() || !is_terminal => {}
        (Ok(_), Some(file)) => say(&format!("\r{} written\n", escaped(&file.to_string_lossy()))),
        (Ok(_), None) => say("\r"),
        (Err(_), _) => say("\n"),
    }
    Ok(result?)
}
