//! Section 2 again: which bodies are refused with 422, and that the answer names every fault in FastAPI's shape.

use serde_json::{Value, json};

use crate::fixtures::{message, message_with};
use crate::service::Service;

/// Every fault of an answer as (type, loc), after checking the shape that all of them share.
#[track_caller]
pub(crate) fn faults(service: &Service, body: &[u8]) -> Vec<(String, Value)> {
    let answer = service.post_bytes(body);
    let detail = answer.expect(422).json()["detail"].clone();
    let mut faults: Vec<(String, Value)> = detail
        .as_array()
        .expect("detail is an array")
        .iter()
        .map(|fault| {
            assert!(fault["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{fault}");
            (fault["type"].as_str().expect("type is a string").to_owned(), fault["loc"].clone())
        })
        .collect();
    faults.sort_by_key(|(_, loc)| loc.to_string());
    faults
}

/// The fields that were refused, whatever the reason given.
#[track_caller]
fn refused_fields(service: &Service, message: &Value) -> Vec<String> {
    let faults = faults(service, message.to_string().as_bytes());
    faults.into_iter().map(|(_, loc)| loc[1].as_str().expect("loc names a field").to_owned()).collect()
}

#[test]
fn each_fault_has_the_type_and_place_that_pydantic_gives_it() {
    let service = Service::start();
    let long = "x".repeat(4097);
    let cases = [
        (json!({"message_id": null}), "message_id", "string_type", "Input should be a valid string"),
        (json!({"message_id": 5}), "message_id", "string_type", "Input should be a valid string"),
        (json!({"message_id": true}), "message_id", "string_type", "Input should be a valid string"),
        (json!({"message_id": ["m1"]}), "message_id", "string_type", "Input should be a valid string"),
        (json!({"message_id": {}}), "message_id", "string_type", "Input should be a valid string"),
        (
            json!({"message_id": ""}),
            "message_id",
            "string_too_short",
            "String should have at least 1 character",
        ),
        (json!({"from": 919}), "from", "string_type", "Input should be a valid string"),
        (json!({"from": null}), "from", "string_type", "Input should be a valid string"),
        (json!({"to": 1.5}), "to", "string_type", "Input should be a valid string"),
        (json!({"ts": 1_736_935_200}), "ts", "string_type", "Input should be a valid string"),
        (json!({"ts": null}), "ts", "string_type", "Input should be a valid string"),
        (json!({"text": 5}), "text", "string_type", "Input should be a valid string"),
        (json!({"text": false}), "text", "string_type", "Input should be a valid string"),
        (json!({"text": {}}), "text", "string_type", "Input should be a valid string"),
        (json!({"text": long}), "text", "string_too_long", "String should have at most 4096 characters"),
    ];
    for (fields, field, kind, msg) in cases {
        let body = message_with("m1", &fields).to_string();
        let loc = json!(["body", field]);
        assert_eq!(faults(&service, body.as_bytes()), [(kind.to_owned(), loc)], "{fields}");
        let detail = service.post_bytes(body.as_bytes()).json();
        assert_eq!(detail["detail"][0]["msg"], msg, "{fields}");
    }
    assert_eq!(service.get("/messages").json()["total"], 0);
}

#[test]
fn a_missing_field_is_named() {
    let service = Service::start();
    for field in ["message_id", "from", "to", "ts"] {
        let mut body = message("m1");
        body.as_object_mut().unwrap().remove(field);
        let answer = service.post(&body);
        let detail = answer.expect(422).json()["detail"].clone();
        assert_eq!(detail.as_array().unwrap().len(), 1);
        assert_eq!(detail[0]["type"], "missing");
        assert_eq!(detail[0]["loc"], json!(["body", field]));
        assert_eq!(detail[0]["msg"], "Field required");
    }
}

#[test]
fn all_faults_are_named_in_one_answer() {
    let service = Service::start();
    let place = |field: &str| json!(["body", field]);
    let missing = |field: &str| ("missing".to_owned(), place(field));
    assert_eq!(
        faults(&service, b"{}"),
        [missing("from"), missing("message_id"), missing("to"), missing("ts")]
    );

    let all_wrong = json!({"message_id": "", "from": "x", "to": 5, "ts": "yesterday", "text": []});
    let found = faults(&service, all_wrong.to_string().as_bytes());
    let places: Vec<_> = found.iter().map(|(_, loc)| loc.clone()).collect();
    assert_eq!(places, ["from", "message_id", "text", "to", "ts"].map(place));
    assert_eq!(found[1].0, "string_too_short");
    assert_eq!(found[2].0, "string_type");
    assert_eq!(found[3].0, "string_type");
}

#[test]
fn faults_are_named_whatever_the_other_fields_hold() {
    let service = Service::start();
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let wrong = message_with("m1", &json!({"from": "nobody"})).to_string();
    for value in ["1e999", "-1e999", "1e-999", &"9".repeat(400), r#""\ud800""#, &nested] {
        let body = format!(r#"{{"extra":{value},{}"#, &wrong[1..]);
        let found = faults(&service, body.as_bytes());
        let places: Vec<_> = found.iter().map(|(_, loc)| loc.clone()).collect();
        assert_eq!(places, [json!(["body", "from"])], "{value}: {found:?}");
    }
    for value in ["1e999", &nested] {
        let body = message("@").to_string().replace("\"@\"", value);
        let expected = ("string_type".to_owned(), json!(["body", "message_id"]));
        assert_eq!(faults(&service, body.as_bytes()), [expected], "{value}");
    }
}

#[test]
fn names_of_the_columns_are_no_aliases() {
    let service = Service::start();
    let mut body = message_with("m1", &json!({"from_msisdn": "+1", "to_msisdn": "+2"}));
    body.as_object_mut().unwrap().remove("from");
    body.as_object_mut().unwrap().remove("to");
    assert_eq!(refused_fields(&service, &body), ["from", "to"]);
}

#[test]
fn what_is_not_json_is_json_invalid() {
    let service = Service::start();
    let valid = message("m1").to_string();
    let cases: [&[u8]; 13] = [
        b"{",
        b"not json",
        b"{'message_id':'m1'}",
        b"{\"message_id\":\"m1\",}",
        b"{} {}",
        b"{\"a\":01}",
        b"{\"a\":\"\x01\"}",
        b"{\"a\":\"\\x\"}",
        b"{\"a\":\"\xff\"}",
        b"\xc0\x80",
        b"{\"a\":1}\0",
        &valid.as_bytes()[..valid.len() - 1],
        &[valid.as_bytes(), b"x"].concat(),
    ];
    for body in cases {
        let found = faults(&service, body);
        assert_eq!(found.len(), 1, "{:?}", String::from_utf8_lossy(body));
        assert_eq!(found[0].0, "json_invalid", "{:?}", String::from_utf8_lossy(body));
        assert_eq!(found[0].1[0], "body", "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn what_is_no_object_is_refused_as_a_whole() {
    let service = Service::start();
    for body in ["[]", "null", "true", "5", "\"text\"", "[{\"message_id\":\"m1\"}]"] {
        let found = faults(&service, body.as_bytes());
        assert_eq!(found.len(), 1, "{body}");
        assert_eq!(found[0].1, json!(["body"]), "{body}");
    }
}

#[test]
fn an_empty_body_is_refused() {
    let service = Service::start();
    for body in ["", " ", "\r\n"] {
        let found = faults(&service, body.as_bytes());
        assert_eq!(found[0].1[0], "body", "{body:?}");
    }
}

#[test]
fn a_lone_surrogate_is_no_text() {
    let service = Service::start();
    for text in [r"\ud800", r"\udc00", r"\ud83d x", r"\ude00\ud83d"] {
        let body = message_with("m1", &json!({"text": "@"})).to_string().replace('@', text);
        let found = faults(&service, body.as_bytes());
        assert_eq!(found[0].1[0], "body", "{text}");
    }
}
