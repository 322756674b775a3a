//! Section 4: GET /stats, exact at all times.

use serde_json::json;

use crate::fixtures::{SENDER, message, message_with};
use crate::service::Service;

#[test]
fn an_empty_store_is_zeros_and_nulls() {
    let answer = Service::start().get("/stats");
    let expected = json!({
        "total_messages": 0,
        "senders_count": 0,
        "messages_per_sender": [],
        "first_message_ts": null,
        "last_message_ts": null,
    });
    assert_eq!(answer.expect(200).json(), expected);
}

#[test]
fn one_message_is_first_and_last() {
    let service = Service::start();
    service.store(&message("m1"));
    let expected = json!({
        "total_messages": 1,
        "senders_count": 1,
        "messages_per_sender": [{"from": SENDER, "from_msisdn": SENDER, "count": 1}],
        "first_message_ts": "2025-01-15T10:00:00Z",
        "last_message_ts": "2025-01-15T10:00:00Z",
    });
    assert_eq!(service.get("/stats").json(), expected);
}

#[test]
fn the_ten_busiest_senders_come_by_count_and_then_by_name() {
    let service = Service::start();
    // Twelve senders; those of equal count differ in name, and "+2" follows "+10" bytewise.
    let counts = [
        ("+5", 3),
        ("+10", 2),
        ("+2", 2),
        ("+1", 2),
        ("+30", 1),
        ("+3", 1),
        ("+31", 1),
        ("+4", 4),
        ("+9", 1),
        ("+8", 1),
        ("+7", 1),
        ("+6", 1),
    ];
    let mut number = 0;
    for (sender, count) in counts {
        for _ in 0..count {
            service.store(&message_with(&format!("m{number}"), &json!({"from": sender})));
            number += 1;
        }
    }
    let top = [
        ("+4", 4),
        ("+5", 3),
        ("+1", 2),
        ("+10", 2),
        ("+2", 2),
        ("+3", 1),
        ("+30", 1),
        ("+31", 1),
        ("+6", 1),
        ("+7", 1),
    ];
    let top = top.map(|(sender, count)| json!({"from": sender, "from_msisdn": sender, "count": count}));
    let stats = service.get("/stats").json();
    assert_eq!(stats["messages_per_sender"], json!(top));
    assert_eq!(stats["senders_count"], 12);
    assert_eq!(stats["total_messages"], number);
}

#[test]
fn first_and_last_are_by_instant_and_returned_as_sent() {
    let service = Service::start();
    let steps = [
        ("2025-01-15T10:00:00.5Z", "2025-01-15T10:00:00.5Z", "2025-01-15T10:00:00.5Z"),
        ("2025-01-15T10:00:00Z", "2025-01-15T10:00:00Z", "2025-01-15T10:00:00.5Z"),
        ("2025-01-15T10:00:00.25Z", "2025-01-15T10:00:00Z", "2025-01-15T10:00:00.5Z"),
        ("2025-01-15T10:00:00.500000001Z", "2025-01-15T10:00:00Z", "2025-01-15T10:00:00.500000001Z"),
        (
            "2025-01-15T09:59:59.999999999Z",
            "2025-01-15T09:59:59.999999999Z",
            "2025-01-15T10:00:00.500000001Z",
        ),
        ("2025-01-15T10:00:01Z", "2025-01-15T09:59:59.999999999Z", "2025-01-15T10:00:01Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2025-01-15T10:00:01Z"),
        ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    ];
    for (number, (ts, first, last)) in steps.into_iter().enumerate() {
        service.store(&message_with(&format!("m{number}"), &json!({"ts": ts})));
        let stats = service.get("/stats").json();
        assert_eq!(stats["first_message_ts"], first, "after {ts}");
        assert_eq!(stats["last_message_ts"], last, "after {ts}");
    }
}

#[test]
fn messages_since_instants_are_counted_where_they_are_asked_for() {
    let service = Service::start();
    let times =
        ["2025-01-15T10:00:00Z", "2025-01-15T10:00:00.5Z", "2025-01-15T11:00:00Z", "2026-01-01T00:00:00Z"];
    for (number, ts) in times.into_iter().enumerate() {
        service.store(&message_with(&format!("m{number}"), &json!({"ts": ts})));
    }
    let plain = service.get("/stats").json();
    assert!(plain.get("messages_since").is_none() && service.get("/stats?messages_since=").json() == plain);
    for (asked, counts) in [
        ("2025-01-15T10:00:00Z", json!([4])),
        ("2025-01-15T10:00:00.25Z,2025-01-15,2025-01-15T11:00:00.000000001Z", json!([3, 4, 1])),
        // An offset's plus may arrive as a space.
        ("2025-01-15T16:30:00+05:30,2025-01-15T16:30:00%2B05:30", json!([2, 2])),
        ("2025-01-15T10:00:00,2025-01-15+10:00:00.25", json!([4, 3])),
        ("0000-01-01,9999-12-31T23:59:59.999Z", json!([4, 0])),
    ] {
        let mut stats =
            service.get(&format!("/stats?messages_since=2001-01-01&messages_since={asked}")).json();
        assert_eq!(stats["messages_since"], counts, "{asked}");
        stats.as_object_mut().unwrap().remove("messages_since");
        assert_eq!(stats, plain, "{asked}");
    }
}

#[test]
fn messages_since_takes_a_hundred_instants_and_no_other_words() {
    let service = Service::start();
    let list = |count: usize| vec!["2025-01-15"; count].join(",");
    let counts = service.get(&format!("/stats?messages_since={}", list(100))).json()["messages_since"].take();
    assert_eq!(counts, json!(vec![0; 100]));
    for (asked, kind) in [
        (list(101), "too_long"),
        ("soon".to_owned(), "value_error"),
        ("2025-01-15,".to_owned(), "value_error"),
        ("2025-01-15,2025-02-30".to_owned(), "value_error"),
    ] {
        let answer = service.get(&format!("/stats?messages_since={asked}"));
        let fault = &answer.expect(422).json()["detail"][0];
        assert_eq!(fault["type"], kind, "{fault}");
        assert_eq!(fault["loc"], json!(["query", "messages_since"]));
    }
}

#[test]
fn every_acknowledged_message_is_counted_by_the_next_call() {
    let service = Service::start();
    for number in 1..=60_u64 {
        let sender = format!("+{}", number % 3);
        service.store(&message_with(&format!("m{number}"), &json!({"from": sender})));
        // Duplicates and refused messages count nowhere.
        service.store(&message_with(&format!("m{number}"), &json!({"from": "+777"})));
        service.post(&message_with("refused", &json!({"from": "nobody"}))).expect(422);
        let stats = service.get("/stats?messages_since=2025-01-15").json();
        assert_eq!(stats["total_messages"], number);
        assert_eq!(stats["messages_since"], json!([number]));
        assert_eq!(stats["senders_count"], number.min(3));
        let sum: u64 = stats["messages_per_sender"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["count"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, number);
    }
}

#[test]
fn counts_survive_a_restart() {
    let service = Service::start();
    for number in 0..20 {
        let sender = format!("+{}", number % 4);
        service.store(&message_with(&format!("m{number}"), &json!({"from": sender})));
    }
    let before = service.get("/stats").json();
    let service = service.restart();
    assert_eq!(service.get("/stats").json(), before);
    let service = service.kill().start();
    assert_eq!(service.get("/stats").json(), before);
}
