//! Messages that Meta sends again, at once or in other batches, are kept once.

use std::thread;

use serde_json::json;

use crate::deliveries::{body, deliver, held, logged_nothing_of, message, messages, whatsapp};
use crate::fixtures::message_with;

#[test]
fn a_thousand_messages_at_once_from_everywhere_and_in_other_batches_are_a_thousand() {
    let service = whatsapp().start();
    let whole = messages("again", 0..1000);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| deliver(&service.address, &whole));
        }
    });
    assert_eq!(held(&service.database(), "wamid.again-"), [1000, 1000]);
    for size in [1, 7, 333, 999] {
        let most = if size == 1 { 50 } else { 1000 };
        for first in (0..most).step_by(size) {
            deliver(&service.address, &messages("again", first..(first + size).min(1000)));
        }
    }
    // Those that came and new ones in one body.
    deliver(&service.address, &messages("again", 500..1500));
    assert_eq!(held(&service.database(), "wamid.again-"), [1500, 1500]);
    assert_eq!(service.get("/stats").json()["total_messages"], 1500);
    logged_nothing_of(service, [whole.as_slice()]);
}

#[test]
fn a_message_of_webhook_under_the_same_id_stays_as_it_is() {
    let service = whatsapp().start();
    service.store(&message_with("wamid.both", &json!({"text": "first"})));
    let sent = body(&[message("wamid.both"), message("wamid.other")]);
    deliver(&service.address, &sent);
    assert_eq!(held(&service.database(), "wamid.both"), [1, 1]);
    assert_eq!(held(&service.database(), "wamid.other"), [1, 1]);
    let page = service.get("/messages?q=first").expect(200).json();
    assert_eq!(page["data"][0]["message_id"], "wamid.both");
    assert_eq!(page["total"], 1);
    logged_nothing_of(service, [sent.as_slice()]);
}
