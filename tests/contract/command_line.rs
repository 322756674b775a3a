//! Section 11: the commands, and the codes they exit with.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::fixtures::{SECRET, SetOnDrop, eventually, ids, message, open_database, sign};
use crate::http_client::Client;
use crate::service::Service;
use crate::setup::Setup;

#[test]
fn it_names_its_version() {
    let finished = Setup::new().run(&["--version"]);
    assert_eq!(finished.code, Some(0));
    let said = concat!("lyftr-webhook ", env!("CARGO_PKG_VERSION"));
    assert!(finished.stdout.starts_with(said), "{}", finished.stdout);
    assert_eq!(finished.stderr, "");
}

#[test]
fn version_start_line_and_metrics_name_the_same_commit_and_sqlite() {
    let said = Setup::new().run(&["--version"]).stdout;
    let service = Service::start();
    let start = eventually("it has said that it started", || {
        service.stdout.json().into_iter().find(|line| line["event"] == "start")
    });
    let field = |name: &str| start[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {start}"));
    let (version, commit, sqlite) = (field("version"), field("commit"), field("sqlite_version"));
    assert!(!commit.is_empty());
    assert_eq!(said, format!("lyftr-webhook {version} (commit {commit}, SQLite {sqlite})\n"));
    let labels = format!("version=\"{version}\",commit=\"{commit}\",sqlite_version=\"{sqlite}\"");
    assert_eq!(service.metric(&format!("build_info{{{labels}}}")), 1.0);
}

#[test]
fn its_help_names_every_command() {
    let finished = Setup::new().run(&["--help"]);
    assert_eq!(finished.code, Some(0));
    for name in [
        "serve",
        "healthcheck",
        "sign",
        "backup",
        "restore",
        "check",
        "export",
        "import",
        "erase",
        "--version",
        "--help",
    ] {
        assert!(finished.stdout.contains(name), "{name} is not in {}", finished.stdout);
    }
    assert_eq!(finished.stderr, "");
}

#[test]
fn every_command_answers_a_call_for_help_with_the_usage() {
    let usage = Setup::new().run(&["--help"]).stdout;
    let commands =
        ["serve", "healthcheck", "sign", "backup", "restore", "check", "export", "import", "erase"];
    for command in commands.iter().chain(&["follow"]) {
        for help in ["--help", "-h"] {
            let mut setup = Setup::new();
            let finished = setup.run(&[command, help]);
            assert_eq!((finished.code, &finished.stdout), (Some(0), &usage), "{command}: {finished:?}");
            let made = std::fs::read_dir(setup.folder.path()).expect("the folder is ours").count();
            assert_eq!(made, 0, "{command} has started something");
        }
    }
    assert_eq!(Setup::new().run(&["follow", "--batch", "7", "--help"]).stdout, usage);
}

#[test]
fn streams_that_were_closed_from_the_start_are_an_error_of_whoever_needs_them() {
    let mut setup = Service::start().stop().through_shell(r#"exec "$0" "$@" >&-"#);
    for arguments in [&["export"][..], &["export", "--csv"], &["--version"], &["--help"], &["sign"]] {
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(74), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("cannot write"), "{arguments:?}: {finished:?}");
    }
    let mut setup = setup.through_shell(r#"exec "$0" "$@" <&-"#);
    for (command, code) in [("import", 74), ("sign", 69)] {
        let finished = setup.run(&[command]);
        assert_eq!(finished.code, Some(code), "{command}: {finished:?}");
        assert!(finished.stderr.contains("cannot read"), "{command}: {finished:?}");
    }
    let closed = setup.run(&["--version"]);
    assert_eq!(closed.code, Some(0), "what needs no stdin does without: {closed:?}");
}

#[test]
fn a_wrong_argument_is_answered_with_the_usage() {
    let cases: [&[&str]; 26] = [
        &["frobnicate"],
        &["--frobnicate"],
        &["-x"],
        &["serve", "twice"],
        &["serve", "--fast"],
        &["backup"],
        &["backup", "one", "two"],
        &["backup", "--x"],
        &["backup", "-b"],
        &["restore", "--x"],
        &["--help", "x"],
        &["--help", "--version"],
        &["-h", "-x"],
        &["--version", "x"],
        &["-V", "serve"],
        &["restore"],
        &["restore", "one", "two"],
        &["check", "one", "two"],
        &["import", "one", "two"],
        &["export", "one"],
        &["export", "--from"],
        &["export", "--limit", "5"],
        &["import", "--csv"],
        &["--csv", "export"],
        &["healthcheck", "again"],
        &["sign", "this"],
    ];
    for arguments in cases {
        let mut setup = Setup::new();
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.to_lowercase().contains("usage"), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{arguments:?}");
        let made = std::fs::read_dir(setup.folder.path()).expect("the folder is ours").count();
        assert_eq!(made, 0, "{arguments:?} has started something");
    }
}

#[test]
fn a_file_whose_name_begins_with_a_dash_stands_behind_two() {
    let mut setup = Service::start().stop();
    for command in ["backup", "check", "restore"] {
        let finished = setup.run(&[command, "--", "-b.db"]);
        assert_eq!(finished.code, Some(0), "{command}: {finished:?}");
    }
}

#[test]
fn sign_gives_the_signature_of_its_input() {
    let body = message("m1").to_string();
    let every_byte: Vec<u8> = (0..=255).collect();
    for input in [body.as_bytes(), b"", b"\n", b"trailing newline\n", &every_byte, &[b'x'; 200_000]] {
        let finished = Setup::new().run_with_input(&["sign"], input);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout, format!("{}\n", sign(SECRET, input)));
    }
    let service = Service::start();
    let signature = Setup::new().run_with_input(&["sign"], body.as_bytes()).stdout;
    service.post_signed(&[("X-Signature", signature.trim())], body.as_bytes()).expect(200);
}

#[test]
fn sign_takes_its_secret_from_where_the_service_takes_it() {
    let setup = Setup::new().without("WEBHOOK_SECRET");
    let file = setup.file("secret", "from a file\n");
    let finished = setup.with("WEBHOOK_SECRET_FILE", &file).run_with_input(&["sign"], b"x");
    assert_eq!(finished.stdout.trim(), sign("from a file", b"x"));

    let finished = Setup::new().without("WEBHOOK_SECRET").run_with_input(&["sign"], b"x");
    assert_ne!(finished.code, Some(0));
    assert_eq!(finished.stdout, "");
    assert!(finished.stderr.contains("WEBHOOK_SECRET"), "{}", finished.stderr);
}

#[test]
fn healthcheck_succeeds_only_when_ready() {
    let mut service = Service::start();
    assert_eq!(service.setup().run(&["healthcheck"]).code, Some(0));
    let mut setup = service.stop();
    assert_ne!(setup.run(&["healthcheck"]).code, Some(0), "nobody listens");

    let mut not_ready = Setup::new().without("WEBHOOK_SECRET").start();
    assert_ne!(not_ready.setup().run(&["healthcheck"]).code, Some(0));
}

#[test]
fn healthcheck_reaches_every_kind_of_address() {
    let setup = Setup::new();
    let socket = setup.path("service.sock").display().to_string();
    let mut service = setup.with("LISTEN_ADDR", &format!("unix:{socket}")).start();
    assert_eq!(service.setup().run(&["healthcheck"]).code, Some(0));

    let port = crate::setup::free_port();
    let mut service = Setup::new().with("LISTEN_ADDR", &format!("0.0.0.0:{port}")).start();
    assert_eq!(service.setup().run(&["healthcheck"]).code, Some(0));
}

#[test]
fn a_healthcheck_says_what_is_wrong_with_whoever_answers_instead() {
    for (answer, said) in [
        (&b""[..], "in time"),
        (b"HTTP/1.1 200 O", "in time"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nwhat", "not ready: what"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the command connects");
            stream.write_all(answer).expect("it listens");
            // Until it hangs up.
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        });
        let finished = Setup::new().with("LISTEN_ADDR", &address).run(&["healthcheck"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
}

#[test]
fn a_backup_under_load_is_consistent_and_complete() {
    let mut service = Service::start();
    for number in 0..200 {
        service.store(&message(&format!("before {number:03}")));
    }
    let address = service.address.clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(&address);
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                client.post(&message(&format!("during {number:06}"))).expect(200);
                number += 1;
            }
        });
        let _stop = SetOnDrop(&stop);
        for round in 0..3 {
            let acknowledged = service.get("/stats").json()["total_messages"].as_i64().unwrap();
            let copy = service.path(&format!("copy{round}.db"));
            let finished = service.setup().run(&["backup", copy.to_str().unwrap()]);
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
            let copy = open_database(&copy);
            let check: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
            let count = |condition: &str| {
                let sql = format!("SELECT COUNT(*) FROM messages WHERE {condition}");
                copy.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
            };
            assert!(count("TRUE") >= acknowledged, "what was acknowledged before is in the copy");
            // One client posts them in turn, so any instant's copy holds a run without a gap.
            let during = count("message_id LIKE 'during%'");
            assert_eq!(
                count(&format!("message_id LIKE 'during%' AND message_id < 'during {during:06}'")),
                during
            );
        }
    });
}

#[test]
fn a_backup_can_be_served() {
    let mut service = Service::start();
    for number in 0..30 {
        service.store(&message(&format!("m{number:02}")));
    }
    let stats = service.get("/stats").json();
    let setup = Setup::new();
    let copy = setup.path("app.db");
    assert_eq!(service.setup().run(&["backup", copy.to_str().unwrap()]).code, Some(0));
    let restored = setup.start();
    assert_eq!(restored.get("/stats").json(), stats);
    restored.store(&message("m00"));
    assert_eq!(restored.get("/messages").json()["total"], 30);
}

#[test]
fn a_backup_takes_the_place_of_whatever_had_its_name() {
    let mut service = Service::start();
    for number in 0..30 {
        service.store(&message(&format!("new {number:02}")));
    }
    // An older copy that was served and killed: its rows stand in a log beside it.
    let older = Setup::new().start();
    for number in 0..10 {
        older.store(&message(&format!("old {number:02}")));
    }
    let older = older.kill();
    let copy = older.path("app.db");
    assert!(older.path("app.db-wal").exists());
    assert_eq!(service.setup().run(&["backup", copy.to_str().unwrap()]).code, Some(0));
    let restored = older.start();
    assert_eq!(restored.get("/stats").json(), service.get("/stats").json());
    assert_eq!(ids(&restored.get("/messages"))[0], "new 00");
}

#[test]
fn a_backup_that_cannot_be_written_says_so() {
    let mut service = Service::start();
    service.store(&message("m1"));
    let finished = service.setup().run(&["backup", "/proc/nowhere/copy.db"]);
    assert_ne!(finished.code, Some(0));
    assert!(!finished.stderr.is_empty());
}
