//! What Meta's Cloud API sends, posted to the real executable, as section 14 of the contract has it.

mod concurrency;
mod crashes;
mod deliveries;
mod mixed_bodies;
mod sample_bodies;
mod sample_script;
mod samples;
mod signatures;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod taken;

use fixtures::sign;
use http_client::Answer;
use service::Service;
use setup::Setup;
use support::*;

/// What SIGNATURES.txt was made with.
const APP_SECRET: &str = "test_app_secret";

fn start() -> Service {
    Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET).with("WHATSAPP_VERIFY_TOKEN", "a token").start()
}

fn post(service: &Service, body: &[u8]) -> Answer {
    let signature = format!("sha256={}", sign(APP_SECRET, body));
    service.connect().request("POST", "/whatsapp", &[("X-Hub-Signature-256", &signature)], Some(body))
}

fn count(service: &Service, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    service.database().query_row(&sql, [], |row| row.get(0)).expect("the table is there")
}
