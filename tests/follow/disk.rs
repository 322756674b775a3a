//! A disk that is full, on which the state, the dead letters or the messages themselves are.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::fake_feed::FakeFeed;
use crate::fixtures::eventually;
use crate::follower::{ids_of, setup};
use crate::setup::Setup;
use crate::skip::{Lack, lacks};

/// A small file system in memory, over `disk` in the test's folder. Ends with the test.
struct Disk(PathBuf);

impl Disk {
    fn mount(setup: &Setup) -> Option<Self> {
        let folder = setup.path("disk");
        fs::create_dir(&folder).expect("the folder is ours");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "none"])
            .arg(&folder)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        lacks(Lack::Mounts);
        None
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path).expect("a full disk has names left");
        for size in [1 << 12, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_state_goes_on_on_a_full_disk() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    let Some(disk) = Disk::mount(&setup) else { return };
    let arguments = ["--state", "disk/follow.state"];
    let follower = setup.follow(&feed, &arguments);
    follower.writes(&["m1"]);
    disk.fill();
    feed.store(2);
    follower.writes(&["m1", "m2", "m3"]);
    let setup = follower.kill();
    feed.store(1);
    let follower = setup.follow(&feed, &arguments);
    follower.writes(&["m4"]);
    follower.stop();
}

#[test]
fn a_state_that_there_is_no_room_to_make_is_said_so_before_anything_is_handed_on() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    let Some(disk) = Disk::mount(&setup) else { return };
    let ballast = disk.fill();
    let arguments = ["--state", "disk/follow.state"];
    let follower = setup.follow(&feed, &arguments);
    let stdout = follower.stdout.clone();
    let setup = follower.ends(69, &["disk/follow.state", "No space left", "make room"]);
    assert_eq!(stdout.to_the_end(), "");
    fs::remove_file(ballast).unwrap();
    setup.follow(&feed, &arguments).writes(&["m1"]);
}

#[test]
fn dead_letters_wait_for_room() {
    let feed = FakeFeed::start();
    feed.store_with_text(3, &"long ".repeat(800));
    let setup = setup();
    let Some(disk) = Disk::mount(&setup) else { return };
    setup.file("disk/dead", "");
    let ballast = disk.fill();
    let script = r#"read -r line; case $line in *'"m2"'*) exit 65;; esac; printf '%s\n' "$line" >> seen"#;
    let follower = setup.follow(&feed, &["--dead-letters", "disk/dead", "--exec", "sh", "-c", script]);
    let line = follower.tells("not_writable");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("disk/dead") && reason.contains("make room"), "{line}");
    let setup = follower.kill();
    assert_eq!(fs::read_to_string(setup.path("disk/dead")).unwrap(), "", "all of it or nothing");
    let follower = setup.follow(&feed, &["--dead-letters", "disk/dead", "--exec", "sh", "-c", script]);
    follower.tells("not_writable");
    fs::remove_file(ballast).unwrap();
    eventually("the rest is handed on", || follower.read("seen").contains("\"m3\"").then_some(()));
    assert_eq!(ids_of(&follower.read("disk/dead")), ["m2"]);
    assert_eq!(ids_of(&follower.read("seen")), ["m1", "m3"]);
}

#[test]
fn messages_for_a_file_on_a_full_disk_come_again_whole() {
    let feed = FakeFeed::start();
    feed.store_with_text(20, &"long ".repeat(800));
    let setup = setup();
    let Some(disk) = Disk::mount(&setup) else { return };
    let ballast = disk.fill();
    // Room for a part of a batch.
    File::options().write(true).open(&ballast).unwrap().set_len((1 << 20) - (40 << 10)).unwrap();
    let setup = setup.through_shell(r#"exec "$0" "$@" >> disk/log"#);
    let arguments = ["--batch", "3"];
    let mut setup = setup.follow(&feed, &arguments).ends(74, &["No space left", "make room"]);
    for _ in 0..2 {
        setup = setup.follow(&feed, &arguments).ends(74, &["No space left"]);
    }
    fs::remove_file(ballast).unwrap();
    let follower = setup.follow(&feed, &arguments);
    eventually("the last is written", || follower.read("disk/log").contains("\"m20\"").then_some(()));
    let text = follower.read("disk/log");
    let mut whole: Vec<usize> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|message| message["message_id"].as_str().unwrap()[1..].parse().unwrap())
        .collect();
    whole.dedup();
    assert_eq!(whole.iter().copied().collect::<std::collections::BTreeSet<_>>().len(), 20, "{whole:?}");
}
