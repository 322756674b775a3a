//! What every section needs: signed messages, waiting for an event, a look into the database file.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::http_client::Answer;

pub(crate) const SECRET: &str = "correct horse battery staple";
pub(crate) const SENDER: &str = "+919876543210";
/// Generous, since it bounds only how long a failure takes to show: what the service does at a low priority waits
/// for whatever else the machine has to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until there is an answer; the only clock in these tests.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A message that breaks no rule.
pub(crate) fn message(id: &str) -> Value {
    json!({"message_id": id, "from": SENDER, "to": "+14155550100", "ts": "2025-01-15T10:00:00Z", "text": "Hello"})
}

/// The same, with some fields replaced.
pub(crate) fn message_with(id: &str, fields: &Value) -> Value {
    let mut message = message(id);
    for (name, value) in fields.as_object().expect("fields come as an object") {
        message[name] = value.clone();
    }
    message
}

#[track_caller]
pub(crate) fn ids(page: &Answer) -> Vec<String> {
    let page = page.expect(200).json();
    let rows = page["data"].as_array().expect("a page has rows").iter();
    rows.map(|row| row["message_id"].as_str().expect("a row has an id").to_owned()).collect()
}

/// Base64 (RFC 4648, section 4).
pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.expect("the machine has kill").success());
}

pub(crate) fn open_database(path: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).expect("the database opens");
    database.busy_timeout(PATIENCE).expect("a connection takes a timeout");
    database
}

/// Tells the other threads of a test to stop, also when this one panics; they would keep it waiting otherwise.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
