//! Section 10: a stop, or a restart behind a socket that outlives the service, leaves nobody without an
//! answer who was there when it began.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::fixtures::{SECRET, SetOnDrop, eventually, message, open_database, signal};
use crate::http_client::{Address, Answer, Client, signed_post};
use crate::service::Service;
use crate::setup::Setup;

const RESTARTS: usize = 20;
/// More than the service accepts in a few turns of its loop, and fewer than a kernel keeps waiting.
const WAITING: usize = 300;

fn post_bytes(id: &str) -> Vec<u8> {
    signed_post(SECRET, &message(id))
}

fn post(client: &mut Client, id: &str) -> std::io::Result<Answer> {
    client.try_send(&post_bytes(id))?;
    client.try_receive("POST")
}

/// A service behind a socket that the test keeps.
fn behind_a_passed_socket() -> (Setup, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let address = Address::Tcp(listener.local_addr().expect("a bound socket has an address").to_string());
    let setup = Setup::new()
        .with_stdin(OwnedFd::from(listener))
        .through_shell(r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#);
    (setup, address)
}

#[track_caller]
fn all_are_stored_once(database: &Path, acknowledged: usize) {
    let database = open_database(database);
    let count =
        |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("the file is a database");
    assert_eq!(count("SELECT COUNT(*) FROM messages"), acknowledged as i64);
    assert_eq!(count("SELECT COUNT(DISTINCT message_id) FROM messages"), acknowledged as i64);
    let check: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("the file is a database");
    assert_eq!(check, "ok");
}

/// Who is answered by nobody tries again, as every sender does; who is refused does not.
fn post_until_acknowledged(client: &mut Option<Client>, address: &Address, id: &str) {
    loop {
        let connected =
            client.get_or_insert_with(|| Client::try_connect(address).expect("no connection is refused"));
        match post(connected, id) {
            Ok(answer) => {
                answer.expect(200);
                if answer.header("Connection").is_some_and(|says| says == "close") {
                    *client = None;
                }
                return;
            }
            Err(error) => {
                eprintln!("{id}: {error}, sent again");
                *client = None;
            }
        }
    }
}

#[test]
fn twenty_restarts_behind_a_socket_that_stays_refuse_nobody() {
    let (setup, address) = behind_a_passed_socket();
    let database = setup.path("app.db");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let last = thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        for (name, keeps) in [("kept", true), ("kept too", true), ("fresh", false), ("fresh too", false)] {
            let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
            scope.spawn(move || {
                let mut client = None;
                for number in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    post_until_acknowledged(&mut client, address, &format!("{name} {number}"));
                    acknowledged.fetch_add(1, SeqCst);
                    client = client.filter(|_| keeps);
                }
            });
        }
        let mut service = setup.start_at(address.clone());
        for _ in 0..RESTARTS {
            let before = acknowledged.load(SeqCst);
            eventually("more is acknowledged", || (acknowledged.load(SeqCst) > before + 20).then_some(()));
            service = service.stop().start_at(address.clone());
        }
        // It outlives the threads, so that the last posts are answered.
        service
    });
    all_are_stored_once(&database, acknowledged.load(SeqCst));
    last.stop();
}

/// Connections that a service which stands still has not accepted, each with a whole request on it.
fn waiting_posts(service: &Service) -> Vec<Client> {
    service.get("/health/live").expect(200);
    service.signal("STOP");
    (0..WAITING)
        .map(|number| {
            let mut client = service.connect();
            client.send(&post_bytes(&format!("m{number}")));
            client
        })
        .collect()
}

#[test]
fn everybody_who_waits_in_the_queue_when_a_stop_begins_is_answered() {
    let mut service = Service::start();
    let mut clients = waiting_posts(&service);
    service.signal("TERM");
    service.signal("CONT");
    let mut stored = 0;
    for client in &mut clients {
        let answer = client.receive();
        assert_eq!(answer.header("Connection"), Some("close"));
        match answer.status {
            200 => stored += 1,
            _ => assert_eq!(answer.expect(503).header("Retry-After"), Some("1")),
        }
        assert!(client.read_until_closed().is_empty());
    }
    assert_eq!(service.wait().code(), Some(0));
    all_are_stored_once(&service.path("app.db"), stored);
}

#[test]
fn who_waits_in_a_socket_that_stays_is_served_by_the_next_process() {
    let (setup, address) = behind_a_passed_socket();
    let mut service = setup.start_at(address.clone());
    let mut clients = waiting_posts(&service);
    service.signal("TERM");
    service.signal("CONT");
    assert_eq!(service.wait().code(), Some(0));
    let service = service.kill().start_at(address);
    for client in &mut clients {
        client.receive().expect(200);
    }
    all_are_stored_once(&service.path("app.db"), WAITING);
}

#[test]
fn idle_connections_are_closed_in_order_at_a_stop() {
    let mut service = Service::start();
    let mut idle: Vec<Client> = (0..20).map(|_| service.connect()).collect();
    for client in &mut idle[..10] {
        client.get("/health/live").expect(200);
    }
    let mut busy = service.connect();
    let mut bytes = post_bytes("m1");
    let rest = bytes.split_off(bytes.len() - 1);
    busy.send(&bytes);
    service.get("/health/live").expect(200);
    service.signal("TERM");
    // They are told that it ends, while it still waits for somebody else.
    for client in &mut idle {
        assert!(client.read_until_closed().is_empty());
    }
    busy.send(&rest);
    busy.receive().expect(200);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn sigusr2_does_nothing() {
    let mut service = Service::start();
    let mut client = service.connect();
    client.get("/health/ready").expect(200);
    signal(service.pid(), "USR2");
    // One that was handled is behind the other.
    signal(service.pid(), "HUP");
    eventually("it has come to the signals", || {
        service.stdout.json().into_iter().find(|line| line["event"] == "reloaded")
    });
    let events: Vec<_> = service.stdout.json().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events.iter().filter(|event| !event.is_null()).collect::<Vec<_>>(), ["start", "reloaded"]);
    post(&mut client, "m1").unwrap().expect(200);
    service.signal("TERM");
    signal(service.pid(), "USR2");
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn several_passed_sockets_end_the_start_with_78() {
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    Setup::new().through_shell(script).is_refused(78, &["2 sockets were passed"]);
}
