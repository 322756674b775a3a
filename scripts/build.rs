//! Tells the program which commit it is built from: what `LYFTR_COMMIT` says, or git, or `unknown`.
//!
//! A build from a tarball or in a container has no git and needs none. Nothing is built anew unless the
//! answer may have changed.

use std::env;
use std::path::Path;
use std::process::Command;

/// For whoever builds without git and knows the commit: at most [`LONGEST`] letters, digits, `.`, `_`, `-`.
const VARIABLE: &str = "LYFTR_COMMIT";
/// A SHA-256 commit and a word beside it.
const LONGEST: usize = 80;
/// What the program is made of: changed and not committed, it is another program than the commit's.
const MADE_OF: [&str; 5] = [".cargo", "Cargo.lock", "Cargo.toml", "scripts/build.rs", "src"];

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let told = env::var(VARIABLE).ok().filter(|commit| !commit.is_empty());
    let commit = told.or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    if commit.len() > LONGEST || !commit.bytes().all(is_plain) {
        println!("cargo::error={VARIABLE} takes at most {LONGEST} letters, digits, '.', '_' and '-'");
        return;
    }
    println!("cargo::rustc-env={VARIABLE}={commit}");
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn from_git() -> Option<String> {
    // Without a repository of its own this folder may lie in somebody else's.
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and checkout leaves a line in logs/HEAD. Cargo takes a file that is not there for one
    // that changes all the time.
    let heads = ["HEAD", "logs/HEAD"].map(|name| git(&["rev-parse", "--git-path", name]));
    for path in heads.iter().flatten().map(String::as_str).chain(MADE_OF) {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let status = [&["--no-optional-locks", "status", "--porcelain", "--"], MADE_OF.as_slice()].concat();
    Some(if git(&status)?.is_empty() { commit } else { commit + "-dirty" })
}

/// What git writes, without the newline; `None` where there is no git or it refuses.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim_end().to_owned())
}
