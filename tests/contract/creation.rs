//! Section 10: processes that start at once on one empty folder create one database between them.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;

use crate::fixtures::{eventually, message, message_with, open_database};
use crate::http_client::{Address, Client};
use crate::setup::Setup;

/// Pairs that are started; a fault of one in ten pairs is missed once in sixty runs of this many.
const PAIRS: usize = 40;

struct Process {
    child: Child,
    address: Address,
}

impl Process {
    fn serve(setup: &mut Setup) -> Self {
        // No port, which a client of another test could have by the time when this process binds it.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let socket = setup.path(&format!("{}.sock", NUMBER.fetch_add(1, Relaxed)));
        setup.variables.insert("LISTEN_ADDR".to_owned(), format!("unix:{}", socket.display()));
        let child = quietly(&mut setup.command(&["serve"])).spawn().expect("the executable starts");
        Self { child, address: Address::Unix(socket) }
    }

    /// True if it serves; otherwise it has ended because another one was at it.
    fn is_up(&mut self) -> bool {
        eventually("it serves or ends", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                assert_eq!(status.code(), Some(75), "nothing else is wrong");
                return Some(false);
            }
            let answer = Client::try_connect(&self.address)
                .and_then(|mut client| client.try_request("GET", "/health/ready", &[], None));
            answer.is_ok_and(|answer| answer.status == 200).then_some(true)
        })
    }

    fn post(&self, id: &str) {
        Client::connect(&self.address).post(&message(id)).expect(200);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn quietly(command: &mut Command) -> &mut Command {
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null())
}

fn stored(setup: &Setup) -> BTreeSet<String> {
    let database = open_database(&setup.path("app.db"));
    let mut statement = database.prepare("SELECT message_id FROM messages").expect("there is a table");
    let ids = statement.query_map([], |row| row.get(0)).expect("it can be read");
    ids.map(|id| id.expect("an id is text")).collect()
}

/// Nothing else is beside the database than what belongs there.
fn is_tidy(setup: &Setup) {
    let known = ["", "-wal", "-shm", "-lock", "-index", "-index-wal", "-index-shm", "-index-journal"];
    for entry in fs::read_dir(setup.folder.path()).expect("the folder is ours") {
        let name = entry.expect("it can be read").file_name().to_string_lossy().into_owned();
        let is_known =
            !name.starts_with("app.db") || known.iter().any(|suffix| name == format!("app.db{suffix}"));
        assert!(is_known, "{name}");
    }
}

#[test]
fn two_services_that_start_at_once_take_nothing_away_from_each_other() {
    for round in 0..PAIRS {
        let mut setup = Setup::new();
        let mut pair = [Process::serve(&mut setup), Process::serve(&mut setup)];
        let mut acknowledged = BTreeSet::new();
        for (number, process) in pair.iter_mut().enumerate() {
            if process.is_up() {
                let id = format!("round {round} of {number}");
                process.post(&id);
                acknowledged.insert(id);
            }
        }
        assert!(!acknowledged.is_empty(), "one of them serves");
        drop(pair);
        assert_eq!(stored(&setup), acknowledged);
        is_tidy(&setup);
    }
}

fn lines(setup: &Setup, name: &str) -> String {
    let line = |number: usize| {
        let mut line = message_with(&format!("{name} {number}"), &json!({})).to_string();
        line.push('\n');
        line
    };
    setup.file(name, (0..20).map(line).collect::<String>())
}

#[test]
fn two_imports_that_start_at_once_take_nothing_away_from_each_other() {
    for _ in 0..PAIRS {
        let mut setup = Setup::new();
        let pair = ["one", "two"].map(|name| {
            let file = lines(&setup, name);
            setup.command(&["import", &file]).spawn().expect("the executable starts")
        });
        for import in pair {
            let output = import.wait_with_output().expect("a child can be waited for");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{said}");
        }
        assert_eq!(stored(&setup).len(), 40);
        is_tidy(&setup);
    }
}

#[test]
fn a_service_and_an_import_that_start_at_once_take_nothing_away_from_each_other() {
    for _ in 0..PAIRS / 2 {
        let mut setup = Setup::new();
        let file = lines(&setup, "imported");
        let mut service = Process::serve(&mut setup);
        let imported = setup.run(&["import", &file]);
        assert_eq!(imported.code, Some(0), "{}", imported.stderr);
        assert!(service.is_up());
        service.post("posted");
        drop(service);
        assert_eq!(stored(&setup).len(), 21);
    }
}

#[test]
fn a_log_without_its_database_is_refused_and_kept() {
    let service = Setup::new().start();
    service.store(&message("m1"));
    let mut setup = service.kill();
    let log = fs::read(setup.path("app.db-wal")).unwrap();
    fs::rename(setup.path("app.db"), setup.path("archive.db")).unwrap();
    setup.is_refused(78, &["app.db-wal", "holds messages"]);
    assert_eq!(setup.run(&["import"]).code, Some(78));
    assert!(fs::read(setup.path("app.db-wal")).unwrap() == log);
    assert!(!setup.path("app.db").exists());
    // What it says helps.
    fs::rename(setup.path("app.db-wal"), setup.path("archive.db-wal")).unwrap();
    let service = setup.start();
    assert_eq!(service.get("/messages").json()["total"], 0);
    let archive = open_database(&service.path("archive.db"));
    let kept: i64 = archive.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[test]
fn a_journal_without_its_database_is_refused_and_kept() {
    let mut setup = Setup::new();
    setup.file(
        "app.db-journal",
        b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 of an earlier implementation that was killed",
    );
    setup.is_refused(78, &["app.db-journal", "holds messages"]);
    assert!(setup.path("app.db-journal").exists());
}

#[test]
fn a_database_is_not_created_beside_a_service_whose_own_was_moved_away() {
    let service = Setup::new().start();
    service.store(&message("m1"));
    fs::rename(service.path("app.db"), service.path("away.db")).unwrap();
    // Its log may be empty by now, and is the one that a new database would get.
    fs::File::options().write(true).open(service.path("app.db-wal")).unwrap().set_len(0).unwrap();
    let url = format!("sqlite:///{}", service.path("app.db").display());
    Setup::new().with("DATABASE_URL", &url).is_refused(75, &["app.db", "has it open"]);
    assert!(!service.path("app.db").exists());
}
