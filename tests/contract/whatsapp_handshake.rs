//! Section 14: the settings of WhatsApp, and the handshake by which Meta finds out whose webhook it is.

use std::fs;

use serde_json::json;

use crate::fixtures::message;
use crate::http_client::{Answer, encode};
use crate::setup::Setup;
use crate::whatsapp_bodies::reload;

const TOKEN: &str = "my t0ken+&=é";

fn whatsapp() -> Setup {
    Setup::new().with("WHATSAPP_VERIFY_TOKEN", TOKEN)
}

/// The target that Meta asks with this token and this challenge.
fn handshake(token: &str, challenge: &str) -> String {
    let (token, challenge) = (encode(token), encode(challenge));
    format!("/whatsapp?hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}")
}

#[test]
fn a_challenge_is_repeated_to_whoever_sends_the_token_and_nothing_else_is() {
    let service = whatsapp().start();
    for challenge in ["1158201444", "<script>alert(1)</script>", "x", &"~".repeat(256)] {
        let answer = service.get(&handshake(TOKEN, challenge));
        assert_eq!(answer.expect(200).text(), challenge);
        let media_type = answer.header("Content-Type").unwrap();
        assert!(media_type == "text/plain" || media_type.starts_with("text/plain;"), "{media_type}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Content-Length"), Some(&*challenge.len().to_string()));
    }
    let right = handshake(TOKEN, "1158201444");
    // A blank may come as `+`.
    service.get(&right.replace("%20", "+")).expect(200);
    let head = service.request("HEAD", &right, &[]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("10")));
    for (why, target) in [
        ("another token", handshake("my t0ken", "1")),
        ("an empty token", handshake("", "1")),
        ("a plus that is a blank", right.replace("%2B", "+")),
        ("no challenge", handshake(TOKEN, "")),
        ("a challenge of more than 256", handshake(TOKEN, &"x".repeat(257))),
        ("a challenge with a line end", handshake(TOKEN, "1\r\nSet-Cookie: a=b")),
        ("a challenge beyond ASCII", handshake(TOKEN, "é")),
        ("a challenge with a blank", handshake(TOKEN, "1 2")),
        ("another mode", right.replace("subscribe", "unsubscribe")),
        ("no mode", right.replace("hub.mode", "mode")),
        ("two modes", format!("{right}&hub.mode=subscribe")),
        ("two tokens", format!("{right}&hub.verify_token=")),
        ("two challenges", format!("{right}&hub.challenge=1158201444")),
        ("nothing", "/whatsapp".to_owned()),
    ] {
        let answer = service.get(&target);
        assert_eq!(answer.status, 403, "{why}");
        assert!(answer.json()["detail"].is_string(), "{why}");
        assert!(!answer.text().contains("1158201444"), "{why}");
        let line = service.logged(&answer);
        assert_eq!((&line["level"], &line["path"]), (&json!("WARNING"), &json!("/whatsapp")), "{line}");
    }
    let log = service.stop_and_read_log();
    assert!(!log.contains("t0ken") && !log.contains("alert"), "queries are not in the log");
}

#[test]
fn without_a_token_nothing_is_verified() {
    let service = Setup::new().with("WHATSAPP_APP_SECRET", "app secret").start();
    for token in ["", "x"] {
        let answer = service.get(&handshake(token, "1"));
        assert_eq!(answer.expect(503).json(), json!({"detail": "WHATSAPP_VERIFY_TOKEN is not set"}));
        assert!(answer.header("Retry-After").is_some());
    }
}

/// What tells one answer from another, without what is in every one of them its own.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let own = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.to_lowercase().as_str()));
    (answer.status, headers.cloned().collect(), answer.body.clone())
}

#[test]
fn where_no_setting_of_theirs_is_set_the_routes_are_as_unknown_as_any() {
    let empty = ["WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN", "WHATSAPP_STATUSES"];
    let service = empty.into_iter().fold(Setup::new(), |setup, name| setup.with(name, "")).start();
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"] {
        for (suffix, body) in
            [("", None), ("/", None), ("?hub.mode=subscribe", None), ("", Some(vec![b'x'; 70_000]))]
        {
            let ask = |path: &str| {
                let mut client = service.connect();
                essence(&client.request(method, &format!("{path}{suffix}"), &[], body.as_deref()))
            };
            let answer = ask("/whatsapp");
            assert_eq!(answer, ask("/whatsupp"), "{method} {suffix}");
            assert_eq!(answer.0, 404, "{method} {suffix}");
        }
    }
    assert_eq!(service.metric(r#"http_requests_total{path="/whatsapp",status="404"}"#), 0.0);
    assert_eq!(service.get("/openapi.json").json()["paths"]["/whatsapp"], json!(null));
    // They are no reason for anything else to change.
    service.store(&message("m1"));
}

#[test]
fn one_setting_of_theirs_is_enough_for_both_routes() {
    for (name, value) in [
        ("WHATSAPP_APP_SECRET", "x"),
        ("WHATSAPP_APP_SECRET_PREVIOUS", "x"),
        ("WHATSAPP_VERIFY_TOKEN", "x"),
        ("WHATSAPP_STATUSES", "keep"),
    ] {
        let service = Setup::new().with(name, value).start();
        let answer = service.request("DELETE", "/whatsapp", &[]);
        assert_eq!(answer.expect(405).header("Allow"), Some("GET, HEAD, POST"), "{name}");
        let moved = service.request("POST", "/whatsapp/?a=b", &[]);
        assert_eq!(moved.expect(307).header("Location"), Some("/whatsapp?a=b"));
        let described = service.get("/openapi.json").json()["paths"]["/whatsapp"].clone();
        assert!(described["get"].is_object() && described["post"].is_object(), "{name}: {described}");
    }
}

#[test]
fn their_settings_come_from_files_and_credentials_as_all_secrets_do() {
    let setup = Setup::new();
    let token = setup.file("token", "from a file\n");
    let service = setup.with("WHATSAPP_VERIFY_TOKEN_FILE", &token).start();
    service.get(&handshake("from a file", "1")).expect(200);

    let setup = Setup::new();
    setup.file("credentials/whatsapp_verify_token", "from a credential");
    let folder = setup.path("credentials").display().to_string();
    let service = setup.with("CREDENTIALS_DIRECTORY", &folder).start();
    service.get(&handshake("from a credential", "1")).expect(200);
}

#[test]
fn what_can_never_take_effect_stops_the_start_and_is_not_shown() {
    for token in ["t0ken\r", "t0k\ten", "\x7ft0ken", "t0ken\n", &"t0k".repeat(1400)] {
        let setup = Setup::new();
        let file = setup.file("token", format!("{token}\n"));
        for (name, value) in [("WHATSAPP_VERIFY_TOKEN", token), ("WHATSAPP_VERIFY_TOKEN_FILE", &file)] {
            let mut setup = Setup::new().with(name, value);
            setup.is_refused(78, &[name, "control characters"]);
            assert!(!setup.run(&[]).stderr.contains("t0k"), "{token:?}");
        }
    }
    Setup::new()
        .with("WHATSAPP_STATUSES", "none")
        .is_refused(78, &["WHATSAPP_STATUSES", "none", "keep", "drop"]);
    for name in ["WHATSAPP_APP_SECRET", "WHATSAPP_APP_SECRET_PREVIOUS", "WHATSAPP_VERIFY_TOKEN"] {
        let setup = Setup::new();
        let (empty, name) = (setup.file("empty", ""), format!("{name}_FILE"));
        setup.with(&name, &empty).is_refused(78, &[&name, "empty"]);
        Setup::new().with(&name, "").is_refused(78, &[&name]);
    }
}

#[test]
fn white_space_around_their_secrets_is_kept_and_said_once() {
    let names = ["WHATSAPP_APP_SECRET", "WHATSAPP_APP_SECRET_PREVIOUS", "WHATSAPP_VERIFY_TOKEN"];
    let service = names.into_iter().fold(Setup::new(), |setup, name| setup.with(name, " spaced ")).start();
    service.get(&handshake(" spaced ", "1")).expect(200);
    service.get(&handshake("spaced", "1")).expect(403);
    let log = service.stop_and_read_log();
    let said = log.lines().filter(|line| line.contains("secret_padded"));
    let said: Vec<_> =
        said.filter_map(|line| names.iter().find(|name| line.contains(&format!("\"{name}\"")))).collect();
    assert_eq!(said, names.iter().collect::<Vec<_>>());
    assert!(!log.contains("spaced"));
}

#[test]
fn after_a_reload_another_token_holds_and_what_was_set_is_not_taken_away() {
    let setup = Setup::new();
    let token = setup.file("token", "first");
    let service = setup.with("WHATSAPP_VERIFY_TOKEN_FILE", &token).start();
    let status = |token: &str| service.get(&handshake(token, "1")).status;
    assert_eq!((status("first"), status("second")), (200, 403));
    fs::write(&token, "second").unwrap();
    reload(&service, "reloaded");
    assert_eq!((status("first"), status("second")), (403, 200));
    for broken in ["", "\n", "thi\trd"] {
        fs::write(&token, broken).unwrap();
        reload(&service, "reload_failed");
        assert_eq!(status("second"), 200);
    }
}

#[test]
fn the_routes_appear_with_a_credential_that_is_added_and_do_not_go_with_it() {
    let setup = Setup::new();
    setup.file("credentials/webhook_secret", "x");
    let folder = setup.path("credentials").display().to_string();
    let service = setup.with("CREDENTIALS_DIRECTORY", &folder).start();
    let mut client = service.connect();
    client.get(&handshake("added", "1")).expect(404);
    let credential = service.path("credentials/whatsapp_verify_token");
    fs::write(&credential, "added").unwrap();
    reload(&service, "reloaded");
    client.get(&handshake("added", "1")).expect(200);
    assert!(client.get("/openapi.json").json()["paths"]["/whatsapp"].is_object());
    fs::remove_file(&credential).unwrap();
    reload(&service, "reload_failed");
    client.get(&handshake("added", "1")).expect(200);
}
