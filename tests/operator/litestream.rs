//! Litestream (litestream.io) beside the service: it replicates the database under load to a folder, from which the
//! database is restored when everything is gone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::json;

use crate::fixtures::{SetOnDrop, eventually, message, message_with, open_database};
use crate::http_client::Client;
use crate::output::Lines;
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;
use crate::tools::run;

const CLIENTS: usize = 4;
/// Two pages of a database each, so that logs are filled fast.
const TEXT: &str = "0123456789abcdef";

/// Litestream at work on a database.
struct Replication {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    replica: PathBuf,
}

impl Replication {
    fn start(database: &Path) -> Self {
        let replica = database.with_file_name("replica");
        let mut child = Command::new("litestream")
            .args(["replicate".as_ref(), database.as_os_str()])
            .arg(url(&replica))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("litestream starts");
        let stdout = Lines::of(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Self { child, stdout, stderr, replica }
    }

    /// What the replica holds now, under a name of its own. `None` while there is nothing yet.
    fn restored(&self, name: &str) -> Option<PathBuf> {
        let target = self.replica.with_file_name(name);
        for beside in ["", "-wal", "-shm", ".tmp", ".tmp-wal", ".tmp-shm"] {
            drop(fs::remove_file(format!("{}{beside}", target.display())));
        }
        let finished = restore(&self.replica, &target);
        (finished.status.success() && target.exists()).then_some(target)
    }

    /// Waits until the replica has a message, which is when a sync is over that began after it was acknowledged.
    #[track_caller]
    fn has(&self, id: &str) {
        eventually(&format!("{id} is in the replica"), || {
            let restored = self.restored("looked-at.db")?;
            ids(&restored).contains(id).then_some(())
        });
    }

    fn kill(mut self) -> String {
        drop(self.child.kill());
        drop(self.child.wait());
        self.stdout.to_the_end() + &self.stderr.to_the_end()
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// As the manual has it, with a look at all that comes. There may be nothing yet, but never what is not whole.
#[track_caller]
fn restore(replica: &Path, target: &Path) -> Output {
    let target = target.display().to_string();
    let finished = run("litestream", &["restore", "-integrity-check", "full", "-o", &target, &url(replica)]);
    let said = String::from_utf8_lossy(&finished.stderr);
    assert!(!said.contains("malformed") && !said.contains("integrity check failed"), "{said}");
    finished
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn ids(database: &Path) -> HashSet<String> {
    let database = open_database(database);
    let mut statement = database.prepare("SELECT message_id FROM messages").expect("the table is there");
    let rows = statement.query_map([], |row| row.get(0)).expect("the table can be read");
    rows.map(|id| id.expect("an id is text")).collect()
}

/// Posts in turn until the service is killed, and notes what was acknowledged.
fn post_until_it_is_killed(
    mut client: Client,
    number: usize,
    acknowledged: &Mutex<Vec<String>>,
    is_killed: &AtomicBool,
) {
    let text = TEXT.repeat(256);
    for count in 0.. {
        let id = format!("client {number} message {count:06}");
        loop {
            match client.try_post(&message_with(&id, &json!({ "text": text }))) {
                // A checkpoint of somebody else may take longer than a commit waits for it.
                Ok(answer) if answer.status == 503 => continue,
                Ok(answer) => answer.expect(200),
                Err(_) if is_killed.load(Relaxed) => return,
                Err(error) => panic!("{id}: {error}"),
            };
            break;
        }
        acknowledged.lock().expect("nobody panics").push(id);
    }
}

/// How often the log has started over (sqlite.org/fileformat.html, 4.1: the checkpoint sequence number).
fn starts_of_the_log(database: &Path) -> u32 {
    let log = File::open(database.with_file_name("app.db-wal")).expect("there is a log");
    let mut number = [0; 4];
    log.read_exact_at(&mut number, 12).expect("it has a header");
    u32::from_be_bytes(number)
}

/// Every client's messages are there from its first to some other without a gap, as they were sent.
fn is_of_one_moment(database: &Path) {
    let found = ids(database);
    for number in 0..CLIENTS {
        let name = format!("client {number} ");
        let count = found.iter().filter(|id| id.starts_with(&name)).count();
        let run = (0..count).all(|count| found.contains(&format!("{name}message {count:06}")));
        assert!(run, "{name} has a gap among {count} messages");
    }
    let other = "SELECT COUNT(*) FROM messages WHERE message_id LIKE 'client %' AND text <> ?1";
    let other = open_database(database).query_row(other, [TEXT.repeat(256)], |row| row.get::<_, i64>(0));
    assert_eq!(other.expect("the table can be read"), 0);
}

#[test]
fn nothing_acknowledged_before_the_last_sync_is_missing_when_all_is_killed_and_restored() {
    if !has(&["litestream"]) {
        return;
    }
    let service = Service::start();
    let replication = Replication::start(&service.path("app.db"));
    let acknowledged = Mutex::new(Vec::new());
    let is_killed = AtomicBool::new(false);
    let so_far = || acknowledged.lock().expect("nobody panics").clone();
    let (before, said, setup, replica) = thread::scope(|scope| {
        let stops = SetOnDrop(&is_killed);
        for number in 0..CLIENTS {
            let (client, acknowledged, is_killed) = (service.connect(), &acknowledged, &is_killed);
            scope.spawn(move || post_until_it_is_killed(client, number, acknowledged, is_killed));
        }
        let some_more = || {
            let enough = so_far().len() + 500;
            eventually("more messages are acknowledged", || (so_far().len() >= enough).then_some(()));
        };
        let mut before = Vec::new();
        for round in 0..2 {
            some_more();
            let starts = starts_of_the_log(&service.path("app.db"));
            for _ in 0..5 {
                some_more();
            }
            eventually("the log starts over", || {
                (starts_of_the_log(&service.path("app.db")) != starts).then_some(())
            });
            before = so_far();
            let marker = format!("marker {round}");
            service.store(&message(&marker));
            before.push(marker.clone());
            replication.has(&marker);
        }
        some_more();
        let replica = replication.replica.clone();
        drop(stops);
        let setup = service.kill();
        (before, replication.kill(), setup, replica)
    });
    assert!(!said.contains("level=ERROR"), "{said}");

    let restored = setup.path("restored.db");
    let finished = restore(&replica, &restored);
    assert!(finished.status.success(), "{finished:?}");
    let found = ids(&restored);
    let missing: Vec<_> = before.iter().filter(|id| !found.contains(*id)).collect();
    assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), before.len());
    is_of_one_moment(&restored);
    let sent: HashSet<String> = ids(&setup.path("app.db"));
    assert!(found.is_subset(&sent), "what is restored was stored");

    // It is a backup like any other.
    let mut elsewhere = Setup::new();
    let restored = restored.display().to_string();
    assert_eq!(elsewhere.run(&["check", &restored]).code, Some(0));
    assert_eq!(elsewhere.run(&["restore", &restored]).code, Some(0));
    let service = elsewhere.start();
    assert_eq!(service.get("/stats").json()["total_messages"], found.len());
    service.store(&message("on it goes"));
    assert_eq!(service.get("/messages?limit=1").json()["total"], found.len() + 1);
}

#[test]
fn a_service_that_starts_again_goes_on_beside_it() {
    if !has(&["litestream"]) {
        return;
    }
    let mut service = Service::start();
    let replication = Replication::start(&service.path("app.db"));
    for round in 0..6 {
        for number in 0..50 {
            service.store(&message_with(&format!("{round} {number}"), &json!({"text": TEXT.repeat(256)})));
        }
        service = if round % 2 == 0 { service.restart() } else { service.kill().start() };
        service.get("/health/ready").expect(200);
    }
    service.store(&message("at last"));
    replication.has("at last");
    let restored = replication.restored("restored.db").expect("there is a replica");
    assert_eq!(ids(&restored), ids(&service.path("app.db")));
    let mut setup = service.stop();
    // While it replicates, nothing takes the place of the database under its hands.
    let finished = setup.run(&["restore", &restored.display().to_string()]);
    assert_eq!(finished.code, Some(75), "{finished:?}");
}

#[test]
fn a_database_that_was_put_back_is_replicated_to_the_same_place_anew() {
    if !has(&["litestream"]) {
        return;
    }
    let service = Service::start();
    let replication = Replication::start(&service.path("app.db"));
    service.store(&message("kept"));
    replication.has("kept");
    let earlier = replication.restored("earlier.db").expect("there is a replica");
    service.store(&message("undone"));
    replication.has("undone");
    let mut setup = service.stop();
    replication.kill();
    assert_eq!(setup.run(&["restore", &earlier.display().to_string()]).code, Some(0));

    let service = setup.start();
    let replication = Replication::start(&service.path("app.db"));
    service.store(&message("done instead"));
    replication.has("done instead");
    let restored = replication.restored("restored.db").expect("there is a replica");
    assert_eq!(ids(&restored), HashSet::from(["kept", "done instead"].map(str::to_owned)));
    assert_eq!(service.get("/stats").json()["total_messages"], 2);
}

#[test]
fn what_is_erased_beside_it_is_gone_once_it_has_begun_anew() {
    if !has(&["litestream"]) {
        return;
    }
    let mut service = Service::start();
    let replication = Replication::start(&service.path("app.db"));
    for (id, from) in [("kept", "+1"), ("erased", "+2")] {
        service.store(&message_with(id, &json!({"from": from, "text": format!("{id} Zugzwang")})));
    }
    replication.has("erased");
    let finished = service.setup().run(&["erase", "--sender", "+2"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains("another process reads the database"), "{finished:?}");

    replication.kill();
    let finished = service.setup().run(&["erase", "--sender", "+2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for folder in ["replica", ".app.db-litestream"] {
        fs::remove_dir_all(service.path(folder)).expect("Litestream has made it");
    }
    let replication = Replication::start(&service.path("app.db"));
    service.store(&message("later"));
    replication.has("later");
    let restored = replication.restored("restored.db").expect("there is a replica");
    assert_eq!(ids(&restored), HashSet::from(["kept", "later"].map(str::to_owned)));
    replication.kill();
    fs::remove_file(service.path("looked-at.db")).expect("it was looked at");
    let found = run("grep", &["-rlaF", "erased", &service.setup().folder.path().display().to_string()]);
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{found:?}");
}
