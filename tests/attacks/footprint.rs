//! The footprint of a process is what it occupies of the machine, as /proc counts it.

use rusqlite::Connection;

use crate::fixtures::{eventually, message_with};
use crate::http_client::Client;
use crate::service::Service;

/// A user that nobody else is, so that a limit on its processes counts the service's alone.
pub(crate) const LONELY_USER: u32 = 54_321;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

impl Footprint {
    /// All zeros once the process is gone.
    pub(crate) fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Self {
            threads: field("Threads"),
            descriptors: descriptors as u64,
            resident_kib: field("VmRSS"),
            peak_kib: field("VmHWM"),
        }
    }
}

pub(crate) fn rows(database: &Connection) -> u64 {
    let count = database.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0));
    count.expect("the database answers").unsigned_abs()
}

/// Samples whose names begin like this, as the exposition writes them.
pub(crate) fn metrics(service: &Service, prefix: &str) -> Vec<(String, f64)> {
    // Just after an attack a stranger may still be told to come back.
    let text = eventually("the service shows its metrics", || {
        let mut client = Client::try_connect(&service.address).ok()?;
        let answer = client.try_request("GET", "/metrics", &[], None).ok()?;
        (answer.status == 200).then(|| answer.text())
    });
    let samples = text.lines().filter(|line| line.starts_with(prefix));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(f64::NAN)))
        .collect()
}

/// A page full of the largest texts there are, the most that one GET can make the service say.
pub(crate) fn store_large_page(service: &Service) -> u64 {
    let text = "\u{1}".repeat(4096);
    let mut client = service.connect();
    for n in 0..100 {
        client.post(&message_with(&format!("large-{n}"), &serde_json::json!({ "text": text }))).expect(200);
    }
    100
}
