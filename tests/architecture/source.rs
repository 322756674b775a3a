//! A source is a file of Rust, read as its words without its comments and strings.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// Below `src` or `tests`, with slashes.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Without comments, and with every string emptied.
    pub(crate) code: String,
}

impl Source {
    /// The file or folder right below `src` that this belongs to.
    pub(crate) fn room(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.trim_end_matches(".rs")
    }

    pub(crate) fn is_in_a_folder(&self) -> bool {
        self.path.contains('/')
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

pub(crate) fn sources() -> Vec<Source> {
    sources_below("src")
}

pub(crate) fn sources_of_tests() -> Vec<Source> {
    sources_below("tests")
}

fn sources_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source is UTF-8");
        let path = path.strip_prefix(&root).expect("it was found there").to_string_lossy().replace('\\', "/");
        Source { path, code: code_of(&text), text }
    };
    found.into_iter().map(read).collect()
}

/// The text without its comments and without what stands in strings and characters.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, &code) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // What was taken out may have held two words apart.
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn raw_string(text: &str, before: &str) -> Option<usize> {
    let inside_a_word =
        before.ends_with(|last: char| last.is_alphanumeric() || last == '_') && !before.ends_with('b');
    let hashes = text.strip_prefix('r')?.bytes().take_while(|&byte| byte == b'#').count();
    let opened = &text[1 + hashes..];
    if inside_a_word || !opened.starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(1 + hashes + 1 + opened[1..].find(&end)? + end.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Tells a character from a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    let first = characters.next();
    first == Some('\\') || characters.next() == Some('\'')
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub(crate) fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word))
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|character| !is_word(character)).unwrap_or(text.len())]
}

/// The first names after each `prefix`: one, or those of a group in braces.
pub(crate) fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let mut starts = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                _ if starts && is_word(character) => {
                    names.push(first_word(&group[at..]));
                    starts = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// The names of the types that a file defines, its tests apart: these are read alone.
pub(crate) fn types(source: &Source) -> Vec<&str> {
    let code = source.code.split("mod tests").next().unwrap_or_default();
    let defined = ["struct ", "enum ", "trait ", "union ", "\ntype ", ") type ", "pub type "];
    defined.iter().flat_map(|keyword| names_after(code, keyword)).collect()
}

/// The first paragraph of what a file says of itself, on one line.
pub(crate) fn opening(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    lines.collect::<Vec<_>>().join(" ")
}

pub(crate) fn is_one_sentence(text: &str) -> bool {
    let ends_inside = |(at, _): (usize, &str)| text[at + 2..].starts_with(char::is_uppercase);
    text.ends_with('.') && !text.match_indices(". ").any(ends_inside)
}
