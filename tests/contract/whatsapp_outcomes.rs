//! Section 14: what became of what WhatsApp sent, in the store, in the log and in the metrics.

use serde_json::json;

use crate::fixtures::{eventually, ids};
use crate::http_client::request;
use crate::whatsapp_bodies::{HEADER, body, deliver, items, post, signature, status, text, texts, whatsapp};

#[test]
fn what_is_sent_again_is_kept_once() {
    let service = whatsapp().start();
    for (ids, created, dup) in [
        (&["wamid.1"][..], 1, 0),
        (&["wamid.1"], 0, 1),
        // Batched otherwise, and twice in one body.
        (&["wamid.2", "wamid.1", "wamid.2", "wamid.3"], 2, 2),
    ] {
        let answer = deliver(&service, texts(ids));
        let line = service.logged(answer.expect(200));
        let counts = json!([line["items"], line["created"], line["dup"], line["unmapped"]]);
        assert_eq!(counts, json!([ids.len(), created, dup, 0]), "{line}");
        assert_eq!(
            (&line["level"], &line["result"], &line["path"]),
            (&json!("INFO"), &json!("stored"), &json!("/whatsapp"))
        );
        assert!(line.get("message_id").is_none(), "{line}");
    }
    assert_eq!((items(&service, "message", "created"), items(&service, "message", "duplicate")), (3.0, 3.0));
    assert_eq!(service.get("/messages").json()["total"], 3);
    assert_eq!(service.metric("store_messages_total"), 3.0);
}

#[test]
fn one_that_cannot_be_mapped_stops_nobody() {
    let service = whatsapp().start();
    let [good, mut nobody, mut never] = ["wamid.1", "wamid.2", "wamid.3"].map(text);
    nobody.as_object_mut().unwrap().remove("from");
    never["timestamp"] = json!("yesterday");
    let answer = deliver(&service, body("messages", "messages", &[nobody, good, never]));
    let line = service.logged(answer.expect(200));
    let counts = json!([line["items"], line["created"], line["dup"], line["unmapped"]]);
    assert_eq!(counts, json!([3, 1, 0, 2]), "{line}");
    assert_eq!(items(&service, "message", "unmapped"), 2.0);
    assert_eq!(ids(&service.get("/messages")), ["wamid.1"]);
}

#[test]
fn statuses_are_kept_or_dropped_as_is_wished() {
    let all = ["sent", "delivered", "read", "failed", "played"].map(|word| status("wamid.1", word));
    for (wish, created, dropped) in [("keep", 5.0, 0.0), ("drop", 1.0, 4.0)] {
        let service = whatsapp().with("WHATSAPP_STATUSES", wish).start();
        let line = service.logged(deliver(&service, body("messages", "statuses", &all)).expect(200));
        assert_eq!((&line["items"], &line["created"]), (&json!(5), &json!(created as u64)), "{line}");
        assert_eq!(
            (items(&service, "status", "created"), items(&service, "status", "dropped")),
            (created, dropped)
        );
        // Of a body in which there is nothing else nothing is left.
        let line = service.logged(deliver(&service, body("messages", "statuses", &all[..2])).expect(200));
        assert_eq!(line["items"], 2, "{line}");
        assert_eq!(items(&service, "status", "created"), created);
        // A message is none, whatever it says.
        let mut message = text("wamid.2");
        message["status"] = json!("sent");
        deliver(&service, body("messages", "messages", &[message])).expect(200);
        assert_eq!(ids(&service.get("/messages")), ["wamid.2"]);
    }
}

#[test]
fn its_requests_are_counted_apart_from_webhooks() {
    let service = whatsapp().start();
    deliver(&service, texts(&["wamid.1"])).expect(200);
    service.counted(r#"http_requests_total{path="/whatsapp",status="200"}"#, 1.0);
    assert_eq!(service.results("created"), 0.0);
}

#[test]
fn neither_log_nor_answer_holds_what_was_sent() {
    let service = whatsapp().with("LOG_LEVEL", "DEBUG").start();
    let sent = texts(&["wamid.HBgLMTQxNTU1NTAxMjM"]);
    deliver(&service, &sent).expect(200);
    deliver(&service, &sent).expect(200);
    post(&service, &[(HEADER, "sha256=00")], sent.as_bytes()).expect(401);
    deliver(&service, &sent[..sent.len() - 1]).expect(200);
    let log = service.stop_and_read_log();
    for part in ["wamid", "1415555", "Hello", "Beispiel", "sha256", &signature(sent.as_bytes())[7..]] {
        assert!(!log.contains(part), "{part} is in {log}");
    }
}

#[test]
fn where_storage_cannot_commit_nothing_is_claimed_and_nothing_is_lost() {
    let service = whatsapp().start();
    let mut other = service.database();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let answer = deliver(&service, texts(&["wamid.1", "wamid.2"]));
    assert!(answer.expect(503).header("Retry-After").is_some() && answer.json()["detail"].is_string());
    let line = service.logged(&answer);
    assert_eq!(
        (&line["level"], &line["result"], &line["items"]),
        (&json!("ERROR"), &json!("unavailable"), &json!(2))
    );
    assert_eq!(line["created"], 0, "{line}");
    assert_eq!(items(&service, "message", "created"), 0.0);
    lock.rollback().unwrap();
    assert_eq!(service.get("/messages").json()["total"], 0, "all or nothing");
    eventually("it is taken again", || {
        (deliver(&service, texts(&["wamid.1", "wamid.2"])).status == 200).then_some(())
    });
    assert_eq!(service.get("/messages").json()["total"], 2);
}

#[test]
fn a_stop_waits_for_a_body_that_is_being_committed() {
    let mut service = whatsapp().start();
    deliver(&service, texts(&["wamid.0"])).expect(200);
    let mut other = service.database();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let mut client = service.connect();
    let body = texts(&["wamid.1", "wamid.2"]);
    client.send(&request(
        "POST",
        "/whatsapp",
        &[(HEADER, &signature(body.as_bytes()))],
        Some(body.as_bytes()),
    ));
    service.counted("http_requests_in_flight", 2.0);
    service.signal("TERM");
    eventually("it stops", || service.stdout.json().iter().any(|line| line["event"] == "stop").then_some(()));
    lock.rollback().unwrap();
    client.receive().expect(200);
    assert_eq!(service.wait().code(), Some(0));
    let database = service.database();
    let count: i64 = database.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3);
}
