//! What the one who starts a process leaves to it: signals blocked or ignored, limits, a umask, streams that are
//! closed or take nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::fixtures::{eventually, ids, message};
use crate::load::{Load, is_sound, turns_ready};
use crate::service::Service;
use crate::setup::{Setup, wait};
use crate::skip::has;

/// A mask of signals of a process, as proc(5) shows it.
fn signals(service: &Service, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(mask.expect("it is there"), 16).expect("a mask is a number")
}

fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

#[test]
fn signals_that_were_blocked_are_obeyed() {
    let service = Setup::new().through_shell(r#"exec env --block-signal -- "$0" "$@""#).start();
    // Whoever starts a thread blocks all of them for a moment.
    eventually("none is blocked", || (signals(&service, "SigBlk") == 0).then_some(()));
    service.store(&message("m1"));
    service.signal("HUP");
    eventually("it is reloaded", || {
        service.stdout.json().iter().any(|line| line["event"] == "reloaded").then_some(())
    });
    service.stop();
}

#[test]
fn signals_that_were_ignored_are_obeyed() {
    let script = r#"trap '' TERM INT HUP USR2 CHLD PIPE XFSZ; exec "$0" "$@""#;
    for name in ["TERM", "INT"] {
        let mut service = Setup::new().through_shell(script).start();
        service.store(&message("m1"));
        const SIGCHLD: u32 = 17;
        const SIGXFSZ: u32 = 25;
        assert_eq!(signals(&service, "SigIgn") & (bit(SIGCHLD) | bit(SIGXFSZ)), 0);
        service.signal(name);
        assert_eq!(service.wait().code(), Some(0));
    }
}

/// Stores until there is no more room, which is a 503 and nothing else.
#[track_caller]
fn fill(service: &Service) -> Vec<String> {
    let mut stored = Vec::new();
    let mut message = message("");
    message["text"] = "x".repeat(4000).into();
    eventually("the file is full", || {
        message["message_id"] = format!("m{:04}", stored.len()).into();
        let answer = service.post(&message);
        match answer.status {
            200 => stored.push(format!("m{:04}", stored.len())),
            _ => assert!(answer.expect(503).header("Retry-After").is_some()),
        }
        (answer.status == 503).then_some(())
    });
    stored
}

#[test]
fn a_limit_of_file_sizes_is_a_503_and_no_end() {
    // In units of 512 bytes.
    let service = Setup::new().through_shell(r#"ulimit -f 1500; exec "$0" "$@""#).start();
    let stored = fill(&service);
    assert!(stored.len() > 20, "{stored:?}");
    service.get("/health/live").expect(200);
    service.get("/health/ready").expect(503);
    service.get("/stats").expect(200);
    let setup = service.stop().through_shell(r#"exec "$0" "$@""#);
    let service = setup.start();
    assert_eq!(service.get("/stats").json()["total_messages"], stored.len());
    service.store(&message("more"));
    is_sound(&service);
}

#[test]
fn a_start_without_room_for_a_file_ends_with_a_status_and_a_line() {
    let mut setup = Setup::new().through_shell(r#"ulimit -f 1; exec "$0" "$@""#);
    setup.is_refused(69, &["app.db", "ulimit -f"]);
}

#[test]
fn a_limit_below_what_is_there_is_named_as_the_cause() {
    let service = Service::start();
    service.store(&message("m1"));
    let mut setup = service.stop().through_shell(r#"ulimit -f 1; exec "$0" "$@""#);
    for command in [&["serve"][..], &["import"], &["erase", "--sender", "+1"], &["export"], &["check"]] {
        let finished = setup.run(command);
        assert!(!finished.stderr.contains("kernel"), "{command:?}: {finished:?}");
        assert!(
            finished.code == Some(0) || finished.stderr.contains("ulimit -f"),
            "{command:?}: {finished:?}"
        );
    }
}

#[test]
fn a_limit_that_only_the_file_of_the_log_has_reached_drops_and_counts_lines() {
    let setup = Setup::new().with_stdout_unread();
    let log = File::create(setup.path("log")).unwrap();
    log.set_len(20_000 * 512).unwrap();
    let service = setup.through_shell(r#"ulimit -f 20000; exec "$0" "$@" >>log"#).start();
    let load = Load::start(&service);
    load.acknowledged_more(100);
    assert!(service.metric("log_lines_dropped_total") > 0.0);
    turns_ready(&service);
    load.nothing_was_lost(service);
    assert_eq!(log.metadata().unwrap().len(), 20_000 * 512);
}

/// Where what a command says goes to.
enum Stderr<'a> {
    /// Said by the shell that starts it.
    Redirected(&'static str),
    Pipe(&'a OwnedFd),
}

/// What a command ends with and what it leaves is the same whether stderr can be written or not.
#[track_caller]
fn fares_as_ever(stderr: &Stderr<'_>) {
    let code = |setup: Setup, arguments: &[&str]| {
        let mut setup = match stderr {
            Stderr::Redirected(script) => setup.through_shell(*script),
            Stderr::Pipe(_) => setup,
        };
        let full = File::create(setup.path("at its limit")).expect("the folder is ours");
        full.set_len(20_000 * 512).expect("a file may have holes");
        let mut command = setup.command(arguments);
        if let Stderr::Pipe(pipe) = stderr {
            command.stderr(pipe.try_clone().expect("a descriptor can be duplicated"));
        }
        let code = wait(&mut command.stdout(Stdio::null()).spawn().expect("the executable starts")).code();
        (setup, code)
    };
    assert_eq!(code(Setup::new().with("LOG_LEVEL", "LOUD"), &["serve"]).1, Some(78));
    assert_eq!(code(Setup::new(), &["frobnicate"]).1, Some(64));
    let mut lines = String::new();
    for number in 0..2000 {
        lines.push_str(&format!("{}\n{{\"no\":\"message\"}}\n", message(&format!("m{number:04}"))));
    }
    let setup = Setup::new();
    setup.file("lines", lines);
    let (setup, code) = code(setup, &["import", "lines"]);
    assert_eq!(code, Some(65));
    let count = "SELECT COUNT(*) FROM messages";
    assert_eq!(setup.database().query_row(count, [], |row| row.get(0)), Ok(2000));
}

#[test]
fn a_stderr_that_cannot_be_written_changes_no_status_and_stops_no_import() {
    for script in [
        r#"exec "$0" "$@" 2>&-"#,
        r#"exec "$0" "$@" 2>/dev/full"#,
        r#"exec "$0" "$@" 2</dev/null"#,
        r#"ulimit -f 20000; exec "$0" "$@" 2>>'at its limit'"#,
    ] {
        fares_as_ever(&Stderr::Redirected(script));
    }
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    fares_as_ever(&Stderr::Pipe(&writer.into()));
}

#[test]
fn a_stderr_that_nobody_empties_changes_no_status_and_stops_no_import() {
    for is_non_blocking in [true, false] {
        let (_reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, is_non_blocking).unwrap();
        fares_as_ever(&Stderr::Pipe(&writer.into()));
    }
}

#[test]
fn a_stdout_that_cannot_be_written_is_a_failure_of_what_writes_data() {
    let mut setup = Setup::new().start().stop();
    for script in [r#"exec "$0" "$@" >/dev/full"#, r#"exec "$0" "$@" 1</dev/null"#] {
        setup = setup.through_shell(script);
        for arguments in [&["sign"][..], &["check"], &["export", "--csv"], &["--version"]] {
            let finished = setup.run(arguments);
            assert_eq!(finished.code, Some(74), "{script} {arguments:?}: {finished:?}");
            assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        }
    }
}

#[test]
fn standard_streams_that_others_made_non_blocking_carry_everything() {
    let mut setup = Setup::new();
    let mut lines = String::new();
    for number in 0..3000 {
        lines.push_str(&format!("{}\n", message(&format!("m{number:04}"))));
    }
    setup.file("lines", &lines);
    // A pipe from cat(1) and one to it, each filled and emptied with pauses, both of them non-blocking.
    let made = r#"import fcntl, os, sys
for fd in (0, 1): fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
os.execvp(sys.argv[1], sys.argv[1:])"#;
    setup.file("nonblocking.py", made);
    if !has(&["python3"]) {
        return;
    }
    setup.variables.insert("PATH".to_owned(), std::env::var("PATH").unwrap_or_default());
    let mut setup = setup.through_shell(
        r#"(sleep 0.2; cat lines) | python3 nonblocking.py "$0" import | cat
           python3 nonblocking.py "$0" export | (sleep 0.5; cat)"#,
    );
    let finished = setup.run(&[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("3000 messages stored"), "{}", finished.stderr);
    assert_eq!(finished.stdout.lines().count(), 3000, "{}", finished.stderr);
}

#[test]
fn no_file_of_ours_takes_the_place_of_a_closed_stream() {
    for script in [r#"exec "$0" "$@" <&-"#, r#"exec "$0" "$@" >&-"#, r#"exec "$0" "$@" 2>&-"#] {
        let service = Setup::new().with_stdout_unread().through_shell(script).start();
        service.store(&message("m1"));
        for descriptor in 0..3 {
            let at = fs::read_link(format!("/proc/{}/fd/{descriptor}", service.pid())).expect("it is filled");
            let at = at.to_string_lossy().into_owned();
            assert!(at == "/dev/null" || at.starts_with("pipe:"), "{script}: {descriptor} is {at}");
        }
        assert_eq!(ids(&service.get("/messages")), ["m1"]);
    }
}

#[test]
fn any_umask_leaves_files_that_the_owner_can_use_and_nobody_else_can_change() {
    for script in
        [r#"umask 0777; exec "$0" "$@""#, r#"umask 0000; exec "$0" "$@""#, r#"umask 0700; exec "$0" "$@""#]
    {
        let setup = Setup::new().through_shell(script);
        let url = format!("sqlite:///{}/made/app.db", setup.folder.path().display());
        let mut service = setup.with("DATABASE_URL", &url).start();
        service.store(&message("m1"));
        assert_eq!(service.setup().run(&["backup", "made/copy.db"]).code, Some(0));
        let mut paths = vec![service.path("made")];
        paths.extend(fs::read_dir(service.path("made")).unwrap().map(|entry| entry.unwrap().path()));
        assert!(paths.len() > 3, "{paths:?}");
        for path in paths {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o622, 0o600, "{script}: {} has {mode:o}", path.display());
        }
    }
}
