//! The page of the README that leads from nothing to a service with TLS, a watch and backups: what it tells
//! an operator to paste is pasted, in order and word for word, on a Debian 12 under the real systemd.
//!
//! The host is `localhost`, for which Caddy is its own authority. There is no network, so that the programs
//! of Debian are those that the machine has, and the package is made from the executable under test.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::fixtures::eventually;
use crate::manager::{BINARY, Manager};
use crate::recipes::{read, replaced};
use crate::skip::has;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const HEADING: &str = "\n## From nothing in ten minutes\n";
/// Whom the sender calls from, so that its address is not the proxy's.
const SENDER: &str = "127.0.0.2";
const AUTHORITY: &str = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt";
/// What the packages of the page bring, for the systemd of these tests to see.
const UNITS: [&str; 6] = [
    "lyftr-webhook.service",
    "lyftr-webhook.socket",
    "lyftr-webhook-backup.service",
    "lyftr-webhook-backup.timer",
    "caddy.service",
    "prometheus.service",
];

/// The blocks of the page, one after the other.
fn commands() -> String {
    let text = read("README.md");
    let page = text.split(HEADING).nth(1).expect("the page is in the README");
    let page = page.split("\n## ").next().unwrap_or_default();
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    replaced(&blocks.collect::<String>(), "host=hooks.example.org\n", "host=localhost\n")
}

/// What a Debian on a machine of its own has, and this copy of a machine has not.
fn make_ready(manager: &Manager) {
    // Images for containers forbid it to packages to start what they bring.
    manager.does(&["rm", "-f", "/usr/sbin/policy-rc.d"]);
    // Lists that know of something newer would have it fetched.
    manager.does(&["sh", "-c", "rm -rf /var/lib/apt/lists/*"]);
    for unit in UNITS {
        let [from, to] = ["/usr/lib/systemd/system", "/run/units"].map(|folder| format!("{folder}/{unit}"));
        manager.does(&["ln", "-s", &from, &to]);
    }
    if !manager.run(&["which", "sudo"]).status.success() {
        manager.does(&[
            "sh",
            "-c",
            r#"printf '#!/bin/sh\nexec "$@"\n' >/usr/bin/sudo && chmod 755 /usr/bin/sudo"#,
        ]);
    }
    let curl = format!("ipv4\ninterface = {SENDER}\ncacert = {AUTHORITY}\n");
    fs::write(manager.path("/run/.curlrc"), curl).expect("root may write there");
    // The machine's own messages are nobody's business here.
    let journal = "mkdir -p /etc/systemd/journald.conf.d /run/log/journal &&
        printf '[Journal]\nReadKMsg=no\nAudit=no\nStorage=volatile\n' >/etc/systemd/journald.conf.d/test.conf &&
        setsid /lib/systemd/systemd-journald >/dev/null 2>&1 &";
    manager.does(&["sh", "-c", journal]);
    eventually("there is a journal", || manager.path("/run/systemd/journal/stdout").exists().then_some(()));
}

/// Pasted into a shell that ends at the first command that fails.
fn paste(manager: &Manager, commands: &str) -> Output {
    let shell = format!("cd {PROJECT}\n{commands}");
    let binary = format!("LYFTR_BIN={BINARY}");
    manager.run(&["env", &binary, "CURL_HOME=/run", "DEBIAN_FRONTEND=noninteractive", "bash", "-euc", &shell])
}

/// What a command inside that has to succeed wrote.
#[track_caller]
fn said(manager: &Manager, command: &[&str]) -> String {
    String::from_utf8_lossy(&manager.does(command).stdout).into_owned()
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn the_page_pasted_on_a_debian_gives_a_watched_backed_up_service_behind_tls() {
    if !has(&["caddy", "prometheus", "curl", "bash", "dpkg-deb", "strip"]) {
        return;
    }
    let Some(manager) = Manager::boot() else { return };
    make_ready(&manager);
    let output = paste(&manager, &commands());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    // The certificate is what `curl` checks.
    assert!(stdout.lines().any(|line| line.trim_end() == "HTTP/2 200"), "{stdout}\n{stderr}");

    let page = json(&said(&manager, &["curl", "-s", "http://127.0.0.1:8000/messages"]));
    assert_eq!((&page["total"], &page["data"][0]["message_id"]), (&1.into(), &"first".into()), "{page}");

    let log = said(&manager, &["journalctl", "-u", "lyftr-webhook", "-o", "cat"]);
    let line = log.lines().find(|line| line.contains("\"path\":\"/webhook\""));
    let line = json(line.unwrap_or_else(|| panic!("no webhook in the log:\n{log}")));
    assert_eq!((&line["client"], &line["message_id"]), (&SENDER.into(), &"first".into()), "{line}");

    let refused = ["-o", "/dev/null", "-w", "%{http_code}", "https://localhost/messages"];
    let command = [&["env", "CURL_HOME=/run", "curl", "-s"][..], &refused].concat();
    assert_eq!(said(&manager, &command), "404", "nothing but webhooks is handed on");

    eventually("Prometheus has scraped it", || {
        let query = "http://127.0.0.1:9090/api/v1/query?query=up";
        let found = json(&said(&manager, &["curl", "-s", query]));
        let target = &found["data"]["result"][0];
        (target["metric"]["job"] == "lyftr-webhook" && target["value"][1] == "1").then_some(())
    });
    let rules = json(&said(&manager, &["curl", "-s", "http://127.0.0.1:9090/api/v1/rules"]));
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("a group has rules");
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");

    let copies = said(&manager, &["sh", "-c", "ls /var/backups/lyftr-webhook/*.db"]);
    let [copy] = copies.lines().collect::<Vec<_>>()[..] else { panic!("one backup: {copies}") };
    said(&manager, &["lyftr-webhook", "check", copy]);
    let exported =
        said(&manager, &["env", &format!("DATABASE_URL=sqlite:///{copy}"), "lyftr-webhook", "export"]);
    assert_eq!(json(exported.trim_end())["message_id"], "first");
    assert_eq!(
        said(&manager, &["systemctl", "is-enabled", "lyftr-webhook-backup.timer"]).trim(),
        "enabled",
        "it is made after the next start, too"
    );
    said(&manager, &["systemctl", "is-active", "lyftr-webhook-backup.timer"]);
    assert_eq!(said(&manager, &["systemctl", "--failed", "--quiet"]).trim(), "");
}
