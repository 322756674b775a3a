//! The recipes of `scripts/logs.md` find in a real journal what they say they find.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::logs::{DOCUMENT, real_log};
use crate::output::parse_lines;
use crate::recipes::blocks;
use crate::skip::has;

/// Turns a journal's export format back into a journal.
const REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";

/// A `journalctl` that reads a journal made of these lines, as it would stand in the real one.
fn journal_of(log: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder for temporary files");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_micros() as u64;
    let mut export = String::new();
    let mut entry = |number: u64, identifier: &str, message: &str| {
        // A minute ahead, so that it is still today when the recipes run.
        let (at, boot) = (now + 60_000_000 + number, "0123456789abcdef0123456789abcdef");
        export.push_str(&format!(
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={boot}\n_HOSTNAME=tester\n\
             _TRANSPORT=stdout\nPRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\nMESSAGE={message}\n\n"
        ));
    };
    entry(1, "systemd", "Started lyftr-webhook.service.");
    entry(2, "lyftr-webhook", "lyftr-webhook: WORKERS=\"0\" cannot be used: it takes a whole number");
    for (number, line) in log.lines().enumerate() {
        entry(3 + number as u64, "lyftr-webhook", line);
    }
    let journal = folder.path().join("lyftr.journal");
    let mut remote = Command::new(REMOTE);
    remote
        .arg("-o")
        .arg(&journal)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut remote = remote.spawn().expect("systemd-journal-remote starts");
    remote.stdin.take().expect("a pipe").write_all(export.as_bytes()).expect("it reads to the end");
    let output = remote.wait_with_output().expect("it ends");
    assert!(output.status.success() && journal.is_file(), "{output:?}");
    let script = format!("#!/bin/sh\nexec /usr/bin/journalctl --quiet --file={} \"$@\"\n", journal.display());
    let program = folder.path().join("journalctl");
    fs::write(&program, script).expect("the folder is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    folder
}

/// What a recipe writes, line by line.
fn run(recipe: &str, folder: &Path) -> Vec<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-euc", recipe]).env("PATH", format!("{}:{path}", folder.display()));
    let output = command.output().expect("the machine has sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{recipe}\n{said}");
    String::from_utf8(output.stdout).expect("jq writes UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn every_recipe_finds_in_a_real_journal_what_it_says() {
    if !has(&[REMOTE, "journalctl", "jq"]) {
        return;
    }
    let log = real_log();
    let lines = parse_lines(&log);
    let folder = journal_of(&log);
    let where_is = |test: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        lines.iter().filter(|line| test(line)).cloned().collect()
    };
    let requests = where_is(&|line| line["status"].is_u64());
    let recipes = blocks(DOCUMENT, "sh");
    for recipe in &recipes {
        let (title, _) = recipe.split_once('\n').expect("a recipe has a title");
        let found = run(recipe, folder.path());
        let found_json = || parse_lines(&found.join("\n"));
        match title {
            "# What went wrong in the last hour" => {
                assert_eq!(found_json(), where_is(&|line| line["level"] == "ERROR"));
            }
            "# What the service says of itself" => {
                assert_eq!(found_json(), where_is(&|line| line["event"].is_string()));
            }
            "# One request, by its X-Request-ID" => {
                assert_eq!(found_json(), where_is(&|line| line["request_id"] == "my-request"));
                assert_eq!(found.len(), 1);
            }
            "# What became of one message" => {
                let results: Vec<_> = found_json().iter().map(|line| line["result"].clone()).collect();
                assert_eq!(results, ["created", "duplicate"]);
            }
            "# Who sends wrong signatures, most first" => {
                assert_eq!(found, ["3\t198.51.100.7", "1\t203.0.113.66"]);
            }
            "# Webhooks by how they ended, minute by minute" => {
                let sum =
                    |result: &str| found_json().iter().filter_map(|line| line[result].as_u64()).sum::<u64>();
                for result in ["created", "duplicate", "invalid_signature", "too_large", "unavailable"] {
                    let count = where_is(&|line| line["result"] == result).len() as u64;
                    assert_eq!(sum(result), count, "{result}: {found:?}");
                }
            }
            "# The ten slowest requests of today" => {
                let mut all: Vec<_> =
                    requests.iter().map(|line| line["latency_ms"].as_f64().unwrap()).collect();
                all.sort_by(|a, b| b.total_cmp(a));
                let latencies: Vec<_> =
                    found_json().iter().map(|l| l["latency_ms"].as_f64().unwrap()).collect();
                assert_eq!(latencies, all[..10]);
            }
            "# 99 of 100 requests took at most so many milliseconds, by path and status" => {
                let of = |line: &&Value| line["path"] == "/webhook" && line["status"] == 401;
                let slowest = requests.iter().filter(of).map(|line| line["latency_ms"].as_f64().unwrap());
                let row =
                    found.iter().find(|row| row.starts_with("/webhook\t401\t")).expect("there were some");
                let shown: f64 = row.rsplit('\t').next().unwrap().parse().unwrap();
                assert_eq!(shown, slowest.fold(0.0, f64::max));
            }
            "# With what the journal knows besides: the host, and when the line came in (-a: long lines as well)" =>
            {
                assert_eq!(found.len(), lines.len() + 1, "every line, and the one that is not JSON");
                for line in found_json() {
                    assert_eq!(line["host"], "tester");
                    assert!(
                        line["came_in"].is_string() && (line["ts"].is_string() || line["text"].is_string())
                    );
                }
            }
            other => panic!("{other:?} has no test"),
        }
    }
    assert_eq!(recipes.len(), 9);
}
