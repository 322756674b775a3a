//! Section 1: every setting comes from the environment, and a bad one stops the start.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::fixtures::{SECRET, ids, message};
use crate::http_client::{Address, Client};
use crate::output::parse_lines;
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::{Lack, lacks};

fn status_of_post_signed_with(service: &Service, secret: &str) -> u16 {
    service.post_under(secret, &message(secret)).status
}

#[test]
fn without_a_secret_the_process_lives_and_is_not_ready() {
    let setups = [Setup::new().without("WEBHOOK_SECRET"), Setup::new().with("WEBHOOK_SECRET", "")];
    for setup in setups {
        let service = setup.start();
        service.get("/health/live").expect(200);
        service.get("/health/ready").expect(503);
        service.get("/messages").expect(200);
        let answer = service.post(&message("m1"));
        assert_eq!(answer.expect(503).json(), json!({"detail": "WEBHOOK_SECRET is not set"}));
        assert!(answer.header("Retry-After").is_some());
    }
}

#[test]
fn the_secret_is_its_bytes_exactly_as_given() {
    for secret in ["s", " spaced ", "clé-🔑", "two\nlines\n", "tab\t", &"long".repeat(500), "\"quoted\""] {
        let service = Setup::new().with("WEBHOOK_SECRET", secret).start();
        assert_eq!(status_of_post_signed_with(&service, secret), 200, "{secret:?}");
        let trimmed = secret.trim();
        if trimmed != secret {
            assert_eq!(status_of_post_signed_with(&service, trimmed), 401, "{secret:?}");
        }
    }
}

#[test]
fn a_secret_in_a_file_loses_one_trailing_newline() {
    for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("abc\n\n", "abc\n"), (" abc \n", " abc ")] {
        let setup = Setup::new().without("WEBHOOK_SECRET");
        let file = setup.file("secret", content);
        let service = setup.with("WEBHOOK_SECRET_FILE", &file).start();
        service.get("/health/ready").expect(200);
        assert_eq!(status_of_post_signed_with(&service, secret), 200, "{content:?}");
    }
}

#[test]
fn a_secret_is_looked_for_among_the_credentials_of_systemd() {
    let setup = Setup::new().without("WEBHOOK_SECRET");
    setup.file("credentials/webhook_secret", "from systemd\n");
    let folder = setup.path("credentials").display().to_string();
    let service = setup.with("CREDENTIALS_DIRECTORY", &folder).start();
    assert_eq!(status_of_post_signed_with(&service, "from systemd"), 200);
}

#[test]
fn the_variable_wins_over_the_files() {
    let setup = Setup::new();
    let file = setup.file("credentials/webhook_secret", "from a file");
    let folder = setup.path("credentials").display().to_string();
    let service = setup.with("WEBHOOK_SECRET_FILE", &file).with("CREDENTIALS_DIRECTORY", &folder).start();
    assert_eq!(status_of_post_signed_with(&service, SECRET), 200);
    assert_eq!(status_of_post_signed_with(&service, "from a file"), 401);
}

#[test]
fn credentials_without_a_secret_leave_it_unset() {
    let setup = Setup::new().without("WEBHOOK_SECRET");
    setup.file("credentials/something_else", "x");
    let folder = setup.path("credentials").display().to_string();
    setup.with("CREDENTIALS_DIRECTORY", &folder).start().get("/health/ready").expect(503);
}

#[test]
fn the_previous_secret_still_verifies() {
    let from_variable = Setup::new().with("WEBHOOK_SECRET_PREVIOUS", "the old one");
    let from_file = Setup::new();
    let file = from_file.file("previous", "the old one\n");
    for setup in [from_variable, from_file.with("WEBHOOK_SECRET_PREVIOUS_FILE", &file)] {
        let service = setup.start();
        assert_eq!(status_of_post_signed_with(&service, SECRET), 200);
        assert_eq!(status_of_post_signed_with(&service, "the old one"), 200);
        assert_eq!(status_of_post_signed_with(&service, "a third one"), 401);
        // An empty key is a key like any other to HMAC, and nobody's secret.
        assert_eq!(status_of_post_signed_with(&service, ""), 401);
    }
}

#[test]
fn a_missing_or_empty_previous_secret_opens_no_door() {
    for setup in [Setup::new(), Setup::new().with("WEBHOOK_SECRET_PREVIOUS", "")] {
        assert_eq!(status_of_post_signed_with(&setup.start(), ""), 401);
    }
}

#[test]
fn a_database_url_names_a_relative_or_an_absolute_path() {
    let absolute = Setup::new();
    let below = absolute.path("not/yet/there.db").display().to_string();
    let cases = [
        (absolute.with("DATABASE_URL", &format!("sqlite:///{below}")), "not/yet/there.db"),
        (Setup::new().with("DATABASE_URL", "sqlite:///some/folder/x.db"), "some/folder/x.db"),
        (Setup::new().with("DATABASE_URL", "sqlite:///plain.db"), "plain.db"),
        (Setup::new().without("DATABASE_URL"), "data/app.db"),
    ];
    for (setup, file) in cases {
        let service = setup.start();
        service.store(&message("m1"));
        assert!(service.path(file).is_file(), "{file}");
    }
}

#[test]
fn a_bad_setting_stops_the_start_and_is_named() {
    let cases = [
        ("DATABASE_URL", "postgres://localhost/app"),
        ("DATABASE_URL", "mysql+aiomysql:///x"),
        ("DATABASE_URL", "app.db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite://host/app.db"),
        ("LISTEN_ADDR", "nonsense"),
        ("LISTEN_ADDR", "127.0.0.1"),
        ("LISTEN_ADDR", "127.0.0.1:99999"),
        ("LISTEN_ADDR", "127.0.0.1:http"),
        ("LISTEN_ADDR", "[::1"),
        ("LISTEN_ADDR", "unix:"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "INFO,DEBUG"),
        ("WORKERS", "0"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "-1"),
        ("RETENTION_DAYS", "1.5"),
        ("RETENTION_DAYS", "a month"),
        ("WORKERS", "-1"),
        ("WORKERS", "many"),
        ("WORKERS", "1.5"),
        ("WORKERS", "99999999999999999999"),
        ("MAX_BODY_BYTES", "64k"),
        ("MAX_BODY_BYTES", "-1"),
        ("WEBHOOK_SECRET_FILE", "/nowhere/at/all"),
        ("WEBHOOK_SECRET_PREVIOUS_FILE", "/nowhere/at/all"),
        ("API_TOKEN_FILE", "/nowhere/at/all"),
    ];
    for (name, value) in cases {
        let mut setup = Setup::new().with(name, value);
        if name == "WEBHOOK_SECRET_FILE" {
            setup = setup.without("WEBHOOK_SECRET");
        }
        setup.is_refused(78, &[name, value]);
    }
}

#[test]
fn a_log_level_is_read_in_any_case() {
    for level in ["debug", "Info", "WARNING", "eRRoR"] {
        Setup::new().with("LOG_LEVEL", level).start().get("/health/live").expect(200);
    }
}

#[test]
fn one_worker_is_enough_to_serve_several_connections() {
    let service = Setup::new().with("WORKERS", "1").start();
    let mut idle: Vec<Client> = (0..8).map(|_| service.connect()).collect();
    for client in &mut idle {
        client.get("/health/live").expect(200);
    }
    service.store(&message("m1"));
}

#[test]
fn the_bound_on_bodies_can_be_chosen() {
    let service = Setup::new().with("MAX_BODY_BYTES", "200").start();
    service.store(&message("m1"));
    let mut body = message("m2").to_string();
    body.push_str(&" ".repeat(200 - body.len()));
    service.post_bytes(body.as_bytes()).expect(200);
    body.push(' ');
    service.post_bytes(body.as_bytes()).expect(413);
}

#[test]
fn a_token_closes_what_can_be_read_and_nothing_else() {
    let from_variable = Setup::new().with("API_TOKEN", "t0ken");
    let from_file = Setup::new();
    let file = from_file.file("token", "t0ken\n");
    for setup in [from_variable, from_file.with("API_TOKEN_FILE", &file)] {
        let service = setup.start();
        for path in ["/messages", "/messages?limit=1", "/stats", "/metrics"] {
            let refused = [
                None,
                Some(""),
                Some("t0ken"),
                Some("Bearer"),
                Some("Bearer "),
                Some("Bearer t0ke"),
                Some("Bearer t0ken0"),
                Some("Bearer T0KEN"),
                Some("Basic t0ken"),
            ];
            for sent in refused {
                let headers: Vec<_> = sent.map(|value| ("Authorization", value)).into_iter().collect();
                let answer = service.request("GET", path, &headers);
                assert_eq!(answer.expect(401).json(), json!({"detail": "invalid token"}), "{sent:?}");
                assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
                service.request("HEAD", path, &headers).expect(401);
            }
            service.request("GET", path, &[("Authorization", "Bearer t0ken")]).expect(200);
            service.request("HEAD", path, &[("Authorization", "Bearer t0ken")]).expect(200);
        }
        for path in ["/health/live", "/health/ready", "/openapi.json", "/docs"] {
            service.get(path).expect(200);
        }
        service.store(&message("m1"));
    }
}

#[test]
fn it_listens_on_a_unix_socket() {
    let setup = Setup::new();
    let socket = setup.path("service.sock").display().to_string();
    let service = setup.with("LISTEN_ADDR", &format!("unix:{socket}")).start();
    let mut client = service.connect();
    client.post(&message("m1")).expect(200);
    assert_eq!(ids(&client.get("/messages")), ["m1"]);
}

#[test]
fn a_unix_socket_left_behind_by_a_killed_process_is_taken_over() {
    let setup = Setup::new();
    let socket = setup.path("service.sock");
    let service = setup.with("LISTEN_ADDR", &format!("unix:{}", socket.display())).start();
    let setup = service.kill();
    assert!(socket.exists());
    setup.start().get("/health/ready").expect(200);
}

#[test]
fn it_listens_on_names_and_on_both_families() {
    let port = free_port();
    let mut listens = vec![format!("0.0.0.0:{port}"), format!("localhost:{port}")];
    if TcpListener::bind("[::1]:0").is_ok() {
        listens.extend([format!("[::1]:{port}"), format!("[::]:{port}")]);
    } else {
        lacks(Lack::Ipv6);
    }
    for listen in listens {
        let service = Setup::new().with("LISTEN_ADDR", &listen).start();
        service.get("/health/ready").expect(200);
        service.stop();
    }
}

/// As systemd passes a socket.
fn passing(socket: impl Into<OwnedFd>) -> Setup {
    Setup::new()
        .with_stdin(socket.into())
        .through_shell(r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#)
}

#[test]
fn a_socket_passed_by_systemd_wins_and_outlives_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = Address::Tcp(listener.local_addr().unwrap().to_string());
    let setup = passing(listener).with("LISTEN_ADDR", "127.0.0.1:1");
    let mut service = setup.start_at(passed.clone());
    service.store(&message("m1"));

    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    // Nobody accepts now, yet the client is not refused: the socket is not the service's to close.
    let mut waiting = Client::connect(&passed);
    let setup = service.kill();
    let _service = setup.start_at(passed);
    assert_eq!(ids(&waiting.get("/messages")), ["m1"]);
}

#[test]
fn where_a_passed_socket_leaves_listen_addr_without_use_the_log_says_so() {
    let said = |wished: Option<&dyn Fn(u16) -> String>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut setup = passing(listener);
        if let Some(wished) = wished {
            setup = setup.with("LISTEN_ADDR", &wished(address.port()));
        }
        let service = setup.start_at(Address::Tcp(address.to_string()));
        service.get("/health/ready").expect(200);
        let log = parse_lines(&service.stop_and_read_log());
        let said: Vec<_> = log.iter().filter(|line| line["event"] == "listen_addr_unused").collect();
        assert!(said.iter().all(|line| line["level"] == "WARNING" && line["listen"] == address.to_string()));
        said.len()
    };
    assert_eq!(said(Some(&|port| format!("0.0.0.0:{port}"))), 1);
    assert_eq!(said(Some(&|_| "unix:/run/elsewhere.sock".to_owned())), 1);
    assert_eq!(said(Some(&|port| format!("localhost:{port}"))), 0);
    assert_eq!(said(None), 0);
}

#[test]
fn a_unix_socket_that_was_passed_is_known_by_its_path() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("passed.sock");
    for (wished, times) in [(path.clone(), 0), (folder.path().join("other.sock"), 1)] {
        drop(fs::remove_file(&path));
        let setup = passing(UnixListener::bind(&path).unwrap());
        let setup = setup.with("LISTEN_ADDR", &format!("unix:{}", wished.display()));
        let service = setup.start_at(Address::Unix(path.clone()));
        let log = parse_lines(&service.stop_and_read_log());
        assert_eq!(log.iter().filter(|line| line["event"] == "listen_addr_unused").count(), times);
    }
}

#[test]
fn a_socket_passed_to_another_process_is_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=1 LISTEN_FDS=1 exec "$0" "$@""#;
    let service = Setup::new().with_stdin(OwnedFd::from(listener)).through_shell(script).start();
    service.get("/health/ready").expect(200);
}
