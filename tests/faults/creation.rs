//! A process that is slow between looking and acting, and a disk that fails while a file is made.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use crate::fixtures::{eventually, message, open_database};
use crate::http_client::Address;
use crate::plain::older_file;
use crate::setup::{Setup, wait};
use crate::tracer::{can_trace, start_traced};

/// Every call by which a file of that name comes to be, is looked at, or goes.
const STEPS: [&str; 4] = ["flock", "renameat2,rename,linkat,link", "unlink,unlinkat", "fsync,fdatasync"];

#[test]
fn a_start_that_is_slow_at_any_step_takes_away_nothing_that_another_has_acknowledged() {
    if !can_trace() {
        return;
    }
    for steps in STEPS {
        let mut setup = Setup::new();
        let file = setup.file("lines", format!("{}\n", message("imported")));
        let traced = |delay: u32| {
            let mut command = Command::new("strace");
            command.args(["-f", "--quiet=all", "-o", "seen", "-e", &format!("trace={steps}")]);
            command.args(["-e", &format!("inject={steps}:delay_enter={delay}")]);
            command
        };
        // Each delayed by as long as the other needs to start and to take messages.
        let import = setup.command(&["import", &file]);
        let mut slow = traced(300_000);
        slow.arg(import.get_program()).args(import.get_args()).current_dir(setup.folder.path()).env_clear();
        slow.envs(import.get_envs().filter_map(|(name, value)| Some((name, value?))));
        slow.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        slow.stdout(Stdio::null()).stderr(Stdio::null());
        let mut slow = slow.spawn().expect("strace starts");
        eventually("it has come to its first step, or ended", || {
            let seen = fs::read(setup.path("seen")).is_ok_and(|seen| !seen.is_empty());
            (seen || slow.try_wait().expect("a child can be waited for").is_some()).then_some(())
        });
        let service = setup.start();
        (0..20).for_each(|number| service.store(&message(&format!("{steps} {number}"))));
        let code = wait(&mut slow).code();
        assert!(code == Some(0) || code == Some(75), "{steps}: {code:?}");
        let expected = 20 + u64::from(code == Some(0));
        assert_eq!(service.get("/messages").json()["total"], expected, "{steps}");
        let service = service.kill().start();
        assert_eq!(service.get("/messages").json()["total"], expected, "{steps}");
    }
}

#[test]
fn a_socket_whose_service_does_not_listen_yet_is_not_taken_for_one_left_behind() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let socket = setup.path("service.sock");
    let listen = format!("unix:{}", socket.display());
    let slow = ["-e trace=listen", "-e inject=listen:delay_enter=1000000"];
    let setup = start_traced(setup.with("LISTEN_ADDR", &listen), &slow);
    thread::scope(|scope| {
        let first = scope.spawn(|| setup.start_at(Address::Unix(socket.clone())));
        eventually("the socket is there", || socket.exists().then_some(()));
        let mut second = Setup::new().with("LISTEN_ADDR", &listen);
        second.is_refused(69, &["service.sock", "another program listens there"]);
        first.join().expect("it is up").get("/health/ready").expect(200);
    });
}

fn rows(setup: &Setup, name: &str) -> i64 {
    let database = open_database(&setup.path(name));
    database.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).expect("it is a database")
}

#[test]
fn a_backup_whose_sync_fails_is_none_and_the_older_one_stays() {
    if !can_trace() {
        return;
    }
    let mut setup = older_file(1000);
    setup.file("copy.db", "the older one");
    for call in ["fsync", "fdatasync"] {
        for when in ["1", "1+", "2+"] {
            let backup = setup.command(&["backup", "copy.db"]);
            let mut command = Command::new("strace");
            command.args([
                "-f",
                "--quiet=all",
                "-o",
                "seen",
                "-e",
                &format!("inject={call}:error=EIO:when={when}"),
            ]);
            command.arg(backup.get_program()).args(backup.get_args()).current_dir(setup.folder.path());
            command.envs(backup.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let output = command.output().expect("strace starts");
            let injected =
                fs::read_to_string(setup.path("seen")).is_ok_and(|seen| seen.contains("(INJECTED)"));
            if !injected {
                continue;
            }
            let entries = fs::read_dir(setup.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = entries.filter(|name| name.to_string_lossy().contains("partial")).collect();
            assert!(left.is_empty(), "{call} {when}: {left:?}");
            assert!(!output.status.success(), "{call} {when}: {output:?}");
            // The last sync is that of the folder: by then the copy is whole, and has its name or has not.
            let copy = fs::read(setup.path("copy.db")).unwrap();
            if copy != b"the older one" {
                assert!((call, when) == ("fsync", "2+"), "{call} {when}");
                assert_eq!(rows(&setup, "copy.db"), rows(&setup, "app.db"));
                setup.file("copy.db", "the older one");
            }
        }
    }
}
