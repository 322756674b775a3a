//! Bodies are split, and what comes out is compared with what went in: Meta's own, made ones, hostile ones.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whatsapp");

fn line(sample: &str, item: &Item) -> String {
    let shown = |text: &str| Value::from(text).to_string();
    let id = if item.id.is_some() { "id" } else { "no id" };
    let row = match &item.mapping {
        Mapping::Message(message) => {
            let text = message.text().map_or("null".to_owned(), |text| match text.chars().count() {
                count @ 301.. => {
                    format!("{}… ({count} characters)", shown(&text.chars().take(20).collect::<String>()))
                }
                _ => shown(text),
            });
            format!("{} | {} | {} | {text} | mapped", message.from(), message.to(), message.ts())
        }
        Mapping::NotAMessage => " | | | | none".to_owned(),
        Mapping::Unmapped => " | | | | unmapped".to_owned(),
    };
    format!("| {sample} | {} | {id} | {row} |", item.kind.label())
}

#[test]
fn each_sample_becomes_what_was_read_by_a_person() {
    let mut table = String::from(
        "# What each element of the samples became\n\n| sample | kind | id | from | to | ts | text | mapping |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut samples: Vec<_> =
        fs::read_dir(Path::new(SAMPLES).join("samples")).unwrap().map(|file| file.unwrap().path()).collect();
    samples.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    samples.sort();
    assert_eq!(samples.len(), 90);
    for path in samples {
        let body = fs::read(&path).unwrap();
        for item in split(&body).items {
            writeln!(table, "{}", line(path.file_stem().unwrap().to_str().unwrap(), &item)).unwrap();
            assert!(Json::read(&item.original).is_some());
            if let (Mapping::Message(first), Mapping::Message(again)) =
                (&item.mapping, map_again(&item.original))
            {
                assert_eq!(*first, again);
                assert_eq!(item.key.id, message_key(first.message_id()));
                assert!(names(&item.original, first.from()), "{path:?}");
            }
        }
    }
    let became = fs::read_to_string(Path::new(SAMPLES).join("became.md")).unwrap_or_default();
    assert_eq!(table, became, "\n{table}");
}

/// xorshift64*: the same bodies at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// In any order, with blanks.
    fn object(&mut self, mut members: Vec<String>) -> String {
        for at in (1..members.len()).rev() {
            members.swap(at, self.below(at + 1));
        }
        let blank = self.one_of(&["", " ", "\n\t"]);
        format!("{{{blank}{}{blank}}}", members.join(&format!("{blank},")))
    }

    fn array(&mut self, name: &str, elements: &[String]) -> String {
        let blank = self.one_of(&["", " ", "\r\n"]);
        format!("{name}{blank}:{blank}[{blank}{}{blank}]", elements.join(&format!("{blank},{blank}")))
    }
}

/// A body, and the elements that are in it.
fn body(random: &mut Dice) -> (String, Vec<String>) {
    let (mut all, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..random.below(4) {
        let mut members = Vec::new();
        let mut people = Vec::new();
        for _ in 0..random.below(4) {
            let name = random.one_of(&[
                "\"messages\"",
                "\"statuses\"",
                "\"messag\\u0065s\"",
                "\"errors\"",
                "\"new\\/\"",
                "\"\\ud800\"",
            ]);
            let count = random.below(4);
            let elements: Vec<_> = (0..count)
                .map(|_| {
                    let number = all.len();
                    let from = random.below(3);
                    people.push(from);
                    let element = match random.below(5) {
                        0 => format!("[{number}, {{}}]"),
                        1 => format!("\"{number}\\u00e9\\\"\""),
                        2 => format!("{{\"n\":{number}}}"),
                        _ => {
                            let members = vec![
                                format!("\"i\\u0064\":\"w{number}\""),
                                format!("\"from\":\"{from}\""),
                                "\"timestamp\":\"1\"".to_owned(),
                                "\"text\" : {\"body\":\"]}\\\"\"}".to_owned(),
                            ];
                            random.object(members)
                        }
                    };
                    all.push(element.clone());
                    element
                })
                .collect();
            members.push(random.array(name, &elements));
        }
        if random.below(2) == 0 {
            members.push("\"metadata\":{\"display_phone_number\":\"1\"}".to_owned());
        }
        if random.below(2) == 0 {
            let contacts: Vec<_> = (0..random.below(4)).map(|wa| format!("{{\"wa_id\":\"{wa}\"}}")).collect();
            members.push(random.array("\"contacts\"", &contacts));
        }
        if random.below(4) == 0 {
            members.push("\"left\":{\"behind\":1}".to_owned());
        }
        let value = random.object(members);
        let field = random.one_of(&["\"messages\"", "\"history\"", "7", "null"]);
        changes.push(random.object(vec![format!("\"value\":{value}"), format!("\"field\":{field}")]));
    }
    let changes = random.array("\"changes\"", &changes);
    let entry = random.object(vec!["\"id\":\"1\"".to_owned(), changes]);
    let entries = random.array("\"entry\"", &[entry]);
    (random.object(vec!["\"object\":\"x\"".to_owned(), entries]), all)
}

#[test]
fn every_element_comes_out_in_exactly_one_item_byte_for_byte() {
    let mut random = Dice(14);
    let mut seen = 0;
    for _ in 0..20_000 {
        let (body, mut elements) = body(&mut random);
        let delivery = split(body.as_bytes());
        assert!(!delivery.items.is_empty());
        let mut found = Vec::new();
        for item in &delivery.items {
            let original = Json::read(&item.original).unwrap();
            let value = original.get("value").into_iter().flat_map(Json::members);
            for array in value.filter(|member| member.name != "contacts" && member.value.is_array()) {
                found.extend(array.value.elements().map(|element| element.text().to_owned()));
            }
            let as_text = std::str::from_utf8(&item.original).unwrap();
            assert!(!item.kind.eq(&Kind::Message) || as_text.contains("\"field\":\"messages\""));
        }
        found.sort();
        elements.sort();
        seen += elements.len();
        assert_eq!(found, elements, "{body}");
        for left in ["left", "behind"] {
            let count = |text: &[u8]| String::from_utf8_lossy(text).matches(left).count();
            let kept: usize = delivery.items.iter().map(|item| count(&item.original)).sum();
            assert_eq!(kept, count(body.as_bytes()), "{body}");
        }
    }
    assert!(seen > 50_000, "{seen}");
}

#[test]
fn an_item_is_the_same_in_another_batch_and_not_under_another_field() {
    let element = r#"{"id":"w1","from":"1","timestamp":"1"}"#;
    let body = |field: &str, array: &str, contacts: &str| {
        format!(
            r#"{{"entry":[{{"changes":[{{"field":"{field}","value":{{"contacts":[{contacts}],"{array}":[{element}]}}}}]}}]}}"#
        )
    };
    let key = |body: &str| split(body.as_bytes()).items[0].key;
    let first = key(&body("messages", "messages", r#"{"wa_id":"1"}"#));
    assert_eq!(first, key(&body("messages", "messages", r#"{"wa_id":"1","name":"x"}"#)));
    assert_eq!(first.id, message_key("w1"));
    assert_ne!(first.id, key(&body("message_echoes", "message_echoes", "")).id);
    assert_ne!(first.id, key(&body("history", "messages", "")).id);
}

#[test]
fn a_contact_goes_with_its_message_and_others_stay_in_the_rest() {
    let body = br#"{"entry":[{"changes":[{"field":"messages","value":{"contacts":[{"wa_id":"+2"},{"wa_id":"3"},{"user_id":"US.1"}],
        "messages":[{"from":"2"},{"from_user_id":"US.1"},{"from":"9"}]}}]}]}"#;
    let originals: Vec<_> =
        split(body).items.into_iter().map(|item| String::from_utf8(item.original.into()).unwrap()).collect();
    let expected = [
        r#"{"value":{"contacts":[{"wa_id":"+2"}],"messages":[{"from":"2"}]},"field":"messages"}"#,
        r#"{"value":{"contacts":[{"user_id":"US.1"}],"messages":[{"from_user_id":"US.1"}]},"field":"messages"}"#,
        r#"{"value":{"messages":[{"from":"9"}]},"field":"messages"}"#,
        r#"{"value":{"contacts":[{"wa_id":"3"}]},"field":"messages"}"#,
    ];
    assert_eq!(originals, expected);
}

#[test]
fn what_is_of_no_known_shape_is_one_item_as_it_came() {
    for body in [
        &b""[..],
        b"\0",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"{\"entry\":{}}",
        b"{\"entry\":[]}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"{\"entry\":[1,]}",
        b"{\"entry\":[1,null,{}]}",
        b"{\"entry\":[{\"changes\":[]},{\"changes\":[{\"value\":[1]}]}],\"x\":1}",
    ] {
        let items = split(body).items;
        assert_eq!((items.len(), &*items[0].original), (1, body));
        assert!(matches!((items[0].kind, &items[0].mapping), (Kind::Other, Mapping::Unmapped)));
    }
    let template = br#"{"value":{"event":"APPROVED"},"field":"template"}"#;
    // Beside what is known, a part of a body.
    for part in ["1", "{}", "{\"changes\":[]}", "{\"changes\":[{\"value\":[1]}]}"] {
        let known = format!("{{\"changes\":[{}]}}", String::from_utf8_lossy(template));
        let items = split(format!("{{\"entry\":[{part},{known}]}}").as_bytes()).items;
        assert_eq!(items.len(), 2, "{part}");
        assert!(matches!(items[0].mapping, Mapping::Unmapped), "{part}");
    }
    let items = split(&[b"{\"entry\":[{\"changes\":[", &template[..], b"]}]}"].concat()).items;
    assert_eq!((items.len(), &*items[0].original), (1, &template[..]));
    assert!(matches!(items[0].mapping, Mapping::NotAMessage));
}

#[test]
fn hostile_bodies_are_bounded() {
    let value = |value: &str| {
        format!("{{\"entry\":[{{\"changes\":[{{\"value\":{{{value}}},\"field\":\"messages\"}}]}}]}}")
    };
    let bound = |body: &str| {
        let items = split(body.as_bytes()).items;
        let bytes: usize = items.iter().map(|item| item.original.len()).sum();
        assert!(items.len() <= 131_073 && bytes <= 33 << 20, "{} items, {bytes} bytes", items.len());
        items
    };
    assert_eq!(bound(&"[".repeat(4 << 20)).len(), 1);
    assert_eq!(bound(&value(&format!("\"messages\":[{}1]", "1,".repeat(99_999)))).len(), 100_000);
    assert_eq!(bound(&value(&format!("\"messages\":[{}1]", "1,".repeat(1 << 20)))).len(), 1, "kept whole");
    let contacts =
        format!("\"contacts\":[{}{{}}],\"messages\":[{{\"from\":\"1\"}}]", "{},".repeat(1_000_000));
    assert_eq!(bound(&value(&contacts)).len(), 2);
    // The number is the business's whether the metadata is repeated or not.
    let message = r#"{"id":"m","from":"1","timestamp":"1"}"#;
    for (bytes, elements, is_repeated) in [(20_000, 50, true), (1 << 20, 3, true), (1 << 20, 9, false)] {
        let metadata = format!(r#""metadata":{{"display_phone_number":"2","x":"{}"}}"#, "x".repeat(bytes));
        let messages = vec![message; elements].join(",");
        let items = bound(&value(&format!("{metadata},\"messages\":[{messages}]")));
        assert_eq!(items.len(), elements + usize::from(!is_repeated), "{bytes} {elements}");
        assert_eq!(items[0].original.len() > bytes, is_repeated, "{bytes} {elements}");
        let Mapping::Message(message) = &items[0].mapping else { panic!("a message") };
        assert_eq!(message.to(), "+2", "{bytes} {elements}");
    }
    let digits = "9".repeat(5000);
    let numbers = format!("\"messages\":[{{\"id\":\"m\",\"from\":{digits},\"timestamp\":{digits}}}]");
    assert!(matches!(bound(&value(&numbers))[0].mapping, Mapping::Unmapped));
    let text = format!(
        "\"messages\":[{{\"id\":\"m\",\"from\":\"1\",\"timestamp\":\"1\",\"text\":{{\"body\":\"{}\"}}}}]",
        "é".repeat(3 << 19)
    );
    let Mapping::Message(message) = &bound(&value(&text))[0].mapping else { panic!("a message") };
    assert_eq!(message.text().map(|text| text.chars().count()), Some(4096));
}

#[test]
fn only_routine_statuses_may_be_dropped() {
    let mut routine = HashMap::new();
    for status in ["sent", "delivered", "read", "failed", "played", "deleted", "warning"] {
        let body = format!(
            r#"{{"entry":[{{"changes":[{{"field":"messages","value":{{"statuses":[{{"id":"w","status":"{status}"}}]}}}}]}}]}}"#
        );
        *routine.entry(split(body.as_bytes()).items[0].is_routine_status()).or_insert(0) += 1;
    }
    assert_eq!((routine[&true], routine[&false]), (4, 3));
}
