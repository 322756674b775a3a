//! What a supervisor hears (sd_notify(3)), and what it never hears from a service that is stuck.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::fixtures::{eventually, message, open_database};
use crate::http_client::Client;
use crate::setup::Setup;

/// Hears, like systemd, what is sent to its socket.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<Mutex<Vec<String>>>);

impl Supervisor {
    pub(crate) fn at(path: &Path) -> Self {
        Self::of(UnixDatagram::bind(path).expect("the folder is ours"))
    }

    fn of(socket: UnixDatagram) -> Self {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let writing = Arc::downgrade(&heard);
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a timeout");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(heard) = writing.upgrade() {
                // Descriptors that came along are closed, which is all that BARRIER=1 asks for.
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        let text =
                            String::from_utf8(buffer[..length].to_vec()).expect("what it hears is UTF-8");
                        heard.lock().expect("no reader panics").push(text);
                    }
                    // A machine that was stopped for a while interrupts a wait that has an end.
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self(heard)
    }

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .expect("no reader panics")
            .iter()
            .flat_map(|message| message.lines().map(str::to_owned))
            .collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|heard| *heard == line).count()
    }

    #[track_caller]
    pub(crate) fn hears(&self, line: &str) {
        eventually(&format!("the supervisor hears {line}"), || (self.count(line) > 0).then_some(()));
    }
}

fn supervised() -> (Setup, Supervisor) {
    let setup = Setup::new();
    let path = setup.path("notify");
    let supervisor = Supervisor::at(&path);
    (setup.with("NOTIFY_SOCKET", &path.display().to_string()), supervisor)
}

#[test]
fn it_is_ready_when_it_can_be_reached_and_has_its_database() {
    let (mut setup, supervisor) = supervised();
    let port = crate::setup::free_port();
    setup.variables.insert("LISTEN_ADDR".to_owned(), format!("127.0.0.1:{port}"));
    let mut child = setup.command(&[]).spawn().unwrap();
    supervisor.hears("READY=1");
    // At the first try: there is nothing left to wait for.
    let address = crate::http_client::Address::Tcp(format!("127.0.0.1:{port}"));
    Client::connect(&address).get("/health/ready").expect(200);
    let lines = supervisor.lines();
    assert_eq!(lines[..2], ["STATUS=Opening the database", "READY=1"], "{lines:?}");
    assert!(lines[2].starts_with(&format!("STATUS=Serving on 127.0.0.1:{port}: 0 messages")), "{lines:?}");

    crate::fixtures::signal(child.id(), "TERM");
    supervisor.hears("STOPPING=1");
    assert_eq!(crate::setup::wait(&mut child).code(), Some(0));
}

#[test]
fn a_name_in_the_abstract_namespace_is_found() {
    let name = format!("lyftr-webhook-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let supervisor = Supervisor::of(socket);
    let _service = Setup::new().with("NOTIFY_SOCKET", &format!("@{name}")).start();
    supervisor.hears("READY=1");
}

#[test]
fn a_supervisor_that_is_not_there_is_no_reason_not_to_serve() {
    for address in ["/nobody/listens/here", "relative", "@"] {
        let service = Setup::new().with("NOTIFY_SOCKET", address).start();
        service.store(&message("m1"));
        eventually("the log tells of it", || {
            service.stdout.json().iter().any(|line| line["event"] == "supervisor_unknown").then_some(())
        });
    }
}

#[test]
fn without_a_secret_the_status_says_so() {
    let (setup, supervisor) = supervised();
    let _service = setup.without("WEBHOOK_SECRET").start();
    supervisor.hears("STATUS=Not ready: WEBHOOK_SECRET is not set");
}

#[test]
fn a_reload_is_announced_and_ended() {
    let (setup, supervisor) = supervised();
    let service = setup.start();
    supervisor.hears("READY=1");
    service.signal("HUP");
    eventually("it is ready again", || (supervisor.count("READY=1") == 2).then_some(()));
    let lines = supervisor.lines();
    let reloading = lines.iter().position(|line| line == "RELOADING=1").unwrap();
    let since_boot = lines[reloading + 1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0);
    assert_eq!(lines[reloading + 2], "READY=1");
}

#[test]
fn the_watchdog_hears_from_it_again_and_again() {
    let (setup, supervisor) = supervised();
    let service = setup.with("WATCHDOG_USEC", "300000").start();
    eventually("several pings came", || (supervisor.count("WATCHDOG=1") >= 5).then_some(()));
    service.store(&message("m1"));
    eventually("the status counts messages", || {
        supervisor.lines().iter().any(|line| line.contains(": 1 messages stored")).then_some(())
    });
    // What it asks itself all the time fills no log.
    let is_its_own = |line: &serde_json::Value| line["request_id"].to_string().contains("watchdog");
    assert!(!service.stdout.json().iter().any(is_its_own));
}

#[test]
fn a_stranger_who_calls_itself_the_watchdog_is_logged() {
    let (setup, supervisor) = supervised();
    let service = setup.with("WATCHDOG_USEC", "300000").start();
    supervisor.hears("WATCHDOG=1");
    for id in ["watchdog", "watchdog-00000000000000000000000000000000"] {
        service.connect().request("GET", "/health/live", &[("X-Request-ID", id)], None).expect(200);
        eventually("it is in the log", || {
            service.stdout.json().into_iter().find(|line| line["request_id"] == id).map(drop)
        });
    }
}

#[test]
fn the_watchdog_hears_from_a_service_that_cannot_reach_itself() {
    let (setup, supervisor) = supervised();
    let socket = setup.path("gone.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::remove_file(&socket).unwrap();
    let mut setup = setup
        .with("WATCHDOG_USEC", "300000")
        .with_stdin(listener.into())
        .through_shell(r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#);
    let mut child = setup.command(&[]).spawn().unwrap();
    eventually("several pings came", || (supervisor.count("WATCHDOG=1") >= 5).then_some(()));
    crate::fixtures::signal(child.id(), "TERM");
    assert_eq!(crate::setup::wait(&mut child).code(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_hears_nothing() {
    let (setup, supervisor) = supervised();
    let service = setup.with("WATCHDOG_USEC", "3000").with("WATCHDOG_PID", "1").start();
    service.store(&message("m1"));
    service.stop();
    supervisor.hears("STOPPING=1");
    assert_eq!(supervisor.count("WATCHDOG=1"), 0);
}

#[test]
fn a_writer_that_is_stuck_keeps_the_watchdog_from_hearing() {
    let (setup, supervisor) = supervised();
    let service = setup.with("WATCHDOG_USEC", "1800000").start();
    supervisor.hears("WATCHDOG=1");
    // To the writer, another process that keeps the database for ever is what a disk that hangs is: each
    // batch takes two seconds, which are several looks.
    let database = open_database(&service.path("app.db"));
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (mut client, mut pings) = (service.connect(), 0);
    eventually("it is found to be stuck", || {
        client.post(&message("m1")).expect(503);
        pings = supervisor.count("WATCHDOG=1");
        service
            .stdout
            .json()
            .into_iter()
            .find(|line| line["event"] == "stuck" && line["what"] == "the writer")
    });
    supervisor.hears("STATUS=Stuck: the writer");
    database.execute_batch("ROLLBACK").unwrap();
    eventually("pings come again", || (supervisor.count("WATCHDOG=1") > pings).then_some(()));
    service.store(&message("m2"));
}
