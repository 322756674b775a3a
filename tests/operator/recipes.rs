//! What the documents tell an operator to type, taken from there word for word.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project.
pub(crate) fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(project_file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The blocks of a Markdown file that are fenced as this language.
pub(crate) fn blocks(name: &str, language: &str) -> Vec<String> {
    let text = read(name);
    let fence = format!("```{language}\n");
    let after = text.split(fence.as_str()).skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The text with one thing in it replaced, which has to be there.
#[track_caller]
pub(crate) fn replaced(text: &str, what: &str, with: &str) -> String {
    assert!(text.contains(what), "{what:?} is not in:\n{text}");
    text.replace(what, with)
}

/// The rows below the header of the table that follows a heading, cell by cell.
#[track_caller]
pub(crate) fn table(name: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(name);
    let section =
        text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading:?} in {name}"));
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}
