//! What the README has a newcomer paste, word for word, into a shell beside the service that it has started.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::fixtures::{SECRET, ids};
use crate::http_client::Address;
use crate::recipes::{project_file, read, replaced};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

/// What stands below a heading, up to the next.
fn section(heading: &str) -> String {
    let text = read("README.md");
    let below = text.split(&format!("\n## {heading}\n")).nth(1);
    below.and_then(|below| below.split("\n## ").next()).expect("the README has the heading").to_owned()
}

/// The first block for a shell.
fn block(section: &str) -> String {
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("the section has a block").to_owned()
}

/// Pasted in the folder of the service, whose port no README can know.
fn paste(service: &Service, commands: &str) -> String {
    let Address::Tcp(address) = &service.address else { panic!("it listens on a port") };
    let commands = replaced(commands, "localhost:8000", address);
    let mut shell = Command::new("bash");
    shell.args(["-euc", &commands]).current_dir(service.path(".")).env("XDG_STATE_HOME", service.path("."));
    let done = shell.output().expect("bash is there");
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(done.status.success(), "{commands}\n{said:?}");
    said.concat()
}

#[test]
fn the_session_with_curl_says_what_stands_beside_it() {
    if !has(&["bash", "curl", "openssl"]) {
        return;
    }
    let service = Service::start();
    std::fs::create_dir(service.path("data")).expect("the folder is ours");
    std::fs::write(service.path("data/webhook_secret"), SECRET).expect("the folder is ours");
    let said = paste(&service, &block(&section("A session with curl")));
    // No line feed ends a body.
    let statuses: Vec<&str> = said.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect();
    assert_eq!(statuses, ["200", "200", "401"], "{said}");
    assert_eq!(said.matches(r#""message_id":"m1""#).count(), 2, "both queries find it: {said}");
    assert!(said.contains(r#""total_messages":1"#) && said.contains("\nhttp_requests_total"), "{said}");
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn five_minutes_with_whatsapp_end_with_a_message() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let steps = section("WhatsApp in five minutes");
    let settings = replaced(&block(&steps), "./scripts/run\n", "");
    let start = format!("{settings}exec \"$0\" \"$@\"");
    let service = Setup::new().through_shell(start).start();
    symlink(project_file("scripts"), service.path("scripts")).expect("the folder is ours");
    let [sample, look] = ["./scripts/whatsapp-sample", "curl "].map(|begin| {
        let quoted = steps.split('`').find(|part| part.starts_with(begin) && part.len() > begin.len());
        quoted.expect("it is one of the steps")
    });
    let sample = replaced(sample, "sample ", "sample --url http://localhost:8000 ");
    let said = paste(&service, &format!("{settings}{sample}\n{look}\n"));
    assert!(said.contains(r#""text":"Hello""#) && said.contains(r#""original":{"#), "{said}");
}
