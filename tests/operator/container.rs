//! The container: what is in its image, and how the service lives in it as `scripts/compose.yaml` runs it:
//! a user without a name, a root that cannot be written to, a volume, nobody else to be process 1.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::fixtures::{eventually, message};
use crate::http_client::{Address, Answer, Client};
use crate::image::{Image, USER, compose, composed, strings};
use crate::setup::{free_port, wait};
use crate::skip::{can_mount, has, is_root};

fn post(address: &str, id: &str) -> Answer {
    Client::connect(&Address::Tcp(address.to_owned())).post(&message(id))
}

fn total(address: &str) -> i64 {
    let page = Client::connect(&Address::Tcp(address.to_owned())).get("/messages").json();
    page["total"].as_i64().expect("a page has a total")
}

/// One line of `/proc/PID/status`, without its name.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[test]
fn the_image_holds_the_program_an_empty_folder_and_next_to_nothing_else() {
    let Some(image) = Image::new() else { return };
    let mut names: Vec<_> = fs::read_dir(image.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["data", "lyftr-webhook"]);
    assert_eq!(fs::read_dir(image.root().join("data")).unwrap().count(), 0);
    let program = fs::metadata(env!("CARGO_BIN_EXE_lyftr-webhook")).unwrap().len();
    let size = fs::metadata(image.archive()).unwrap().len();
    assert!(size <= program + 1_000_000, "the image has {size} bytes, the program {program}");
    assert_eq!(image.config["User"], format!("{USER}:{USER}"));
    assert_eq!(image.config["Volumes"], json!({"/data": {}}));
    assert_eq!(image.config["ExposedPorts"], json!({"8000/tcp": {}}));
    let declared = strings(&composed()["healthcheck"]["test"]);
    assert_eq!(strings(&image.config["Healthcheck"]["Test"]), declared, "image and compose file agree");
}

#[test]
fn as_composed_it_is_healthy_stores_has_no_rights_and_stops_when_told() {
    let Some(image) = Image::new() else { return };
    let volume = image.volume("volume", USER);
    let address = format!("127.0.0.1:{}", free_port());
    let mut container = image.start("first", &volume, &address);
    eventually("the health check passes", || container.is_healthy().then_some(()));
    post(&address, "m1").expect(200);

    let pid = container.pid();
    assert_eq!(
        status(pid, "NSpid").split_whitespace().last(),
        Some("1"),
        "nobody else is there to get a signal"
    );
    assert!(status(pid, "Uid").split_whitespace().all(|uid| uid == USER.to_string()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status(pid, set), 16), Ok(0), "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a process has a root");
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");

    let copied = container.exec(&["/lyftr-webhook", "backup", "/data/copy.db"]);
    assert!(copied.status.success(), "{copied:?}");
    assert!(volume.join("copy.db").exists());

    container.signal("TERM");
    assert_eq!(wait(&mut container.child).code(), Some(0), "{}", container.stderr.to_the_end());
    let last = container.stdout.json().pop().expect("it has a log");
    assert_eq!(last["event"], "stopped");
    assert_eq!(container.stderr.to_the_end(), "");

    let mut again = image.start("second", &volume, &address);
    eventually("the health check passes", || again.is_healthy().then_some(()));
    assert_eq!(total(&address), 1, "the volume keeps the messages");
    post(&address, "m2").expect(200);
    again.signal("KILL");
    wait(&mut again.child);
    let third = image.start("third", &volume, &address);
    eventually("the health check passes", || third.is_healthy().then_some(()));
    assert_eq!(total(&address), 2);
}

#[test]
fn a_volume_that_is_somebody_elses_is_said_in_one_clear_line() {
    let Some(image) = Image::new() else { return };
    let volume = image.volume("volume", 0);
    let address = format!("127.0.0.1:{}", free_port());
    let mut container = image.start("refused", &volume, &address);
    let ended = wait(&mut container.child);
    let said = container.stderr.to_the_end();
    assert_eq!(ended.code(), Some(69), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["/data", "Permission denied", "writable for user 65532"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
}

#[test]
fn the_compose_file_wants_a_secret() {
    if !has(&["docker-compose", "python3"]) {
        return;
    }
    let refused = compose(None);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("set WEBHOOK_SECRET"), "{said}");
}

#[test]
fn the_evaluator_finds_every_promise_kept_inside_the_container() {
    if !has(&["buildah", "curl", "openssl"]) || !is_root() || !can_mount() {
        return;
    }
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/container"));
    script.arg(free_port().to_string()).env("LYFTR_BIN", env!("CARGO_BIN_EXE_lyftr-webhook"));
    let output = script.output().expect("scripts/container starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PASS  SIGTERM: exit status 0"), "{said}");
}
