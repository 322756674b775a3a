//! `SIGUSR2`, and a restart behind a socket that outlives the service: a new version takes over, and
//! nobody is refused.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::fixtures::{SECRET, SetOnDrop, eventually, message, open_database, sign, signal};
use crate::http_client::{Address, Client, request};
use crate::service::Service;
use crate::setup::Setup;
use crate::supervisor::Supervisor;

const UPGRADES: usize = 20;

/// A service that is started from a file of its own, so that the file can be replaced, and the process
/// that is the service now.
struct Upgradable {
    service: Service,
    supervisor: Supervisor,
    program: PathBuf,
    pid: u32,
}

impl Upgradable {
    fn start(setup: Setup) -> Self {
        let program = setup.path("program");
        let notify = setup.path("notify");
        let supervisor = Supervisor::at(&notify);
        install(&program);
        let service = setup
            .with("PROGRAM", &program.display().to_string())
            .with("NOTIFY_SOCKET", &notify.display().to_string())
            .through_shell(r#"exec "$PROGRAM" "$@""#)
            .start();
        supervisor.hears("READY=1");
        let pid = service.pid();
        Self { service, supervisor, program, pid }
    }

    /// Puts a new file in the place of the program, and has it take over.
    #[track_caller]
    fn upgrade(&mut self) {
        install(&self.program);
        let (old, failed) = (self.pid, self.events("upgrade_failed").len());
        signal(old, "USR2");
        self.pid = eventually("another process is the service", || {
            let heir = self.supervisor.main_pid().filter(|pid| *pid != old);
            let has_failed = self.service.stdout.so_far().matches("upgrade_failed").count() > failed;
            assert!(heir.is_some() || !has_failed, "{}", self.service.stderr.so_far());
            heir
        });
        eventually("the old process ends", || {
            self.service.reap();
            has_ended(old).then_some(())
        });
        let running = fs::read_link(format!("/proc/{}/exe", self.pid)).expect("it runs");
        assert_eq!(running, self.program, "it runs the file that is there now");
    }

    fn events(&self, event: &str) -> Vec<serde_json::Value> {
        self.service.stdout.json().into_iter().filter(|line| line["event"] == event).collect()
    }

    fn stop(&self) {
        signal(self.pid, "TERM");
        eventually("the last process ends", || has_ended(self.pid).then_some(()));
    }
}

impl Drop for Upgradable {
    fn drop(&mut self) {
        if self.pid != self.service.pid() && !has_ended(self.pid) {
            signal(self.pid, "KILL");
        }
    }
}

/// Under another name first: a file that is being run cannot be written to. By a process of its own: one
/// that another test starts meanwhile would hold a file of ours open, and the kernel not run it.
fn install(program: &Path) {
    shell(r#"cp "$1" "$0.new" && mv "$0.new" "$0""#, program, env!("CARGO_BIN_EXE_lyftr-webhook"));
}

fn install_script(program: &Path, text: &str) {
    shell(r#"printf %s "$1" >"$0.new" && chmod 755 "$0.new" && mv "$0.new" "$0""#, program, text);
}

fn shell(script: &str, program: &Path, argument: &str) {
    let status = Command::new("sh").args(["-c", script]).arg(program).arg(argument).status();
    assert!(status.expect("the machine has a shell").success());
}

fn has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Nobody may have asked yet how it ended.
    status.is_empty() || status.contains(") Z ")
}

fn post_bytes(id: &str) -> Vec<u8> {
    let body = message(id).to_string();
    let signature = sign(SECRET, body.as_bytes());
    request("POST", "/webhook", &[("X-Signature", &signature)], Some(body.as_bytes()))
}

fn post(client: &mut Client, id: &str) -> std::io::Result<u16> {
    client.try_send(&post_bytes(id))?;
    Ok(client.try_receive("POST")?.status)
}

/// Posts without pause until told to stop, on one connection or on one for each, and counts what was
/// acknowledged. The first trouble ends the test.
fn post_on(address: &Address, name: &str, keep_alive: bool, stop: &AtomicBool, acknowledged: &AtomicUsize) {
    let mut client = Client::connect(address);
    for number in 0.. {
        if stop.load(SeqCst) {
            return;
        }
        if !keep_alive {
            client = Client::connect(address);
        }
        let status = post(&mut client, &format!("{name} {number}"));
        assert_eq!(status.expect("every request is answered"), 200, "{name} {number}");
        acknowledged.fetch_add(1, SeqCst);
    }
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

fn upgrades_under_load(setup: Setup, upgrades: usize) -> Upgradable {
    let mut running = Upgradable::start(setup);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = running.service.address.clone();
    thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        for (name, keep_alive) in [("kept", true), ("kept too", true), ("fresh", false), ("fresh too", false)]
        {
            let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
            scope.spawn(move || post_on(address, name, keep_alive, stop, acknowledged));
        }
        for _ in 0..upgrades {
            let before = acknowledged.load(SeqCst);
            running.upgrade();
            eventually("more is acknowledged", || (acknowledged.load(SeqCst) > before + 20).then_some(()));
        }
    });
    all_are_stored_once(&running.service.path("app.db"), acknowledged.load(SeqCst));
    assert_eq!(running.service.get("/stats").json()["total_messages"], acknowledged.load(SeqCst));
    for trouble in ["upgrade_failed", "degraded"] {
        assert_eq!(running.events(trouble), [] as [serde_json::Value; 0]);
    }
    assert_eq!(running.events("handed_over").len(), upgrades);
    running
}

#[test]
fn twenty_upgrades_under_load_refuse_nobody_and_drop_no_connection() {
    let running = upgrades_under_load(Setup::new(), UPGRADES);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap().count();
    assert!(descriptors < 60, "none of the processes before has left a descriptor: {descriptors}");
    running.stop();
}

#[test]
fn a_unix_socket_survives_upgrades_and_goes_with_the_last_process() {
    let setup = Setup::new();
    let socket = setup.path("service.sock");
    let setup = setup.with("LISTEN_ADDR", &format!("unix:{}", socket.display()));
    let running = upgrades_under_load(setup, 4);
    assert!(socket.exists());
    running.stop();
    assert!(!socket.exists());
}

#[test]
fn a_request_under_way_is_finished_by_the_old_process_and_its_connection_goes_on_in_the_new_one() {
    let mut running = Upgradable::start(Setup::new());
    let mut idle = running.service.connect();
    idle.get("/health/live").expect(200);
    let mut silent = running.service.connect();
    let mut bytes = post_bytes("m1");
    let rest = bytes.split_off(bytes.len() - 1);
    let mut client = running.service.connect();
    client.send(&bytes);
    running.service.get("/health/live").expect(200);

    let old = running.pid;
    signal(old, "USR2");
    running.pid = eventually("another process is the service", || running.supervisor.main_pid());
    eventually("the old process has handed over", || {
        (!running.events("handed_over").is_empty()).then_some(())
    });
    assert!(!has_ended(old), "it waits for the request");
    // Ready all the while: there is no moment in which nobody serves.
    idle.get("/health/ready").expect(200);
    client.send(&rest);
    client.receive().expect(200);
    eventually("the old process ends", || {
        running.service.reap();
        has_ended(old).then_some(())
    });
    for (number, client) in [&mut client, &mut idle, &mut silent].into_iter().enumerate() {
        assert_eq!(post(client, &format!("after {number}")).unwrap(), 200);
    }
    assert_eq!(running.service.get("/messages").json()["total"], 4);
}

#[test]
fn a_new_program_that_does_not_serve_leaves_the_old_one_as_it_was() {
    let mut running = Upgradable::start(Setup::new());
    let mut client = running.service.connect();
    let attempts = [
        ("#!/bin/sh\nexit 3\n", "exit status: 3"),
        ("#!/bin/sh\nkill -9 $$\n", "signal: 9"),
        ("neither a program nor a script\n", "program: "),
        ("#!/no/such/interpreter\n", "program: "),
    ];
    for (number, (script, said)) in attempts.into_iter().enumerate() {
        install_script(&running.program, script);
        signal(running.pid, "USR2");
        let failed =
            eventually("the log tells of it", || running.events("upgrade_failed").into_iter().nth(number));
        assert!(failed["detail"].as_str().unwrap().contains(said), "{failed}");
        assert_eq!(post(&mut client, &format!("m{number}")).unwrap(), 200);
        assert_eq!(running.service.get("/health/ready").status, 200);
    }
    assert_eq!(running.supervisor.main_pid(), None);
    running.upgrade();
    assert_eq!(post(&mut client, "at last").unwrap(), 200);
    assert_eq!(client.get("/messages").json()["total"], attempts.len() + 1);
}

#[test]
fn a_stop_does_not_wait_for_a_new_program_that_hangs() {
    let mut running = Upgradable::start(Setup::new());
    install_script(&running.program, "#!/bin/sh\nexec sleep 600\n");
    signal(running.pid, "USR2");
    let begun = eventually("it is started", || running.events("upgrade").into_iter().next());
    let pid = u32::try_from(begun["pid"].as_u64().unwrap()).unwrap();
    // A second one is refused, and the first goes on.
    signal(running.pid, "USR2");
    eventually("it is refused", || running.events("upgrade_failed").into_iter().next());
    assert!(!has_ended(pid));
    running.service.signal("TERM");
    assert_eq!(running.service.wait().code(), Some(0));
    eventually("the new program ends as well", || has_ended(pid).then_some(()));
}

#[test]
fn a_service_that_took_over_knows_nothing_of_how_the_first_one_got_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let setup = Setup::new();
    let (program, notify) = (setup.path("program"), setup.path("notify"));
    let supervisor = Supervisor::at(&notify);
    install(&program);
    let script = r#"exec 3<&0 0</dev/null
        LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http WATCHDOG_PID=$$ WATCHDOG_USEC=600000 exec "$PROGRAM" "$@""#;
    let service = setup
        .with("PROGRAM", program.to_str().unwrap())
        .with("NOTIFY_SOCKET", notify.to_str().unwrap())
        .with_stdin(OwnedFd::from(listener))
        .through_shell(script)
        .start_at(address);
    let pid = service.pid();
    let mut running = Upgradable { service, supervisor, program, pid };
    running.upgrade();
    let environment = fs::read_to_string(format!("/proc/{}/environ", running.pid)).unwrap();
    assert!(!environment.contains("LISTEN_") && !environment.contains("WATCHDOG_PID"), "{environment:?}");
    // The watchdog of the old process is the new one's.
    let pings = || running.supervisor.lines().iter().filter(|line| *line == "WATCHDOG=1").count();
    let before = pings();
    eventually("the new process is watched", || (pings() > before + 2).then_some(()));
    assert_eq!(post(&mut running.service.connect(), "m1").unwrap(), 200);
    running.stop();
    // The socket was never the service's to close: nobody accepts, and nobody is refused.
    running.service.connect();
}

#[test]
fn several_passed_sockets_end_the_start_with_78() {
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    Setup::new().through_shell(script).is_refused(78, &["2 sockets were passed"]);
}

/// Who is answered by nobody tries again, as every sender does; who is refused does not.
fn post_until_acknowledged(address: &Address, id: &str) {
    loop {
        let mut client = Client::try_connect(address).expect("no connection is refused");
        match post(&mut client, id) {
            Ok(status) => return assert_eq!(status, 200, "{id}"),
            Err(error) => eprintln!("{id}: {error}, sent again"),
        }
    }
}

#[test]
fn twenty_restarts_behind_a_socket_that_stays_refuse_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let setup = Setup::new()
        .with_stdin(OwnedFd::from(listener))
        .through_shell(r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#);
    let database = setup.path("app.db");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let last = thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        for name in ["one", "two", "three", "four"] {
            let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    post_until_acknowledged(address, &format!("{name} {number}"));
                    acknowledged.fetch_add(1, SeqCst);
                }
            });
        }
        let mut service = setup.start_at(address.clone());
        for _ in 0..UPGRADES {
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

#[test]
fn the_first_process_of_a_container_refuses_because_its_end_is_the_containers() {
    let containers = Command::new("unshare").args(["--fork", "--pid", "true"]).stderr(Stdio::null()).status();
    if !containers.is_ok_and(|status| status.success()) {
        eprintln!("unshare(1) may not be used here: nothing is process 1");
        return;
    }
    let service = Setup::new().through_shell(r#"exec unshare --fork --pid --kill-child "$0" "$@""#).start();
    let children = format!("/proc/{0}/task/{0}/children", service.pid());
    let pid = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    signal(pid, "USR2");
    let refused = eventually("it is refused", || {
        service.stdout.json().into_iter().find(|line| line["event"] == "upgrade_failed")
    });
    assert!(refused["detail"].as_str().unwrap().contains("container"), "{refused}");
    assert_eq!(post(&mut service.connect(), "m1").unwrap(), 200);
}
