//! A Unix socket: who may connect to it, and whose file is removed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::process::Child;

use crate::fixtures::{eventually, signal};
use crate::http_client::{Address, Client};
use crate::setup::{Setup, wait};

fn at_a_socket() -> Setup {
    let setup = Setup::new();
    let listen = format!("unix:{}", setup.path("service.sock").display());
    setup.with("LISTEN_ADDR", &listen)
}

#[test]
fn a_socket_has_the_mode_that_is_set_whatever_the_umask() {
    for (mode, expected) in
        [(None, 0o666), (Some("0660"), 0o660), (Some("600"), 0o600), (Some("0777"), 0o777)]
    {
        let mut setup = at_a_socket().through_shell("umask 0177; exec \"$0\" \"$@\"");
        if let Some(mode) = mode {
            setup = setup.with("UNIX_SOCKET_MODE", mode);
        }
        let service = setup.start();
        let found = fs::metadata(service.path("service.sock")).unwrap().mode() & 0o7777;
        assert_eq!(found, expected, "{mode:?}");
        // No other file has more rights for that.
        assert_eq!(fs::metadata(service.path("app.db")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(service.path("app.db-index")).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_mode_that_is_none_is_refused() {
    for bad in ["rw", "0888", "7777", "0o666", "0444", "0066"] {
        at_a_socket().with("UNIX_SOCKET_MODE", bad).is_refused(78, &["UNIX_SOCKET_MODE", bad, "octal"]);
    }
}

#[test]
fn a_service_that_ends_removes_its_own_socket_and_no_other() {
    let setup = at_a_socket().start().stop();
    assert!(!setup.path("service.sock").exists());
    let service = setup.start();
    // Another program has taken the name meanwhile.
    let path = service.path("service.sock");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let setup = service.stop();
    assert!(fs::symlink_metadata(setup.path("service.sock")).unwrap().file_type().is_socket());
    drop(other);
}

#[test]
fn a_socket_behind_which_somebody_listens_is_left_alone() {
    let mut setup = at_a_socket();
    // Nobody takes what waits: connecting neither succeeds at once nor is refused.
    let listener = UnixListener::bind(setup.path("service.sock")).unwrap();
    let id = |setup: &Setup| fs::metadata(setup.path("service.sock")).unwrap().ino();
    let before = id(&setup);
    setup.is_refused(69, &["service.sock", "another program listens there"]);
    assert_eq!(id(&setup), before);
    drop(listener);
    fs::remove_file(setup.path("service.sock")).unwrap();
    setup.file("service.sock", "no socket");
    setup.is_refused(69, &["service.sock"]);
    assert_eq!(fs::read(setup.path("service.sock")).unwrap(), b"no socket");
}

#[test]
fn of_many_that_start_at_once_on_a_socket_left_behind_one_serves_and_is_reached() {
    for _ in 0..5 {
        let mut setup = at_a_socket();
        drop(UnixListener::bind(setup.path("service.sock")).unwrap());
        let address = Address::Unix(setup.path("service.sock"));
        let mut all: Vec<Child> = (0..8)
            .map(|_| {
                let mut command = setup.command(&["serve"]);
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                command.spawn().expect("the executable starts")
            })
            .collect();
        eventually("all but one have ended", || {
            let mut run = 0;
            for process in &mut all {
                run += usize::from(process.try_wait().expect("a child can be waited for").is_none());
            }
            (run == 1).then_some(())
        });
        eventually("it answers", || {
            let answer = Client::try_connect(&address)
                .and_then(|mut client| client.try_request("GET", "/health/ready", &[], None));
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        for process in &mut all {
            if process.try_wait().expect("a child can be waited for").is_none() {
                signal(process.id(), "TERM");
                assert!(wait(process).success());
            }
        }
        assert!(!setup.path("service.sock").exists());
    }
}
