//! Deliveries of many messages, made for a test, and what the file holds of them.

use std::ops::Range;

use crate::fixtures::sign;
use crate::http_client::{Address, Answer, Client};
use crate::samples::private;
use crate::service::Service;
use crate::setup::Setup;

pub(crate) const APP_SECRET: &str = "test_app_secret";
pub(crate) const TOKEN: &str = "a-token-that-nobody-may-read";

pub(crate) fn whatsapp() -> Setup {
    Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET).with("WHATSAPP_VERIFY_TOKEN", TOKEN)
}

pub(crate) fn message(id: &str) -> String {
    format!(
        r#"{{"from":"14155550123","id":"{id}","timestamp":"1749416383","type":"text","text":{{"body":"a secret of {id}"}}}}"#
    )
}

/// One change with these elements under `messages`.
pub(crate) fn body(elements: &[String]) -> Vec<u8> {
    let metadata = r#"{"display_phone_number":"14155550100","phone_number_id":"200000000000001"}"#;
    let elements = elements.join(",");
    let value =
        format!(r#"{{"messaging_product":"whatsapp","metadata":{metadata},"messages":[{elements}]}}"#);
    let change = format!(r#"{{"value":{value},"field":"messages"}}"#);
    format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{change}]}}]}}"#)
        .into_bytes()
}

/// The messages of these numbers, all of one name.
pub(crate) fn messages(name: &str, numbers: Range<usize>) -> Vec<u8> {
    body(&numbers.map(|number| message(&format!("wamid.{name}-{number}"))).collect::<Vec<_>>())
}

pub(crate) fn try_deliver(client: &mut Client, body: &[u8]) -> std::io::Result<Answer> {
    let signature = format!("sha256={}", sign(APP_SECRET, body));
    client.try_request("POST", "/whatsapp", &[("X-Hub-Signature-256", &signature)], Some(body))
}

/// Again while there is no room, as Meta does.
#[track_caller]
pub(crate) fn deliver(address: &Address, body: &[u8]) {
    crate::fixtures::eventually("the body is taken", || {
        let answer = try_deliver(&mut Client::connect(address), body).ok()?;
        assert!(answer.status == 503 || answer.status == 200, "{} {}", answer.status, answer.text());
        (answer.status == 200).then_some(())
    });
}

/// Rows and items whose id begins so.
pub(crate) fn held(database: &rusqlite::Connection, prefix: &str) -> [usize; 2] {
    let count = |table: &str| {
        let exists = "SELECT COUNT(*) FROM sqlite_schema WHERE name = ?1";
        let there: i64 = database.query_row(exists, [table], |row| row.get(0)).expect("it is a database");
        let statement = format!("SELECT COUNT(*) FROM {table} WHERE message_id GLOB ?1 || '*'");
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let held = if there == 0 { 0 } else { database.query_row(&statement, [prefix], count).expect("SQL") };
        usize::try_from(held).expect("a count")
    };
    ["messages", "messages_items"].map(count)
}

/// Ends it; its whole log holds nothing of these bodies, nor a secret.
#[track_caller]
pub(crate) fn logged_nothing_of<'a>(service: Service, bodies: impl IntoIterator<Item = &'a [u8]>) {
    let log = service.stop_and_read_log();
    assert!(log.lines().count() > 2, "the log is there: {log}");
    let private = bodies.into_iter().flat_map(private).chain([APP_SECRET, TOKEN].map(str::to_owned));
    for text in private {
        assert!(!log.contains(&text), "{text:?} is in the log");
    }
}
