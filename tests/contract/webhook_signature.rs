//! Section 2: the forms of a signature that are accepted, and that it covers the raw bytes.

use serde_json::json;

use crate::fixtures::{SECRET, ids, message, sign};
use crate::service::Service;

#[test]
fn a_signature_is_accepted_in_these_forms_and_no_other() {
    let service = Service::start();
    let body = message("m1").to_string();
    let right = sign(SECRET, body.as_bytes());
    let upper = right.to_uppercase();
    let mixed: String =
        right.chars().enumerate().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
    let last_flipped = format!("{}{}", &right[..63], if right.ends_with('0') { '1' } else { '0' });
    let first_flipped = format!("{}{}", if right.starts_with('0') { '1' } else { '0' }, &right[1..]);

    let cases: Vec<(&str, Vec<String>, u16)> = vec![
        ("lower case", vec![right.clone()], 200),
        ("upper case", vec![upper.clone()], 200),
        ("mixed case", vec![mixed], 200),
        ("prefix", vec![format!("sha256={right}")], 200),
        ("prefix and upper case", vec![format!("sha256={upper}")], 200),
        ("missing", vec![], 401),
        ("empty", vec![String::new()], 401),
        ("prefix alone", vec!["sha256=".to_owned()], 401),
        ("two prefixes", vec![format!("sha256=sha256={right}")], 401),
        ("another prefix", vec![format!("sha1={right}")], 401),
        ("repeated", vec![right.clone(), right.clone()], 401),
        ("repeated, the first wrong", vec!["00".repeat(32), right.clone()], 401),
        ("repeated, the second wrong", vec![right.clone(), "00".repeat(32)], 401),
        ("two in one", vec![format!("{right}, {right}")], 401),
        ("not hex", vec!["zz".repeat(32)], 401),
        ("not ASCII", vec!["é".repeat(32)], 401),
        ("digits of another script", vec!["０".repeat(64)], 401),
        ("not hex at its end", vec![format!("{}g", &right[..63])], 401),
        ("a byte short", vec![right[..62].to_owned()], 401),
        ("a digit short", vec![right[..63].to_owned()], 401),
        ("a byte long", vec![format!("{right}00")], 401),
        ("twice as long", vec![format!("{right}{right}")], 401),
        ("the last digit wrong", vec![last_flipped], 401),
        ("the first digit wrong", vec![first_flipped], 401),
        ("with 0x", vec![format!("0x{right}")], 401),
        ("split by a space", vec![format!("{} {}", &right[..32], &right[32..])], 401),
        ("under another secret", vec![sign("another", body.as_bytes())], 401),
        ("under an empty secret", vec![sign("", body.as_bytes())], 401),
        ("of another body", vec![sign(SECRET, b"{}")], 401),
    ];
    for (case, values, status) in cases {
        let headers: Vec<_> = values.iter().map(|value| ("X-Signature", value.as_str())).collect();
        let answer = service.post_signed(&headers, body.as_bytes());
        assert_eq!(answer.status, status, "{case}");
        if status == 401 {
            assert_eq!(answer.json(), json!({"detail": "invalid signature"}), "{case}");
        }
    }
    service.post_signed(&[("x-signature", &right)], body.as_bytes()).expect(200);
    service
        .post_signed(&[("Content-Type", "text/plain"), ("X-SIGNATURE", &right)], body.as_bytes())
        .expect(200);
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn the_signature_covers_the_raw_bytes() {
    let service = Service::start();
    let spread =
        "\n{ \"message_id\" :\t\"m1\",\r\n\"from\":\"+1\",\"to\":\"+2\",\"ts\":\"2025-01-15T10:00:00Z\"}\n ";
    service.post_bytes(spread.as_bytes()).expect(200);
    let signature = sign(SECRET, spread.trim().as_bytes());
    service.post_signed(&[("X-Signature", &signature)], spread.as_bytes()).expect(401);
}
