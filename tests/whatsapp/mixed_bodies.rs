//! What cannot be a message, or is one already, stops nothing else in its body.

use serde_json::{Value, json};

use crate::fixtures::message_with;
use crate::setup::Setup;
use crate::{APP_SECRET, count, post, start};

fn text(id: &str) -> Value {
    json!({"from": "14155550123", "id": id, "timestamp": "1749416383", "type": "text", "text": {"body": "sent by Meta"}})
}

fn body(array: &str, elements: &[Value]) -> Vec<u8> {
    let metadata = json!({"display_phone_number": "14155550100", "phone_number_id": "2"});
    let value = json!({"messaging_product": "whatsapp", "metadata": metadata, array: elements});
    let change = json!({"value": value, "field": "messages"});
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]})
        .to_string()
        .into_bytes()
}

#[test]
fn one_broken_element_stays_an_item_and_stops_nobody() {
    let service = start();
    let mut timeless = text("w2");
    timeless["timestamp"] = json!("asdf");
    let mut nobodys = text("w3");
    nobodys.as_object_mut().expect("an object").remove("from");
    let elements = [text("w1"), timeless, nobodys, json!(7), text("w4"), text("w1")];
    assert_eq!(post(&service, &body("messages", &elements)).status, 200);
    assert_eq!(count(&service, "messages"), 2);
    assert_eq!(count(&service, "messages_items"), 5);
    let of_messages = |result| format!("whatsapp_items_total{{kind=\"message\",result=\"{result}\"}}");
    for (result, counted) in [("created", 2.0), ("duplicate", 1.0), ("unmapped", 3.0)] {
        service.counted(&of_messages(result), counted);
    }
}

#[test]
fn a_message_that_webhook_stored_under_the_same_id_stays_as_it_is() {
    let service = start();
    service.store(&message_with("w1", &json!({"text": "sent to /webhook"})));
    assert_eq!(post(&service, &body("messages", &[text("w1")])).status, 200);
    let page = service.get("/messages?original=1").json();
    assert_eq!(page["total"], 1);
    assert_eq!(page["data"][0]["text"], "sent to /webhook");
    assert_eq!(page["data"][0]["original"]["value"]["messages"][0], text("w1"));
}

#[test]
fn what_only_says_sent_delivered_read_or_failed_is_dropped_where_asked() {
    let setup = Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET).with("WHATSAPP_STATUSES", "drop");
    let service = setup.start();
    let names = ["sent", "delivered", "read", "failed", "played"];
    let statuses = names.map(|status| json!({"id": "w1", "status": status, "timestamp": "1749416383"}));
    assert_eq!(post(&service, &body("statuses", &statuses)).status, 200);
    assert_eq!(count(&service, "messages_items"), 1);
    service.counted("whatsapp_items_total{kind=\"status\",result=\"dropped\"}", 4.0);
    service.counted("whatsapp_items_total{kind=\"status\",result=\"created\"}", 1.0);
}
