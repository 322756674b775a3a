//! A body that comes on many connections at once, then cut otherwise, is stored once.

use std::thread;

use crate::fixtures::eventually;
use crate::{count, post, start};

const MESSAGES: usize = 1_000;
const CONNECTIONS: usize = 64;

fn body(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let element = |number| {
        format!(
            r#"{{"from":"14155550123","id":"wamid.{number}","timestamp":"1749416383","type":"text","text":{{"body":"{number}"}}}}"#
        )
    };
    let elements: Vec<String> = numbers.map(element).collect();
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"14155550100","phone_number_id":"2"}},"messages":[{}]}},"field":"messages"}}]}}]}}"#,
        elements.join(",")
    )
    .into_bytes()
}

#[test]
fn a_thousand_messages_on_64_connections_at_once_are_a_thousand_rows_and_items_however_they_are_cut() {
    let service = start();
    let whole = body(0..MESSAGES);
    let send = |body: &[u8]| {
        // Meta comes again after a 503.
        eventually("the body is taken", || match post(&service, body).status {
            200 => Some(()),
            503 => None,
            status => panic!("{status}"),
        });
    };
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| send(&whole));
        }
    });
    let counts = || (count(&service, "messages"), count(&service, "messages_items"));
    assert_eq!(counts(), (1_000, 1_000));
    for start in (0..MESSAGES).step_by(70) {
        send(&body(start..(start + 70).min(MESSAGES)));
    }
    assert_eq!(counts(), (1_000, 1_000));
}
