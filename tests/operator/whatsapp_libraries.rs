//! What WhatsApp sent is read by the libraries of its users, `pywa` of PyPI and `whatsapp-api-js` of npm, from what is
//! handed out as from what came.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::fixtures::sign;
use crate::recipes::project_file;
use crate::setup::Setup;
use crate::skip::has;
use crate::standard_webhooks::{interpreter, library};

const APP_SECRET: &str = "test_app_secret";

/// The members of an object, each as it stands there.
type Members = BTreeMap<String, Box<RawValue>>;

/// The samples that hold messages.
fn samples() -> Vec<String> {
    let files = fs::read_dir(project_file("tests/whatsapp/samples")).expect("the samples are there");
    let json = files
        .map(|file| file.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"));
    let text = json.map(|path| fs::read_to_string(path).expect("a sample is text"));
    text.filter(|body| body.contains(r#""messages":["#) && body.contains(r#""field":"messages""#)).collect()
}

fn signature(body: &str) -> String {
    format!("sha256={}", sign(APP_SECRET, body.as_bytes()))
}

/// The ids of the messages that a library finds in each body, all of which it takes for genuine.
fn read_by(language: &str, bodies: &[String]) -> Vec<BTreeSet<String>> {
    let mut child = interpreter(language, "whatsapp_reader")
        .arg(APP_SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // The libraries say there of what they cannot read, at length.
        .stderr(Stdio::null())
        .spawn()
        .expect("the interpreter is there");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let lines: Vec<_> =
        bodies.iter().map(|body| json!({"body": body, "signature": signature(body)})).collect();
    let writer = thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it writes").expect("all of it is read");
    let stdout = String::from_utf8(output.stdout).expect("in UTF-8");
    let seen: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seen.len(), bodies.len());
    assert!(seen.iter().all(|seen| seen["genuine"] == true));
    let ids = |seen: &Value| {
        seen["ids"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("a text").to_owned())
            .collect()
    };
    seen.iter().map(ids).collect()
}

/// Whatever the library finds in what came, it finds in what is handed out.
fn are_read_by(language: &str, needed: &str, at_least: usize) {
    if !has(&[&library(needed).display().to_string()]) {
        return;
    }
    let service = Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET).start();
    let samples = samples();
    for body in &samples {
        let headers = [("X-Hub-Signature-256", &*signature(body))];
        service.connect().request("POST", "/whatsapp", &headers, Some(body.as_bytes())).expect(200);
    }
    let page = service.get("/messages?limit=100&original=1").text();
    let page: Members = serde_json::from_str(&page).expect("an object");
    let rows: Vec<Members> = serde_json::from_str(page["data"].get()).expect("a list of objects");
    let id = |row: &Members| serde_json::from_str(row["message_id"].get()).expect("a text");
    let stored: BTreeSet<String> = rows.iter().map(id).collect();
    // The bytes as they came: what is signed are Meta's escapes.
    let update = |row: &Members| {
        let original = row["original"].get();
        format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{original}]}}]}}"#)
    };
    let updates: Vec<String> = rows.iter().map(update).collect();
    let came: BTreeSet<String> = read_by(language, &samples).into_iter().flatten().collect();
    let handed_out: BTreeSet<String> = read_by(language, &updates).into_iter().flatten().collect();
    // Of two that have no sender or time no message was made.
    let missing: Vec<_> = came.intersection(&stored).filter(|id| !handed_out.contains(*id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(handed_out.len() >= at_least, "{}", handed_out.len());
}

#[test]
fn the_library_of_pypi_reads_what_is_handed_out() {
    // This one wants a user id beside each contact, which most samples are too old for.
    are_read_by("python", "python/pywa/__init__.py", 10);
}

#[test]
fn the_library_of_npm_reads_what_is_handed_out() {
    are_read_by("node", "node_modules/whatsapp-api-js/package.json", 50);
}
