//! With the real service: restarts, kills, a backup that is put back, and whatever else happens on an ordinary day.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::fixtures::{SECRET, SetOnDrop, eventually, message};
use crate::follower::{Follower, ids_of};
use crate::http_client::{Address, Client};
use crate::service::Service;
use crate::setup::{Setup, free_port};

/// A folder for a service whose port stays the same, and its URL.
fn service() -> (Setup, String) {
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    (Setup::new().with("LISTEN_ADDR", &listen), url)
}

fn follow(url: &str, more: &[&str]) -> Follower {
    crate::follower::setup().run_follow(&crate::follower::arguments(url, more))
}

#[test]
fn every_message_of_the_service_comes_as_it_was_stored() {
    let (setup, url) = service();
    let service = setup.start();
    service.store(&message("m1"));
    let follower = follow(&url, &["--name", "orders"]);
    follower.writes(&["m1"]);
    service.store(&message("m2"));
    follower.writes(&["m1", "m2"]);
    let line = &crate::output::parse_lines(&follower.stdout.so_far())[1];
    for (name, value) in message("m2").as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert!(line["created_at"].is_string() && line["cursor"].is_string(), "{line}");
    service.counted("feed_lag_messages{consumer=\"orders\"}", 0.0);
    follower.stop();
}

#[test]
fn a_service_behind_a_unix_socket_and_a_token_is_followed() {
    let setup = Setup::new();
    let socket = setup.path("http.sock").display().to_string();
    let service = setup.with("LISTEN_ADDR", &format!("unix:{socket}")).with("API_TOKEN", "t0ken").start();
    service.store(&message("m1"));
    let url = format!("unix:{socket}");
    follow(&url, &[]).ends(77, &["401", "API_TOKEN"]);
    let setup = crate::follower::setup().with("API_TOKEN", "t0ken");
    setup.run_follow(&crate::follower::arguments(&url, &[])).writes(&["m1"]);
}

#[test]
fn a_restart_of_the_service_is_nothing_but_a_pause() {
    let (setup, url) = service();
    let mut service = setup.start();
    let follower = follow(&url, &[]);
    let mut expected = Vec::new();
    for round in 0..3 {
        let id = format!("m{round}");
        service.store(&message(&id));
        expected.push(id);
        follower.writes(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        service = if round == 1 { service.kill().start() } else { service.restart() };
    }
    service.store(&message("last"));
    eventually("the last is there", || follower.stdout.so_far().contains("\"last\"").then_some(()));
    follower.stop();
}

#[test]
fn a_backup_that_was_put_back_is_never_a_silent_gap() {
    let (setup, url) = service();
    let service = setup.start();
    service.store(&message("m1"));
    let follower = follow(&url, &[]);
    follower.writes(&["m1"]);
    let mut setup = service.stop();
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
    let service = setup.start();
    service.store(&message("m2"));
    let setup = follower.ends(78, &["410", "remove the state", "--from beginning"]);
    std::fs::remove_file(setup.path("follow.state")).unwrap();
    setup.run_follow(&crate::follower::arguments(&url, &[])).writes(&["m1", "m2"]);
}

/// Posts until it is told to stop, no faster than a target takes it; what was acknowledged is in order.
fn load(address: &str, stop: &AtomicBool, acknowledged: &AtomicUsize) {
    let mut number = 1;
    let address = Address::Tcp(address.to_owned());
    while !stop.load(SeqCst) {
        let Ok(mut client) = Client::try_connect(&address) else {
            thread::yield_now();
            continue;
        };
        loop {
            let body = message(&format!("m{number}")).to_string();
            let signature = crate::fixtures::sign(SECRET, body.as_bytes());
            let headers = [("X-Signature", signature.as_str())];
            match client.try_request("POST", "/webhook", &headers, Some(body.as_bytes())) {
                Ok(answer) if answer.status == 200 => {
                    acknowledged.store(number, SeqCst);
                    number += 1;
                    thread::sleep(Duration::from_millis(2));
                }
                _ => break,
            }
            if stop.load(SeqCst) {
                return;
            }
        }
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Whole lines; a kill may leave half of one.
fn whole(path: &Path) -> Vec<usize> {
    ids_in(&std::fs::read(path).unwrap_or_default())
}

/// The last of them.
fn end_of(path: &Path) -> Vec<usize> {
    let mut end = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        drop(file.seek(SeekFrom::Start(size(path).saturating_sub(8 << 10))));
        file.read_to_end(&mut end).expect("it can be read");
    }
    ids_in(&end)
}

fn ids_in(bytes: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(bytes);
    let ids = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["message_id"].as_str()?.strip_prefix('m')?.parse().ok()
    });
    ids.collect()
}

#[test]
fn service_follower_and_target_may_be_killed_in_turn_and_every_acknowledged_message_is_handed_on_in_order() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(18, |rounds| rounds.parse().unwrap());
    let (setup, url) = service();
    let address = url.replace("http://", "");
    let mut service: Service = setup.start();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    // It is killed before or after it has taken a batch, where it finds that it is to be.
    let script = "rm before 2>/dev/null && kill -9 $$; cat >> seen; rm after 2>/dev/null && kill -9 $$; true";
    let target = ["--batch", "5", "--exec", "sh", "-c", script];
    let (service, seen) = thread::scope(|scope| {
        let stopping = SetOnDrop(&stop);
        scope.spawn(|| load(&address, &stop, &acknowledged));
        let mut follower = follow(&url, &target);
        for round in 0..rounds {
            // At different depths of a batch and of a page.
            let before = size(&follower.path("seen"));
            let more = (round % 18) as u64 * 250;
            eventually("it goes on", || (size(&follower.path("seen")) > before + more).then_some(()));
            match round % 3 {
                0 => service = service.kill().start(),
                1 => follower = follower.kill().run_follow(&crate::follower::arguments(&url, &target)),
                _ => {
                    let when = if round % 2 == 0 { "before" } else { "after" };
                    std::fs::write(follower.path(when), "").expect("the folder is ours");
                }
            }
        }
        drop(stopping);
        (service, follower)
    });
    let last = acknowledged.load(SeqCst);
    eventually("the last is handed on", || end_of(&seen.path("seen")).contains(&last).then_some(()));
    let ids = whole(&seen.path("seen"));
    let mut next = 1;
    for id in &ids {
        assert!(*id <= next, "m{id} came before m{next}");
        if *id == next {
            next += 1;
        }
    }
    assert!(next > last, "m{next} was acknowledged and not handed on");
    // What was not acknowledged may have been stored all the same, and nothing else is handed on.
    let stored: BTreeSet<String> = {
        let database = service.database();
        let mut rows = database.prepare("SELECT message_id FROM messages").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert!(ids.iter().all(|id| stored.contains(&format!("m{id}"))));
    seen.stop();
}

#[test]
fn the_script_of_the_readme_runs_for_each_message() {
    if !crate::skip::has(&["jq"]) {
        return;
    }
    let readme = include_str!("../../README.md");
    let section = readme.split("\n## Getting messages out\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let (setup, url) = service();
    let service = setup.start();
    service.store(&message("m1"));
    let listen = url.replace("http://", "");
    let program = block.replace("lyftr-webhook follow", r#"exec "$0" follow"#);
    let follower =
        crate::follower::setup().with("LISTEN_ADDR", &listen).through_shell(program).run_follow(&[]);
    follower.has_lines("handled.tsv", &["m1\t+919876543210\tHello"]);
    service.store(&message("m2"));
    follower.has_lines("handled.tsv", &["m1\t+919876543210\tHello", "m2\t+919876543210\tHello"]);
}

#[test]
fn a_message_that_is_erased_before_it_was_handed_on_is_not() {
    let (setup, url) = service();
    let service = setup.start();
    service.store(&message("m1"));
    let script = "read -r line; printf '%s\\n' \"$line\" >> seen; while [ ! -e go ]; do sleep 0.01; done";
    let follower = follow(&url, &["--exec", "sh", "-c", script]);
    eventually("it is under way", || follower.path("seen").exists().then_some(()));
    // Behind the page that it has asked for.
    for number in 2..=201 {
        service.store(&message(&format!("m{number}")));
    }
    let other = crate::fixtures::message_with("kept", &serde_json::json!({"from": "+1"}));
    service.store(&other);
    let mut commands = Setup::new();
    let url = format!("sqlite:///{}", service.path("app.db").display());
    commands.variables.insert("DATABASE_URL".to_owned(), url);
    let erased = commands.run(&["erase", "--sender", crate::fixtures::SENDER]);
    assert_eq!(erased.code, Some(0), "{erased:?}");
    std::fs::write(follower.path("go"), "").unwrap();
    eventually("the one that stays is handed on", || {
        follower.read("seen").contains("\"kept\"").then_some(())
    });
    assert_eq!(ids_of(&follower.read("seen")), ["m1", "kept"]);
}
