//! `SIGHUP`: secrets and the level of the log are read again, and no connection notices.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fixtures::{SECRET, eventually, message};
use crate::http_client::{Address, Client};
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::has;

#[track_caller]
fn reload(service: &Service, event: &str) -> Value {
    let of = |service: &Service| -> Vec<Value> {
        service.stdout.json().into_iter().filter(|line| line["event"] == event).collect()
    };
    let before = of(service).len();
    service.signal("HUP");
    eventually(event, || of(service).into_iter().nth(before))
}

fn post(client: &mut Client, id: &str, secret: &str) -> u16 {
    client.post_under(secret, &message(id)).status
}

#[test]
fn a_changed_secret_holds_after_a_reload_on_connections_that_were_there_before() {
    let setup = Setup::new().without("WEBHOOK_SECRET");
    let file = setup.file("secret", "first\n");
    let previous = setup.file("previous", "first");
    let service =
        setup.with("WEBHOOK_SECRET_FILE", &file).with("WEBHOOK_SECRET_PREVIOUS_FILE", &previous).start();
    let mut client = service.connect();
    assert_eq!(post(&mut client, "m1", "first"), 200);

    fs::write(&file, "second\n").unwrap();
    fs::write(&previous, "first\n").unwrap();
    assert_eq!(post(&mut client, "m2", "second"), 401, "nothing changes before the reload");
    reload(&service, "reloaded");
    assert_eq!(post(&mut client, "m2", "second"), 200);
    assert_eq!(post(&mut client, "m3", "first"), 200, "the previous one still verifies");

    // An empty one is a mistake; one that holds the new one ends the rotation.
    fs::write(&previous, "").unwrap();
    reload(&service, "reload_failed");
    assert_eq!(post(&mut client, "m3", "first"), 200);
    fs::write(&previous, "second\n").unwrap();
    reload(&service, "reloaded");
    assert_eq!(post(&mut client, "m4", "first"), 401);
    assert_eq!(post(&mut client, "m4", "second"), 200);
    assert_eq!(client.get("/messages").json()["total"], 4);
}

#[test]
fn a_changed_token_holds_after_a_reload() {
    let setup = Setup::new();
    let file = setup.file("token", "first");
    let service = setup.with("API_TOKEN_FILE", &file).start();
    let status = |token: &str| {
        let header = format!("Bearer {token}");
        service.request("GET", "/stats", &[("Authorization", &header)]).status
    };
    assert_eq!(status("first"), 200);
    fs::write(&file, "second").unwrap();
    reload(&service, "reloaded");
    assert_eq!((status("first"), status("second")), (401, 200));
}

#[test]
fn the_level_of_the_log_is_read_again() {
    let setup = Setup::new();
    let file = setup.file("level", "info\n");
    let service = setup.with("LOG_LEVEL_FILE", &file).start();
    service.logged(&service.get("/health/live"));

    fs::write(&file, "ERROR\n").unwrap();
    service.signal("HUP");
    // The line that tells of the reload is below the new level itself.
    let unseen = eventually("requests are no longer logged", || {
        let unseen = service.get("/health/live").request_id().to_owned();
        let refused = service.logged(&service.post_signed(&[("X-Signature", "00")], b"{}"));
        assert_eq!(refused["level"], "ERROR");
        let lines = service.stdout.json();
        (!lines.iter().any(|line| line["request_id"] == unseen.as_str())).then_some(unseen)
    });

    fs::write(&file, "debug").unwrap();
    assert_eq!(reload(&service, "reloaded")["log_level"], "DEBUG");
    service.logged(&service.get("/health/live"));
    assert!(!service.stdout.json().iter().any(|line| line["request_id"] == unseen.as_str()));
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let setup = Setup::new().without("WEBHOOK_SECRET");
    let secret = setup.file("secret", SECRET);
    let token = setup.file("token", "t0ken");
    let level = setup.file("level", "INFO");
    let service = setup
        .with("WEBHOOK_SECRET_FILE", &secret)
        .with("API_TOKEN_FILE", &token)
        .with("LOG_LEVEL_FILE", &level)
        .start();
    for (file, broken, kept) in [
        (&secret, "", SECRET),
        (&token, "\n", "t0ken"),
        (&level, "LOUD", "INFO"),
        // Not even in part: what is wrong is found before anything is changed.
        (&level, "s3cret", "INFO"),
    ] {
        fs::write(file, broken).unwrap();
        let line = reload(&service, "reload_failed");
        assert_eq!(line["level"], "ERROR");
        assert!(!line.to_string().contains("s3cret"), "what is in a file is nobody's business: {line}");
        service.get("/stats").expect(401);
        service.store(&message(broken.trim().len().to_string().as_str()));
        service.logged(&service.get("/health/live"));
        fs::write(file, kept).unwrap();
    }
    fs::remove_file(&secret).unwrap();
    assert!(reload(&service, "reload_failed")["detail"].as_str().unwrap().contains("WEBHOOK_SECRET_FILE"));
    service.store(&message("m9"));
}

#[test]
fn many_reloads_under_load_disturb_nobody() {
    let service = Service::start();
    std::thread::scope(|scope| {
        let posts = scope.spawn(|| {
            let mut client = service.connect();
            for number in 0..300 {
                assert_eq!(post(&mut client, &format!("m{number}"), SECRET), 200);
            }
        });
        while !posts.is_finished() {
            reload(&service, "reloaded");
        }
    });
    assert_eq!(service.get("/stats").json()["total_messages"], 300);
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    if !has(&["script"]) {
        return;
    }
    let port = free_port();
    let mut setup = Setup::new().with("LISTEN_ADDR", &format!("127.0.0.1:{port}"));
    // What it would be started with, under a terminal of its own.
    let service = setup.command(&[]);
    let program = service.get_program().to_str().unwrap().to_owned();
    // Tests may be run under nohup(1), and what is ignored is inherited.
    let mut terminal = Command::new("env")
        .args(["--default-signal=HUP", "script", "-q", "-e", "-c", &program, "/dev/null"])
        .envs(&setup.variables)
        .current_dir(setup.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let address = Address::Tcp(format!("127.0.0.1:{port}"));
    eventually("it answers", || Client::try_connect(&address).ok());
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    eventually("nobody answers", || Client::try_connect(&address).is_err().then_some(()));
}
