//! Section 1: settings that can never take effect, settings worth a word, and who looks at which of them.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use serde_json::Value;

use crate::fixtures::{SECRET, eventually, message};
use crate::http_client::Address;
use crate::output::parse_lines;
use crate::setup::{Setup, free_port, wait};
use crate::skip::{Lack, lacks};

#[test]
fn a_token_that_no_client_can_send_stops_the_start_and_is_not_shown() {
    for token in [" t0ken", "t0ken ", "t0ken\r", "t0ken\n", "\tt0ken", "t0\x01ken", "t0ken\x7f", "t0kén", " "]
    {
        for from_file in [false, true] {
            let setup = Setup::new();
            let file = setup.file("token", format!("{token}\n"));
            let (name, value) = if from_file { ("API_TOKEN_FILE", &*file) } else { ("API_TOKEN", token) };
            let mut setup = setup.with(name, value);
            setup.is_refused(78, &[name, "visible ASCII"]);
            assert!(!setup.run(&[]).stderr.contains("t0k"), "{token:?}");
        }
    }
    let service = Setup::new().with("API_TOKEN", "two words~").start();
    service.request("GET", "/stats", &[("Authorization", "Bearer two words~")]).expect(200);
}

#[test]
fn a_file_that_is_named_and_holds_nothing_opens_no_door() {
    for name in ["WEBHOOK_SECRET_FILE", "WEBHOOK_SECRET_PREVIOUS_FILE", "API_TOKEN_FILE", "LOG_LEVEL_FILE"] {
        let setup = Setup::new().without("WEBHOOK_SECRET");
        let paths = [String::new(), setup.file("empty", ""), setup.file("newline", "\n")];
        let [carriage_return, blank] = ["\r", " "].map(|end| setup.file(&format!("file{end}"), "INFO"));
        let mut setup = setup;
        for path in paths.into_iter().chain([carriage_return, blank]) {
            setup = setup.with(name, &path);
            setup.is_refused(78, &[name]);
        }
    }
    for credential in ["webhook_secret", "webhook_secret_previous", "api_token"] {
        let setup = Setup::new().without("WEBHOOK_SECRET");
        setup.file(&format!("credentials/{credential}"), "");
        let folder = setup.path("credentials").display().to_string();
        setup.with("CREDENTIALS_DIRECTORY", &folder).is_refused(78, &[credential, "empty"]);
    }
}

#[test]
fn a_file_that_is_larger_than_any_secret_is_refused_and_not_read_to_its_end() {
    for name in ["WEBHOOK_SECRET_FILE", "WEBHOOK_SECRET_PREVIOUS_FILE", "API_TOKEN_FILE", "LOG_LEVEL_FILE"] {
        let setup = Setup::new().without(name.trim_end_matches("_FILE"));
        let large = setup.path("large");
        // More than there is memory, on a disk that stores no zeros.
        std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
        setup.with(name, &large.display().to_string()).is_refused(78, &[name, "65536"]);
    }
}

#[test]
fn a_path_that_nobody_means_makes_no_second_database() {
    for end in ["\r", " ", "\t", "\n", "\u{a0}", "\u{1}"] {
        let setup = Setup::new();
        let path = format!("{}{end}", setup.path("app.db").display());
        for (name, value) in
            [("DATABASE_URL", format!("sqlite:///{path}")), ("LISTEN_ADDR", format!("unix:{path}"))]
        {
            let mut setup = Setup::new().with(name, &value);
            setup.is_refused(78, &[name, if name == "DATABASE_URL" { "sqlite:///" } else { "unix:" }]);
        }
        assert_eq!(std::fs::read_dir(setup.folder.path()).expect("it is ours").count(), 0, "{end:?}");
    }
}

#[test]
fn a_database_url_may_name_a_driver_of_sqlalchemy() {
    for scheme in ["sqlite+aiosqlite", "sqlite+pysqlite"] {
        let setup = Setup::new();
        let url = format!("{scheme}:///{}", setup.path("app.db").display());
        let service = setup.with("DATABASE_URL", &url).start();
        service.store(&message("m1"));
        assert!(service.path("app.db").is_file());
    }
    for other in
        ["sqlite+pysqlcipher:///x.db", "sqlite+:///x.db", "sqlite+aiosqlite://x.db", "SQLITE:///x.db"]
    {
        Setup::new().with("DATABASE_URL", other).is_refused(78, &["DATABASE_URL", other]);
    }
}

fn events(log: &str, event: &str) -> Vec<Value> {
    parse_lines(log).into_iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn a_secret_with_white_space_around_it_is_kept_and_said_once() {
    let setup = Setup::new().with("WEBHOOK_SECRET", " spaced").with("API_TOKEN", "t0ken");
    let file = setup.file("previous", "old\r\n");
    let service = setup.with("WEBHOOK_SECRET_PREVIOUS_FILE", &file).start();
    for secret in [" spaced", "old\r"] {
        service.post_under(secret, &message("m1")).expect(200);
    }
    let log = service.stop_and_read_log();
    let said = events(&log, "secret_padded");
    let settings: Vec<_> = said.iter().map(|line| line["setting"].as_str().unwrap()).collect();
    assert_eq!(settings, ["WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS_FILE"]);
    assert!(said.iter().all(|line| line["level"] == "WARNING"));
    assert!(!log.contains("spaced") && !log.contains("old"));
    let log = Setup::new().with("API_TOKEN", "two words").start().stop_and_read_log();
    assert!(events(&log, "secret_padded").is_empty());
}

#[test]
fn an_address_that_is_open_to_all_is_said_once() {
    let said = |setup: Setup| {
        let mut service = setup.start();
        service.get("/health/live").expect(200);
        service.signal("TERM");
        service.wait();
        let said = events(&service.stdout.to_the_end(), "open_to_all");
        assert!(said.iter().all(|line| line["level"] == "WARNING"), "{said:?}");
        said.iter().map(|line| line["listen"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let port = free_port();
    let everywhere = format!("0.0.0.0:{port}");
    assert_eq!(said(Setup::new().with("LISTEN_ADDR", &everywhere)), std::slice::from_ref(&everywhere));
    assert!(said(Setup::new().with("LISTEN_ADDR", &everywhere).with("API_TOKEN", "t0ken")).is_empty());
    assert!(said(Setup::new().with("LISTEN_ADDR", &format!("localhost:{port}"))).is_empty());
    let setup = Setup::new();
    let socket = setup.path("http.sock").display().to_string();
    assert!(said(setup.with("LISTEN_ADDR", &format!("unix:{socket}"))).is_empty());
    if TcpListener::bind("[::]:0").is_ok() {
        let everywhere = format!("[::]:{port}");
        assert_eq!(said(Setup::new().with("LISTEN_ADDR", &everywhere)), std::slice::from_ref(&everywhere));
    } else {
        lacks(Lack::Ipv6);
    }
}

#[test]
fn a_command_looks_only_at_the_settings_that_it_uses() {
    let mut setup = Setup::new().start().stop();
    for (name, value) in [
        ("LISTEN_ADDR", "nonsense"),
        ("LOG_LEVEL", "LOUD"),
        ("WORKERS", "0"),
        ("API_TOKEN", "\t"),
        ("WEBHOOK_SECRET_PREVIOUS_FILE", "/nowhere/at/all"),
        ("ALLOWED_HOSTS", "*"),
    ] {
        setup = setup.with(name, value);
    }
    setup.is_refused(78, &[]);
    for arguments in [
        &["backup", "copy.db"][..],
        &["check"],
        &["export"],
        &["import", "/dev/null"],
        &["erase", "--sender", "+1"],
        &["restore", "copy.db"],
        &["sign"],
    ] {
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    }
    let mut setup = setup.with("DATABASE_URL", "nonsense").with("WEBHOOK_SECRET_FILE", "/nowhere/at/all");
    for arguments in [&["check", "app.db"][..], &["sign"]] {
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    }
    for arguments in [&["export"][..], &["check"], &["healthcheck"]] {
        assert_eq!(setup.run(arguments).code, Some(78), "{arguments:?}");
    }

    let mut service = Setup::new().start();
    let setup = service.setup();
    for (name, value) in [("DATABASE_URL", "nonsense"), ("WORKERS", "0"), ("API_TOKEN", "\t")] {
        setup.variables.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(setup.run(&["healthcheck"]).code, Some(0));
}

#[test]
fn a_healthcheck_asks_at_the_socket_that_was_passed_to_it() {
    let passed = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut service = Setup::new()
        .with_stdin(OwnedFd::from(listener))
        .through_shell(passed)
        .with("LISTEN_ADDR", &nowhere)
        .start_at(address);
    let mut command = service.setup().command(&["healthcheck"]);
    assert_eq!(wait(&mut command.spawn().unwrap()).code(), Some(0));
    // Without the socket it asks where nobody listens.
    let mut setup = Setup::new().with("LISTEN_ADDR", &nowhere);
    assert_eq!(setup.run(&["healthcheck"]).code, Some(1));
}

#[test]
fn a_healthcheck_finds_a_service_that_listens_everywhere() {
    let port = free_port();
    let mut everywhere = vec![format!("0.0.0.0:{port}")];
    if TcpListener::bind("[::]:0").is_ok() {
        everywhere.push(format!("[::]:{port}"));
    }
    for listen in everywhere {
        let mut service = Setup::new().with("LISTEN_ADDR", &listen).start();
        assert_eq!(service.setup().run(&["healthcheck"]).code, Some(0), "{listen}");
        eventually("the probe is in the log", || {
            let of_probe = |line: &Value| line["request_id"].as_str()?.strip_prefix("healthcheck-").map(drop);
            service.stdout.json().iter().find_map(of_probe)
        });
        service.stop();
    }
    assert_eq!(SECRET.trim(), SECRET, "nothing to be said of it");
}
