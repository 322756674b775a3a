//! Which commit a program says it is built from, asked of the build script as Cargo would run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::skip::has;
use crate::tools::run;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/build.rs");
/// What the script says a program is made of.
const SOURCES: [&str; 5] =
    [".cargo/config.toml", "Cargo.lock", "Cargo.toml", "scripts/build.rs", "src/main.rs"];

/// The compiled build script, and a folder that it takes for the project's.
struct Build {
    folder: TempDir,
    script: PathBuf,
}

impl Build {
    fn new() -> Option<Self> {
        if !has(&["rustc", "git"]) {
            return None;
        }
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let script = folder.path().join("script");
        let output = script.to_str().expect("a temporary path is UTF-8");
        let compiled = run("rustc", &["--edition", "2024", "-o", output, SCRIPT]);
        assert!(compiled.status.success(), "{compiled:?}");
        let build = Self { folder, script };
        for path in SOURCES {
            build.write(path, "first");
        }
        Some(build)
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder is ours");
        std::fs::write(path, content).expect("the folder is ours");
    }

    fn output(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.script);
        command.current_dir(self.project()).env_remove("LYFTR_COMMIT").envs(variables.iter().copied());
        command.output().expect("the script starts")
    }

    /// What the script tells Cargo: values of one instruction.
    fn tells(&self, instruction: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let output = self.output(variables);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("instructions are UTF-8");
        let prefix = format!("cargo::{instruction}=");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn commit(&self, variables: &[(&str, &str)]) -> String {
        let told = self.tells("rustc-env", variables);
        let [commit] = told.as_slice() else { panic!("one commit: {told:?}") };
        commit.strip_prefix("LYFTR_COMMIT=").expect("the program reads LYFTR_COMMIT").to_owned()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(folder).args(author).args(arguments).output();
    let output = output.expect("git starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("git writes UTF-8").trim_end().to_owned()
}

fn commit_all(build: &Build) -> String {
    git(&build.project(), &["add", "--all"]);
    git(&build.project(), &["commit", "-q", "-m", "A change"]);
    git(&build.project(), &["rev-parse", "--short=12", "HEAD"])
}

#[test]
fn a_build_without_a_repository_knows_its_commit_only_if_told() {
    let Some(build) = Build::new() else { return };
    assert_eq!(build.commit(&[]), "unknown");
    assert_eq!(build.commit(&[("PATH", "/nowhere")]), "unknown");
    assert_eq!(build.commit(&[("LYFTR_COMMIT", "")]), "unknown", "as a container's build leaves it");
    assert_eq!(build.commit(&[("LYFTR_COMMIT", "0123abc")]), "0123abc");
    // The folder lies in somebody else's repository.
    git(build.folder.path(), &["init", "-q"]);
    git(build.folder.path(), &["commit", "-q", "--allow-empty", "-m", "Theirs"]);
    assert_eq!(build.commit(&[]), "unknown");
}

#[test]
fn a_build_in_a_repository_names_its_commit_and_whether_it_is_just_that() {
    let Some(build) = Build::new() else { return };
    git(&build.project(), &["init", "-q"]);
    assert_eq!(build.commit(&[]), "unknown", "nothing is committed");
    let first = commit_all(&build);
    assert_eq!(build.commit(&[]), first);
    assert_eq!(build.commit(&[("PATH", "/nowhere")]), "unknown", "there is no git");
    assert_eq!(build.commit(&[("LYFTR_COMMIT", "told")]), "told");
    build.write("README.md", "no part of the program");
    assert_eq!(build.commit(&[]), first);
    build.write("src/main.rs", "second");
    assert_eq!(build.commit(&[]), format!("{first}-dirty"));
    let second = commit_all(&build);
    assert_ne!(first, second);
    assert_eq!(build.commit(&[]), second);
    build.write("src/new.rs", "added");
    assert_eq!(build.commit(&[]), format!("{second}-dirty"));
}

#[test]
fn a_build_is_made_anew_when_the_commit_changes_and_not_at_every_call() {
    let Some(build) = Build::new() else { return };
    assert_eq!(build.tells("rerun-if-env-changed", &[]), ["LYFTR_COMMIT"]);
    assert_eq!(build.tells("rerun-if-changed", &[]), [""; 0], "there is nothing to watch");
    git(&build.project(), &["init", "-q"]);
    commit_all(&build);
    let watched = build.tells("rerun-if-changed", &[]);
    let read =
        || -> Vec<_> { watched.iter().map(|path| std::fs::read(build.project().join(path)).ok()).collect() };
    for path in &watched {
        // Cargo runs the script at every call if one of them is missing.
        assert!(build.project().join(path).exists(), "{path}");
    }
    let before = read();
    git(&build.project(), &["commit", "-q", "--allow-empty", "-m", "Another"]);
    assert_ne!(read(), before, "none of {watched:?} has changed");
}

#[test]
fn a_commit_that_would_break_the_log_or_the_metrics_is_refused() {
    let Some(build) = Build::new() else { return };
    for commit in ["a\"b", "a b", "a\nb", "é", &"x".repeat(81)] {
        let errors = build.tells("error", &[("LYFTR_COMMIT", commit)]);
        assert!(
            matches!(errors.as_slice(), [error] if error.contains("LYFTR_COMMIT")),
            "{commit:?}: {errors:?}"
        );
        assert!(build.tells("rustc-env", &[("LYFTR_COMMIT", commit)]).is_empty());
    }
}
