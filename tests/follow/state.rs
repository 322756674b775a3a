//! The state: where a follower stands, whatever becomes of it.

use std::fs;

use crate::fake_feed::FakeFeed;
use crate::follower::{follow, setup};

#[test]
fn two_followers_do_not_share_a_state() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    let state = setup.path("shared.state").display().to_string();
    let follower = setup.follow(&feed, &["--state", &state]);
    follower.writes(&["m1"]);
    let other = follow(&feed, &["--state", &state]);
    other.ends(75, &["another follower", "shared.state", "--state"]);
    feed.store(1);
    follower.kill().follow(&feed, &["--state", &state]).writes(&["m2"]);
}

#[test]
fn a_state_that_is_damaged_or_of_the_future_is_said_to_be_and_stays_as_it_is() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = follow(&feed, &[]);
    setup.writes(&["m1"]);
    let mut setup = setup.stop();
    let whole = fs::read(setup.path("follow.state")).unwrap();
    let future = String::from_utf8(whole.clone()).unwrap().replace("\"version\":1", "\"version\":2");
    for (content, said) in [
        (&b""[..], "damaged"),
        (b"nonsense", "damaged"),
        (&whole[..whole.len() / 2], "damaged"),
        (&vec![0; whole.len()], "damaged"),
        (future.as_bytes(), "newer version"),
    ] {
        fs::write(setup.path("follow.state"), content).unwrap();
        setup = setup.follow(&feed, &[]).ends(78, &["follow.state", said]);
        assert_eq!(fs::read(setup.path("follow.state")).unwrap(), content);
    }
    fs::write(setup.path("follow.state"), whole).unwrap();
    feed.store(1);
    setup.follow(&feed, &[]).writes(&["m2"]);
}

#[test]
fn a_state_that_cannot_be_had_ends_it_with_the_cause() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    setup.file("folder/x", "");
    std::os::unix::fs::symlink("elsewhere", setup.path("link")).unwrap();
    let setup = setup.follow(&feed, &["--state", "nowhere/follow.state"]).ends(69, &["no folder nowhere"]);
    let setup = setup.follow(&feed, &["--state", "folder"]).ends(69, &["folder"]);
    let setup = setup.follow(&feed, &["--state", "link"]).ends(69, &["links are not followed"]);
    let setup =
        setup.follow(&feed, &["--dead-letters", "link", "--exec", "true"]).ends(69, &["links are not"]);
    let dead = ["--dead-letters", "nowhere/dead", "--exec", "true"];
    let setup = setup.follow(&feed, &dead).ends(69, &["no folder nowhere"]);
    assert!(!setup.path("elsewhere").exists());
}

#[test]
fn a_state_that_was_removed_meanwhile_ends_it() {
    let feed = FakeFeed::start();
    feed.store(1);
    let follower = follow(&feed, &[]);
    follower.writes(&["m1"]);
    fs::remove_file(follower.path("follow.state")).unwrap();
    feed.store(1);
    follower.ends(69, &["follow.state", "was removed", "--from beginning"]);
}

#[test]
fn a_state_is_no_other_file_of_a_follower_by_whatever_path() {
    let feed = FakeFeed::start();
    feed.store(2);
    let setup = follow(&feed, &[]);
    setup.writes(&["m1", "m2"]);
    let setup = setup.stop();
    let path = setup.path("follow.state");
    fs::hard_link(&path, setup.path("hard")).unwrap();
    fs::create_dir(setup.path("folder")).unwrap();
    fs::copy(&path, setup.path("other.state")).unwrap();
    let whole = fs::read(&path).unwrap();
    feed.store(1);
    let mut setup = setup;
    let absolute = path.display().to_string();
    for dead in ["follow.state", "./follow.state", "folder/../follow.state", "hard", &absolute, "other.state"]
    {
        for more in [&["--exec", "sh", "-c", "touch ran; exit 65"][..], &["--post", "unix:/nowhere"]] {
            let arguments = [&["--dead-letters", dead], more].concat();
            setup = setup.follow(&feed, &arguments).ends(64, &["--dead-letters"]);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        setup = setup.run_follow(&["follow", "--from-file", dead]).ends(64, &["--from-file", "the state"]);
    }
    assert!(!setup.path("ran").exists());
    // One that is not there yet.
    let arguments = ["--state", "new", "--dead-letters", "folder/../new", "--exec", "true"];
    let setup = setup.follow(&feed, &arguments).ends(64, &["--dead-letters", "--state"]);
    assert!(!setup.path("new").exists());
    setup.file("letters", "{\"message_id\":\"m1\"}\n");
    let arguments = ["follow", "--from-file", "letters", "--dead-letters", "./letters", "--exec", "true"];
    let setup = setup.run_follow(&arguments).ends(64, &["--dead-letters", "--from-file"]);
    let setup = setup.through_shell(r#"exec "$0" "$@" >> follow.state"#);
    let setup = setup.follow(&feed, &[]).ends(64, &["stdout", "--state"]);
    assert_eq!(fs::read(&path).unwrap(), whole);
    setup.through_shell(r#"exec "$0" "$@""#).follow(&feed, &[]).writes(&["m3"]);
}
