//! Section 2: the rule of each field, at its edges.

use serde_json::{Value, json};

use crate::fixtures::message_with;
use crate::service::Service;
use crate::webhook_validation::faults;

#[test]
fn a_number_is_a_plus_and_ascii_digits() {
    let service = Service::start();
    let long = format!("+{}", "9".repeat(500));
    for (id, number) in [("m1", "+1"), ("m2", "+0"), ("m3", "+0123456789"), ("m4", &long)] {
        service.store(&message_with(id, &json!({"from": number, "to": number})));
    }
    let refused = [
        "",
        "+",
        "1",
        "919876543210",
        "++1",
        "+1+",
        "+ 1",
        " +1",
        "+1 ",
        "+1\n",
        "\n+1",
        "+91-98",
        "+91 98",
        "+1a",
        "+(1)",
        "-1",
        "+１２",
        "+١",
        "+1\0",
        "＋1",
        "+1.5",
        "tel:+1",
    ];
    for number in refused {
        for field in ["from", "to"] {
            let body = message_with("refused", &json!({field: number})).to_string();
            let found = faults(&service, body.as_bytes());
            assert_eq!(found.len(), 1, "{number:?}");
            assert_eq!(found[0].1, json!(["body", field]), "{number:?}");
            let kind = found[0].0.as_str();
            assert!(["string_pattern_mismatch", "value_error"].contains(&kind), "{number:?}: {kind}");
        }
    }
    assert_eq!(service.get("/messages").json()["total"], 4);
}

#[test]
fn a_timestamp_names_a_real_instant() {
    let service = Service::start();
    let accepted = [
        "2025-01-15T10:00:00Z",
        "2024-02-29T00:00:00Z",
        "2000-02-29T23:59:59Z",
        "2400-02-29T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2025-12-31T23:59:59.999999999Z",
        "2025-01-15T10:00:00.1Z",
        "2025-01-15T10:00:00.12Z",
        "2025-01-15T10:00:00.123Z",
        "2025-01-15T10:00:00.1234Z",
        "2025-01-15T10:00:00.12345Z",
        "2025-01-15T10:00:00.123456Z",
        "2025-01-15T10:00:00.1234567Z",
        "2025-01-15T10:00:00.12345678Z",
        "2025-01-15T10:00:00.000000000Z",
    ];
    for (number, ts) in accepted.iter().enumerate() {
        service.store(&message_with(&format!("m{number}"), &json!({"ts": ts})));
    }
    let page = service.get("/messages").json();
    let mut returned: Vec<_> = page["data"].as_array().unwrap().iter().map(|row| row["ts"].clone()).collect();
    let mut sent: Vec<_> = accepted.iter().map(|ts| json!(ts)).collect();
    returned.sort_by_key(Value::to_string);
    sent.sort_by_key(Value::to_string);
    assert_eq!(returned, sent);
}

#[test]
fn a_timestamp_of_any_other_form_is_refused() {
    let service = Service::start();
    let refused = [
        "",
        "yesterday",
        "2025-01-15",
        "2025-01-15T10:00Z",
        "2025-01-15T10:00:00",
        "2025-01-15T10:00:00z",
        "2025-01-15t10:00:00Z",
        "2025-01-15 10:00:00Z",
        "2025-01-15T10:00:00+00:00",
        "2025-01-15T10:00:00-00:00",
        "2025-01-15T10:00:00+05:30",
        "2025-01-15T10:00:00.Z",
        "2025-01-15T10:00:00,5Z",
        "2025-01-15T10:00:00.1234567890Z",
        "2025-01-15T10:00:00.5",
        "2025-01-15T10:00:00.5 Z",
        "2025-01-15T10:00:00.-5Z",
        "2025-01-15T10:00:00ZZ",
        "2025-01-15T10:00:00Z\n",
        " 2025-01-15T10:00:00Z",
        "2025-01-15T10:00:00Z\0",
        "2025-1-15T10:00:00Z",
        "2025-01-15T1:00:00Z",
        "25-01-15T10:00:00Z",
        "12025-01-15T10:00:00Z",
        "+2025-01-15T10:00:00Z",
        "-025-01-15T10:00:00Z",
        "2025/01/15T10:00:00Z",
        "2025-01-15T10-00-00Z",
        "20250115T100000Z",
        "2025-W03-3T10:00:00Z",
        "２０２５-01-15T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "2025-00-15T10:00:00Z",
        "2025-13-15T10:00:00Z",
        "2025-01-00T10:00:00Z",
        "2025-01-32T10:00:00Z",
        "2025-04-31T10:00:00Z",
        "2025-06-31T10:00:00Z",
        "2025-09-31T10:00:00Z",
        "2025-11-31T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2024-02-30T10:00:00Z",
        "1900-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2025-01-15T24:00:00Z",
        "2025-01-15T10:60:00Z",
        "2025-01-15T10:00:60Z",
        "2016-12-31T23:59:60Z",
        "2025-01-15T10:00:61Z",
        "1736935200",
    ];
    for ts in refused {
        let body = message_with("refused", &json!({"ts": ts})).to_string();
        let found = faults(&service, body.as_bytes());
        assert_eq!(found.len(), 1, "{ts:?}");
        assert_eq!(found[0].1, json!(["body", "ts"]), "{ts:?}");
        let kind = found[0].0.as_str();
        assert!(["string_pattern_mismatch", "value_error"].contains(&kind), "{ts:?}: {kind}");
    }
    assert_eq!(service.get("/messages").json()["total"], 0);
}

#[test]
fn text_is_measured_in_scalar_values_not_in_bytes() {
    let service = Service::start();
    for (id, unit) in [("m1", "x"), ("m2", "é"), ("m3", "漢"), ("m4", "😀"), ("m5", "\u{301}")] {
        service.store(&message_with(id, &json!({"text": unit.repeat(4096)})));
        let longer = message_with("longer", &json!({"text": unit.repeat(4097)}));
        let found = faults(&service, longer.to_string().as_bytes());
        assert_eq!(found, [("string_too_long".to_owned(), json!(["body", "text"]))], "{unit}");
    }
    // As escapes the longest text takes twelve bytes a character, which is still below the bound on bodies.
    let escaped =
        message_with("m6", &json!({"text": "@"})).to_string().replace('@', &r"\ud83d\ude00".repeat(4096));
    service.post_bytes(escaped.as_bytes()).expect(200);
    assert_eq!(service.get("/messages").json()["total"], 6);
}
