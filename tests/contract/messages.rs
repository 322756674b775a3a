//! Section 3: GET /messages, its parameters, its order and the shape of a page.

use serde_json::{Value, json};

use crate::fixtures::{eventually, ids, message, message_with};
use crate::http_client::encode;
use crate::service::Service;

/// A store with these (id, ts).
fn store_at(instants: &[(&str, &str)]) -> Service {
    let service = Service::start();
    for (id, ts) in instants {
        service.store(&message_with(id, &json!({"ts": ts})));
    }
    service
}

#[test]
fn an_empty_store_is_an_empty_page() {
    let answer = Service::start().get("/messages");
    assert_eq!(answer.expect(200).json(), json!({"data": [], "total": 0, "limit": 50, "offset": 0}));
    assert!(answer.header("Content-Type").unwrap().starts_with("application/json"));
    assert_eq!(answer.next_page(), None);
}

#[test]
fn a_row_has_these_fields_and_no_other() {
    let service = Service::start();
    service.store(&message("m1"));
    let page = service.get("/messages").json();
    let row = page["data"][0].as_object().unwrap();
    let mut names: Vec<_> = row.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["from", "message_id", "text", "to", "ts"]);
}

#[test]
fn limit_and_offset_cut_the_list() {
    let service = Service::start();
    let all: Vec<String> = (0..120).map(|number| format!("m{number:03}")).collect();
    for id in &all {
        service.store(&message(id));
    }
    let cases = [
        ("/messages", 50, 0),
        ("/messages?limit=1", 1, 0),
        ("/messages?limit=100", 100, 0),
        ("/messages?offset=100", 50, 100),
        ("/messages?limit=7&offset=3", 7, 3),
        ("/messages?offset=119&limit=100", 100, 119),
        ("/messages?offset=120", 50, 120),
        ("/messages?offset=1000000000", 50, 1_000_000_000),
    ];
    for (target, limit, offset) in cases {
        let answer = service.get(target);
        let expected: Vec<String> = all.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!(ids(&answer), expected, "{target}");
        let page = answer.json();
        assert_eq!(page["total"], 120, "{target}");
        assert_eq!(page["limit"], limit, "{target}");
        assert_eq!(page["offset"], offset, "{target}");
        assert_eq!(answer.next_page().is_some(), offset + limit < 120, "{target}");
    }
}

#[test]
fn a_malformed_parameter_is_refused_and_named() {
    let service = Service::start();
    let cases = [
        (
            "limit",
            ["0", "101", "-1", "abc", "1.5", "1e2", "99999999999999999999", "", "10x", "0x10"].as_slice(),
        ),
        ("offset", ["-1", "abc", "1.5", "", "1x"].as_slice()),
        ("after", ["garbage", "%00", "%F0%9F%98%80"].as_slice()),
    ];
    for (name, values) in cases {
        for value in values {
            let answer = service.get(&format!("/messages?{name}={value}"));
            let detail = answer.expect(422).json()["detail"].clone();
            assert_eq!(detail.as_array().unwrap().len(), 1, "{name}={value}");
            assert_eq!(detail[0]["loc"], json!(["query", name]), "{name}={value}");
            assert!(detail[0]["type"].is_string() && detail[0]["msg"].is_string(), "{detail}");
        }
    }
    let several = service.get("/messages?limit=0&offset=-1&since=never");
    let several = several.expect(422).json();
    let mut places: Vec<_> =
        several["detail"].as_array().unwrap().iter().map(|fault| fault["loc"][1].clone()).collect();
    places.sort_by_key(Value::to_string);
    assert_eq!(places, ["limit", "offset", "since"]);
}

#[test]
fn an_offset_beyond_every_number_is_no_failure_of_the_service() {
    let service = store_at(&[("m1", "2025-01-15T10:00:00Z")]);
    for offset in ["9223372036854775807", "9223372036854775808", "18446744073709551616", &"9".repeat(400)] {
        let status = service.get(&format!("/messages?offset={offset}")).status;
        assert!(status == 200 || status == 422, "{offset}: {status}");
    }
}

#[test]
fn unknown_parameters_are_ignored_and_of_a_repeated_one_the_last_counts() {
    let service = store_at(&[("m1", "2025-01-15T10:00:00Z"), ("m2", "2025-01-16T10:00:00Z")]);
    let cases: [(&str, &[&str]); 8] = [
        ("unknown=1&LIMIT=0&from_msisdn=%2B1", &["m1", "m2"]),
        ("&&limit=1&", &["m1"]),
        ("limit=2&limit=1", &["m1"]),
        ("limit=abc&limit=2", &["m1", "m2"]),
        ("since=never&since=2025-01-16", &["m2"]),
        ("from=%2B1&from=%2B919876543210", &["m1", "m2"]),
        ("q=nothing&q=hello", &["m1", "m2"]),
        ("offset=5&offset=1", &["m2"]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&service.get(&format!("/messages?{query}"))), expected, "{query}");
    }
    service.get("/messages?limit=1&limit=0").expect(422);
}

#[test]
fn the_order_is_by_instant_and_then_by_the_bytes_of_the_id() {
    let in_order = [
        ("z", "0001-01-01T00:00:00Z"),
        ("y", "1969-12-31T23:59:59.999999999Z"),
        ("x", "1970-01-01T00:00:00Z"),
        ("w", "2025-01-15T09:59:59.999999999Z"),
        ("B", "2025-01-15T10:00:00.0Z"),
        ("C", "2025-01-15T10:00:00Z"),
        ("D", "2025-01-15T10:00:00.000000000Z"),
        ("a", "2025-01-15T10:00:00.00Z"),
        ("aa", "2025-01-15T10:00:00Z"),
        ("b", "2025-01-15T10:00:00.000Z"),
        ("é", "2025-01-15T10:00:00Z"),
        ("😀", "2025-01-15T10:00:00.0000Z"),
        ("v", "2025-01-15T10:00:00.000000001Z"),
        ("u", "2025-01-15T10:00:00.09Z"),
        ("q", "2025-01-15T10:00:00.1Z"),
        ("r", "2025-01-15T10:00:00.100Z"),
        ("s", "2025-01-15T10:00:00.10Z"),
        ("p", "2025-01-15T10:00:00.100000001Z"),
        ("o", "2025-01-15T10:00:01Z"),
        ("n", "9999-12-31T23:59:59.999999999Z"),
    ];
    // Arriving in an order that has nothing to do with theirs.
    let shuffled: Vec<_> = (0..in_order.len()).map(|i| in_order[i * 7 % in_order.len()]).collect();
    let service = store_at(&shuffled);
    let expected: Vec<_> = in_order.iter().map(|(id, _)| (*id).to_owned()).collect();
    let page = service.get("/messages");
    assert_eq!(ids(&page), expected);
    for (row, (_, ts)) in page.json()["data"].as_array().unwrap().iter().zip(&in_order) {
        assert_eq!(row["ts"], *ts, "a timestamp is returned as it was sent");
    }
}

#[test]
fn from_is_an_exact_match_whose_plus_may_arrive_as_a_space() {
    let service = Service::start();
    for (id, from) in [("m1", "+91"), ("m2", "+919"), ("m3", "+9"), ("m4", "+91")] {
        service.store(&message_with(id, &json!({"from": from, "to": "+919"})));
    }
    let cases: [(&str, &[&str]); 9] = [
        ("%2B91", &["m1", "m4"]),
        ("+91", &["m1", "m4"]),
        ("%2b91", &["m1", "m4"]),
        ("%2B919", &["m2"]),
        ("+9", &["m3"]),
        ("%20919", &["m2"]),
        ("91", &[]),
        ("%2B9%25", &[]),
        ("", &["m1", "m2", "m3", "m4"]),
    ];
    for (value, expected) in cases {
        let page = service.get(&format!("/messages?from={value}"));
        assert_eq!(ids(&page), expected, "{value}");
        assert_eq!(page.json()["total"], expected.len(), "{value}");
    }
}

#[test]
fn since_takes_every_form_of_a_time() {
    let service = store_at(&[
        ("m1", "2025-01-14T23:59:59.999999999Z"),
        ("m2", "2025-01-15T00:00:00Z"),
        ("m3", "2025-01-15T10:00:00Z"),
        ("m4", "2025-01-15T10:00:00.5Z"),
        ("m5", "2025-01-15T10:00:01Z"),
    ]);
    let cases = [
        ("2025-01-15T10:00:00Z", 3),
        ("2025-01-15T10:00:00.0Z", 3),
        ("2025-01-15T10:00:00.000000001Z", 2),
        ("2025-01-15T10:00:00.5Z", 2),
        ("2025-01-15T10:00:00.50Z", 2),
        ("2025-01-15T10:00:00.500000001Z", 1),
        ("2025-01-15T10%3A00%3A01Z", 1),
        ("2025-01-15T10:00:01.1Z", 0),
        ("2025-01-15T15:30:00%2B05:30", 3),
        ("2025-01-15T15:30:00+05:30", 3),
        ("2025-01-15T15:30:00.5+05:30", 2),
        ("2025-01-15T15:30:01%2B05:30", 1),
        ("2025-01-15T04:30:00-05:30", 3),
        ("2025-01-15T10:00:00%2B00:00", 3),
        ("2025-01-15T10:00:00-00:00", 3),
        ("2025-01-16T09:59:00%2B23:59", 3),
        ("2025-01-15t10:00:00z", 3),
        ("2025-01-15T10:00:00", 3),
        ("2025-01-15T10:00:00.5", 2),
        ("2025-01-15T10%3A00%3A00.500000001", 1),
        ("2025-01-15+10:00:00", 3),
        ("2025-01-15%2010:00:00.25Z", 2),
        ("2025-01-15+15:30:00+05:30", 3),
        ("2025-01-15", 4),
        ("2025-01-14", 5),
        ("2025-01-16", 0),
        ("2024-02-29", 5),
        ("0001-01-01T00:00:00%2B23:59", 5),
        ("9999-12-31T23:59:59-23:59", 0),
        ("", 5),
    ];
    for (since, total) in cases {
        let page = service.get(&format!("/messages?since={since}"));
        assert_eq!(page.expect(200).json()["total"], total, "{since}");
        assert_eq!(ids(&page).len(), total, "{since}");
    }
}

#[test]
fn since_refuses_what_is_no_time() {
    let service = Service::start();
    let refused = [
        "yesterday",
        "2025",
        "2025-01",
        "2025-1-15",
        "20250115",
        "2025-02-29",
        "2025-13-01",
        "2025-01-15Z",
        "2025-01-15T",
        "2025-01-15T10:00Z",
        "2025-01-15T10:00:00.",
        "2025-01-15T10:00:00+",
        "2025-01-15T10:00",
        "+2025-01-15",
        "2025-01-15+",
        "2025-01-15T10:00:00.Z",
        "2025-01-15T10:00:00+05:3",
        "2025-01-15T10:00:00%2B24:00",
        "2025-01-15T10:00:00%2B05:60",
        "2025-01-15T10:00:00ZZ",
        "2025-01-15T10:00:00Z%00",
        "2025-01-15T24:00:00Z",
        "2025-01-15T10:60:00Z",
        "2025-01-15T10:00:61Z",
        "1736935200",
        "%F0%9F%98%80",
    ];
    for since in refused {
        let answer = service.get(&format!("/messages?since={since}"));
        assert_eq!(answer.status, 422, "{since}");
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["query", "since"]), "{since}");
    }
}

#[test]
fn filters_combine_with_and() {
    let service = Service::start();
    for (id, from, ts, text) in [
        ("m1", "+1", "2025-01-01T00:00:00Z", "red apple"),
        ("m2", "+1", "2025-01-02T00:00:00Z", "green apple"),
        ("m3", "+2", "2025-01-02T00:00:00Z", "red apple"),
        ("m4", "+1", "2025-01-03T00:00:00Z", "red pear"),
        ("m5", "+1", "2025-01-04T00:00:00Z", "RED APPLE"),
    ] {
        service.store(&message_with(id, &json!({"from": from, "ts": ts, "text": text})));
    }
    let cases: [(&str, &[&str], u64); 6] = [
        ("from=%2B1&since=2025-01-02&q=apple", &["m2", "m5"], 2),
        ("from=%2B1&q=red", &["m1", "m4", "m5"], 3),
        ("from=%2B1&q=red&limit=1", &["m1"], 3),
        ("from=%2B1&q=red&limit=1&offset=2", &["m5"], 3),
        ("from=%2B1&q=red&offset=9", &[], 3),
        ("from=%2B2&q=pear", &[], 0),
    ];
    for (query, expected, total) in cases {
        let page = service.get(&format!("/messages?{query}"));
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page.json()["total"], total, "{query}");
    }
}

#[test]
fn a_query_that_is_not_utf_8_is_no_failure_of_the_service() {
    let service = store_at(&[("m1", "2025-01-15T10:00:00Z")]);
    for query in ["q=%FF", "q=%", "q=%4", "q=%zz", "from=%FF", "q=%ED%A0%80", "%FF=1", "=", "q", "q=a=b"] {
        let status = service.get(&format!("/messages?{query}")).status;
        assert!(status == 200 || status == 422, "{query}: {status}");
    }
}

#[test]
fn what_was_acknowledged_is_in_the_next_page() {
    let service = Service::start();
    let mut client = service.connect();
    for number in 1..=50 {
        let text = format!("needle{number:03}");
        service.store(&message_with(&text, &json!({"text": text})));
        assert_eq!(client.get("/messages?limit=1").json()["total"], number);
        assert_eq!(ids(&client.get(&format!("/messages?q={}", encode(&text)))), [text]);
    }
    // Whatever the service derives later on must not count a row twice.
    eventually("the ready probe answers", || (service.get("/health/ready").status == 200).then_some(()));
    assert_eq!(client.get("/messages?q=needle").json()["total"], 50);
}
