//! A symbolic link as database stands for its target; one that somebody else could have planted is not followed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use crate::fixtures::{ids, message};
use crate::setup::Setup;
use crate::skip::is_root;

/// Nobody in particular.
const SOMEBODY: u32 = 4242;

fn named(setup: Setup, name: &str) -> Setup {
    let url = format!("sqlite:///{}", setup.path(name).display());
    setup.with("DATABASE_URL", &url)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder is ours")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn everything_lies_beside_the_target_of_a_chain_of_links() {
    let setup = Setup::new();
    fs::create_dir(setup.path("links")).unwrap();
    symlink("second.db", setup.path("links/first.db")).unwrap();
    symlink("../folder/app.db", setup.path("links/second.db")).unwrap();
    symlink("data", setup.path("folder")).unwrap();
    fs::create_dir(setup.path("data")).unwrap();
    // On the first start the target is not there yet.
    let service = named(setup, "links/first.db").start();
    service.store(&message("m1"));
    assert_eq!(names(&service.path("links")), ["first.db", "second.db"]);
    let beside = names(&service.path("data"));
    for name in ["app.db", "app.db-index", "app.db-lock", "app.db-wal"] {
        assert!(beside.iter().any(|found| found == name), "{beside:?}");
    }
    // Whoever names the target meets whoever names the link.
    let mut by_target = Setup::new();
    let url = format!("sqlite:///{}", service.path("data/app.db").display());
    by_target.variables.insert("DATABASE_URL".to_owned(), url);
    assert_eq!(by_target.run(&["backup", "copy.db"]).code, Some(0));
    assert_eq!(by_target.run(&["restore", "copy.db"]).code, Some(75));
    assert_eq!(by_target.run(&["import"]).code, Some(0));
    let mut setup = service.kill();
    let copy = by_target.path("copy.db").display().to_string();
    for command in [&["check"][..], &["export"], &["erase", "--sender", "+1"], &["restore", &copy]] {
        assert_eq!(setup.run(command).code, Some(0), "{command:?}");
    }
    assert_eq!(names(&setup.path("links")), ["first.db", "second.db"]);
    assert!(fs::symlink_metadata(setup.path("links/first.db")).unwrap().is_symlink());
    let service = setup.start();
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn links_that_lead_in_a_circle_are_refused() {
    let setup = Setup::new();
    symlink("one.db", setup.path("other.db")).unwrap();
    symlink("other.db", setup.path("one.db")).unwrap();
    let mut setup = named(setup, "one.db");
    setup.is_refused(78, &["one.db", "circle"]);
    for command in [&["check"][..], &["export"], &["import"], &["backup", "copy.db"]] {
        assert_eq!(setup.run(command).code, Some(78), "{command:?}");
    }
}

#[test]
fn a_link_that_somebody_else_has_made_is_not_followed_by_root() {
    if !is_root() {
        return;
    }
    let setup = Setup::new();
    let mut setup = setup.start().stop();
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    setup.file("victim", "root's");
    for name in ["", "-wal", "-shm"] {
        drop(fs::remove_file(setup.path(&format!("app.db{name}"))));
    }
    symlink("victim", setup.path("app.db")).unwrap();
    lchown(setup.path("app.db"), Some(SOMEBODY), None).unwrap();
    for command in
        [&["restore", "copy.db"][..], &["serve"], &["import"], &["erase", "--sender", "+1"], &["check"]]
    {
        let finished = setup.run(command);
        assert_eq!(finished.code, Some(78), "{finished:?}");
        assert!(finished.stderr.contains("4242"), "{finished:?}");
    }
    let victim = fs::metadata(setup.path("victim")).unwrap();
    assert_eq!((victim.uid(), fs::read(setup.path("victim")).unwrap().as_slice()), (0, &b"root's"[..]));
}

#[test]
fn names_that_commands_use_are_not_followed_where_they_are_links() {
    let mut setup = Setup::new().start().stop();
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    setup.file("victim", "somebody's");
    for planted in ["app.db.partial", "app.db.new", "copy.db.partial", "app.db-index"] {
        drop(fs::remove_file(setup.path(planted)));
        symlink("victim", setup.path(planted)).unwrap();
    }
    for command in
        [&["check"][..], &["backup", "copy.db"], &["restore", "copy.db"], &["erase", "--sender", "+1"]]
    {
        let finished = setup.run(command);
        assert_eq!(finished.code, Some(0), "{command:?}: {finished:?}");
        assert_eq!(fs::read(setup.path("victim")).unwrap(), b"somebody's", "{command:?}");
    }
    fs::remove_file(setup.path("app.db-lock")).unwrap();
    symlink("victim", setup.path("app.db-lock")).unwrap();
    setup.is_refused(69, &["app.db-lock", "symbolic link"]);
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(69));
    assert_eq!(fs::read(setup.path("victim")).unwrap(), b"somebody's");
}

#[test]
fn a_lock_that_is_no_file_keeps_nobody_waiting() {
    let mut setup = Setup::new();
    assert!(Command::new("mkfifo").arg(setup.path("app.db-lock")).status().unwrap().success());
    setup.is_refused(69, &["app.db-lock", "no regular file"]);
}

#[test]
fn a_pipe_where_sqlite_has_its_files_keeps_nobody_waiting() {
    for name in ["app.db-journal", "app.db-wal", "app.db-shm", "app.db-index-journal", "copy.db-journal"] {
        let mut setup = Setup::new().start().stop();
        assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
        drop(fs::remove_file(setup.path(name)));
        assert!(Command::new("mkfifo").arg(setup.path(name)).status().unwrap().success());
        let database = setup.path("app.db");
        let before = fs::read(&database).unwrap();
        let is_beside_the_copy = name.starts_with("copy");
        let own: &[&[&str]] = &[
            &["serve"],
            &["check"],
            &["export"],
            &["import"],
            &["erase", "--sender", "+1"],
            &["backup", "b.db"],
        ];
        let others: &[&[&str]] = &[&["check", "copy.db"], &["backup", "copy.db"], &["restore", "copy.db"]];
        for command in if is_beside_the_copy { others } else { own } {
            let finished = setup.run(command);
            // What a restore is given is no setting.
            let code = if command[0] == "restore" { 69 } else { 78 };
            assert_eq!(finished.code, Some(code), "{name}: {command:?}: {finished:?}");
            assert!(finished.stderr.contains(name), "{name}: {command:?}: {finished:?}");
        }
        if !is_beside_the_copy {
            let finished = setup.run(&["restore", "copy.db"]);
            assert_eq!(finished.code, Some(78), "{name}: {finished:?}");
        }
        assert!(fs::read(&database).unwrap() == before, "{name}");
    }
}

#[test]
fn the_lock_is_the_owners_alone_to_lock() {
    let setup = Setup::new();
    if is_root() {
        chown(setup.folder.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let owner = fs::metadata(setup.folder.path()).unwrap().uid();
    // An operator is the first to make it.
    let mut setup = setup.through_shell("umask 0; exec \"$0\" \"$@\"");
    assert_eq!(setup.run(&["import"]).code, Some(0));
    for name in ["app.db", "app.db-lock"] {
        let made = fs::metadata(setup.path(name)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (owner, 0o600), "{name}");
    }
    // An earlier version has left it open to all, and root's.
    let lock = setup.path("app.db-lock");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    drop(chown(&lock, Some(0), Some(0)));
    assert_eq!(setup.run(&["import"]).code, Some(0));
    let found = fs::metadata(&lock).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (owner, 0o600));
    // What has a second name is not touched: it may be another file.
    fs::hard_link(&lock, setup.path("second")).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(setup.run(&["import"]).code, Some(0));
    assert_eq!(fs::metadata(&lock).unwrap().mode() & 0o777, 0o644);
    drop(File::open(&lock).unwrap());
}
