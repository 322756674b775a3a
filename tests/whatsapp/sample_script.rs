//! `scripts/whatsapp-sample` plays Meta, with the executable's own signature or with that of openssl.

use std::path::Path;
use std::process::Command;

use crate::service::Service;
use crate::{APP_SECRET, count, http_client::Address, start};

/// Whether it says that all is right.
fn play(service: &Service, token: &str, program: &str, arguments: &[&str]) -> bool {
    play_to("", service, token, program, arguments)
}

/// At a URL that goes on with this.
fn play_to(path: &str, service: &Service, token: &str, program: &str, arguments: &[&str]) -> bool {
    let Address::Tcp(address) = &service.address else { panic!("it listens on a port") };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/whatsapp-sample");
    let mut command = Command::new(script);
    command.args(["--url", &format!("http://{address}{path}")]).args(arguments).env("LYFTR_BIN", program);
    command.env("WHATSAPP_APP_SECRET", APP_SECRET).env("WHATSAPP_VERIFY_TOKEN", token);
    command.env("XDG_STATE_HOME", service.path("state"));
    command.output().expect("sh is there").status.success()
}

#[test]
fn the_script_sends_a_new_message_each_time_and_the_last_one_again_where_asked() {
    let service = start();
    let program = env!("CARGO_BIN_EXE_lyftr-webhook");
    assert!(!play(&service, "another token", program, &[]));
    assert!(play(&service, "a token", program, &["a \"b\" / \u{fc}"]));
    assert!(play(&service, "a token", "", &["--same"]));
    assert_eq!(count(&service, "messages"), 1);
    assert_eq!(service.get("/messages").json()["data"][0]["text"], "a \"b\" / \u{fc}");
    assert!(play(&service, "a token", "", &[]));
    assert_eq!(count(&service, "messages_items"), 2);
    // The URL as it stands in Meta's dashboard.
    assert!(play_to("/whatsapp", &service, "a token", program, &[]));
}
