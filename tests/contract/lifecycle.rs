//! Section 10: how it ends, and that nothing acknowledged is lost by it.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;

use crate::fixtures::{SECRET, eventually, ids, message};
use crate::http_client::{Client, signed_post};
use crate::output::parse_lines;
use crate::service::Service;
use crate::setup::Setup;

/// A request of which all but the last byte has been sent.
fn begin_post(service: &Service, id: &str) -> (Client, Vec<u8>) {
    let mut bytes = signed_post(SECRET, &message(id));
    let rest = bytes.split_off(bytes.len() - 1);
    let mut client = service.connect();
    client.send(&bytes);
    // Answered, so the service has had its turn at the half request as well.
    service.get("/health/live").expect(200);
    (client, rest)
}

fn wait_until_draining(service: &Service) {
    eventually("it takes no new requests", || {
        let probe = Client::try_connect(&service.address).and_then(|mut client| {
            client.set_patience(Duration::from_millis(200));
            client.try_request("GET", "/health/ready", &[], None)
        });
        match probe {
            Ok(answer) => (answer.status != 200).then_some(()),
            // What nobody accepts, or only a loaded machine keeps waiting.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(()),
        }
    });
}

#[test]
fn it_ends_in_order_when_asked_to() {
    for signal in ["TERM", "INT"] {
        let mut service = Service::start();
        service.store(&message("m1"));
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0), "{signal}");
        let service = service.kill().start();
        assert_eq!(ids(&service.get("/messages")), ["m1"], "{signal}");
    }
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let mut service = Service::start();
    let mut idle: Vec<Client> = (0..20).map(|_| service.connect()).collect();
    for client in &mut idle[..10] {
        client.get("/health/live").expect(200);
    }
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_request_in_flight_is_finished() {
    let mut service = Service::start();
    let (mut client, rest) = begin_post(&service, "m1");
    service.signal("TERM");
    wait_until_draining(&service);
    client.send(&rest);
    client.receive().expect(200);
    assert_eq!(service.wait().code(), Some(0));
    let service = service.kill().start();
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn readiness_turns_503_while_it_drains() {
    let mut service = Service::start();
    let mut probe = service.connect();
    probe.send(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n");
    service.get("/health/live").expect(200);
    service.signal("TERM");
    wait_until_draining(&service);
    probe.send(b"\r\n");
    assert_eq!(probe.receive().expect(503).json()["status"], "unavailable");
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_request_that_never_ends_does_not_keep_it_for_ever() {
    let mut service = Service::start();
    let (_client, _rest) = begin_post(&service, "m1");
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_and_loses_nothing() {
    let mut service = Service::start();
    for number in 0..20 {
        service.store(&message(&format!("m{number:02}")));
    }
    let (mut client, _rest) = begin_post(&service, "never finished");
    service.signal("TERM");
    wait_until_draining(&service);
    service.signal("TERM");
    service.wait();
    client.finish_sending();
    let received = client.read_until_closed();
    assert!(!String::from_utf8_lossy(&received).contains(" 200 "));
    let service = service.kill().start();
    assert_eq!(service.get("/messages").json()["total"], 20);
}

#[test]
fn the_port_is_free_again_at_once() {
    let service = Service::start();
    let mut client = service.connect();
    client.get("/health/live").expect(200);
    // The setup remembers the port that was chosen for the first start.
    let service = service.restart();
    service.get("/health/ready").expect(200);
    let service = service.kill().start();
    service.get("/health/ready").expect(200);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let mut service = Service::start();
    for round in 1..=3 {
        for number in 0..50 {
            service.store(&message(&format!("round{round} m{number}")));
        }
        service = service.kill().start();
        assert_eq!(service.get("/stats").json()["total_messages"], round * 50);
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_69() {
    let mut first = Service::start();
    let address = first.setup().variables["LISTEN_ADDR"].clone();
    Setup::new().with("LISTEN_ADDR", &address).is_refused(69, &[&address]);
    first.get("/health/ready").expect(200);
}

#[test]
fn a_database_that_cannot_be_used_is_told_with_its_cause_and_what_to_do_about_that() {
    let in_the_way = |setup: &Setup| setup.file("a-file", "in the way") + "/app.db";
    let too_long = |setup: &Setup| setup.path(&"long".repeat(100)).display().to_string();
    let folder = |setup: &Setup| setup.folder.path().display().to_string();
    let damaged = |setup: &Setup| {
        setup.database().execute_batch("CREATE TABLE messages (a); CREATE TABLE b (c)").unwrap();
        let mut content = std::fs::read(setup.path("app.db")).unwrap();
        content[100..4096].fill(0xee);
        setup.file("app.db", content)
    };
    type Case<'a> = (&'a dyn Fn(&Setup) -> String, i32, &'a str, &'a str);
    let pipe = |setup: &Setup| {
        let path = setup.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path.display().to_string()
    };
    let cases: [Case<'_>; 8] = [
        (&in_the_way, 69, "a-file", "a part of its path is a file"),
        (&too_long, 78, "File name too long", "shorter path"),
        (&folder, 69, "Is a directory", "name a file in it"),
        (&pipe, 78, "no regular file", "name another file"),
        (&|_| "/dev/null".to_owned(), 78, "no regular file", "name another file"),
        (&|_| "app.db?mode=ro".to_owned(), 78, "app.db?mode=ro", "without control characters, ? or #"),
        (&|_| "/proc/nowhere/app.db".to_owned(), 69, "/proc/nowhere", "no such file"),
        (&damaged, 69, "damaged", "restore a backup"),
    ];
    for (path, code, cause, advice) in cases {
        let setup = Setup::new();
        let url = format!("sqlite:///{}", path(&setup));
        setup.with("DATABASE_URL", &url).is_refused(code, &[cause, advice]);
    }
    let missing = Setup::new().run(&["check", "missing.db"]);
    assert!(missing.stderr.contains("missing.db") && missing.stderr.contains("no such file"), "{missing:?}");
    assert!(!missing.stderr.contains("writable"), "{missing:?}");
}

#[test]
fn a_second_name_of_the_database_file_is_warned_of() {
    let setup = Service::start().stop();
    std::fs::hard_link(setup.path("app.db"), setup.path("other.db")).unwrap();
    let path = setup.path("app.db").display().to_string();
    let log = setup.start().stop_and_read_log();
    let said: Vec<_> = parse_lines(&log).into_iter().filter(|line| line["event"] == "hard_linked").collect();
    assert_eq!(said.len(), 1, "{log}");
    assert_eq!((&said[0]["level"], &said[0]["database"]), (&json!("WARNING"), &json!(path)));
}

#[test]
fn too_few_descriptors_are_refused_with_the_number_that_is_needed() {
    for few in [18, 20, 31] {
        let script = format!(r#"ulimit -n {few}; exec "$0" "$@""#);
        Setup::new()
            .through_shell(&script)
            .is_refused(69, &[&format!("may open {few} "), "needs 32", "ulimit -n"]);
    }
    let service = Setup::new().through_shell(r#"ulimit -n 32; exec "$0" "$@""#).start();
    service.get("/health/ready").expect(200);
    service.get("/messages").expect(200);
}
