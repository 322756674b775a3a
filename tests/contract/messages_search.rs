//! Section 3: the parameter `q`, a substring under full case folding.

use serde_json::json;

use crate::fixtures::{ids, message_with};
use crate::http_client::encode;
use crate::service::Service;

/// A store whose rows m00, m01, … hold these texts.
fn store_of(texts: &[&str]) -> Service {
    let service = Service::start();
    for (number, text) in texts.iter().enumerate() {
        service.store(&message_with(&format!("m{number:02}"), &json!({"text": text})));
    }
    service
}

#[track_caller]
fn finds(service: &Service, q: &str, expected: &[usize]) {
    let page = service.get(&format!("/messages?q={}", encode(q)));
    let expected: Vec<_> = expected.iter().map(|number| format!("m{number:02}")).collect();
    assert_eq!(ids(&page), expected, "{q:?}");
    assert_eq!(page.json()["total"], expected.len(), "{q:?}");
}

#[test]
fn it_finds_a_substring_of_any_length_anywhere() {
    let service = store_of(&["Hello World", "help", "", "yellow", "world hello"]);
    service.store(&message_with("m05", &json!({"text": null})));
    let cases: [(&str, &[usize]); 10] = [
        ("hello", &[0, 4]),
        ("HELLO", &[0, 4]),
        ("ello", &[0, 3, 4]),
        ("el", &[0, 1, 3, 4]),
        ("w", &[0, 3, 4]),
        ("o w", &[0]),
        ("d h", &[4]),
        ("Hello World!", &[]),
        ("null", &[]),
        ("", &[0, 1, 2, 3, 4, 5]),
    ];
    for (q, expected) in cases {
        finds(&service, q, expected);
    }
    assert_eq!(ids(&service.get("/messages?q=o+w")), ["m00"], "a plus is a space, as in every form");
}

#[test]
fn case_is_folded_in_full_and_in_both_directions() {
    let pairs = [
        ("ÉCOLE", "école"),
        ("STRASSE", "straße"),
        ("STRASSE", "STRAẞE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ПРИВЕТ", "привет"),
        ("ﬃ", "FFI"),
        ("\u{212a}", "k"),
        ("ŉ", "ʼN"),
        ("ǅ", "ǆ"),
        ("İ", "i\u{307}"),
        ("ΐ", "ι\u{308}\u{301}"),
        ("և", "ԵՒ"),
        ("𐐀", "𐐨"),
        ("Ꭰ", "ꭰ"),
        ("\u{212b}", "\u{e5}"),
    ];
    for (one, other) in pairs {
        let service =
            store_of(&[one, other, &format!("before {one} after"), &format!("<{other}>"), "unrelated"]);
        finds(&service, one, &[0, 1, 2, 3]);
        finds(&service, other, &[0, 1, 2, 3]);
    }
}

#[test]
fn what_folding_holds_apart_stays_apart() {
    let service = store_of(&["ecole", "école", "I", "ı", "ij", "ĳ"]);
    finds(&service, "ecole", &[0]);
    finds(&service, "École", &[1]);
    finds(&service, "ı", &[3]);
    finds(&service, "IJ", &[4]);
    finds(&service, "Ĳ", &[5]);
}

#[test]
fn a_search_may_begin_inside_what_one_character_folds_to() {
    let service = store_of(&["Maß", "straße"]);
    finds(&service, "s", &[0, 1]);
    finds(&service, "SS", &[0, 1]);
    finds(&service, "as", &[0, 1]);
    finds(&service, "se", &[1]);
}

#[test]
fn characters_that_query_languages_reserve_are_ordinary() {
    let reserved = [
        "%",
        "_",
        "*",
        "?",
        "[",
        "]",
        "^",
        "\"",
        "'",
        "\\",
        "(",
        ")",
        "-",
        ":",
        "{",
        "}",
        "|",
        "&",
        "#",
        "+",
        "%%",
        "__",
        "''",
        "\"\"",
        "a%b",
        "a_b",
        "a*b",
        "\"a",
        "a'b",
        "%a%",
        "AND",
        "OR",
        "NOT",
        "NEAR(a)",
        "a*",
        "text:a",
        "^a",
        "a OR b",
        "a AND b",
        "; DROP TABLE messages",
        "\n",
        "\t",
    ];
    let texts: Vec<String> = reserved.iter().map(|part| format!("<<{part}>>")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let service = store_of(&texts);
    for q in reserved {
        let folded = q.to_lowercase();
        let expected: Vec<usize> =
            (0..texts.len()).filter(|&number| texts[number].to_lowercase().contains(&folded)).collect();
        finds(&service, q, &expected);
    }
    finds(&service, "%>>%", &[]);
    finds(&service, "<<_>>", &[1]);
}

#[test]
fn text_behind_a_null_character_is_found() {
    let service = store_of(&["before\0after", "before", "\0", "a\0"]);
    finds(&service, "after", &[0]);
    finds(&service, "e\0a", &[0]);
    finds(&service, "\0", &[0, 2, 3]);
    finds(&service, "A\0", &[3]);
    finds(&service, "BEFORE\0AFTER", &[0]);
}

#[test]
fn emoji_are_found_by_every_length() {
    let service = store_of(&["party 🎉", "🎉🎉🎉🎉", "👩‍👩‍👧", "plain"]);
    finds(&service, "🎉", &[0, 1]);
    finds(&service, "🎉🎉", &[1]);
    finds(&service, "🎉🎉🎉", &[1]);
    finds(&service, "🎉🎉🎉🎉🎉", &[]);
    finds(&service, "👩", &[2]);
    finds(&service, "\u{200d}👧", &[2]);
}

#[test]
fn the_longest_text_is_searched_to_its_end() {
    let long = format!("{}END", "😀".repeat(4093));
    let service = store_of(&[&long, "END"]);
    finds(&service, "😀😀end", &[0]);
    finds(&service, "end", &[0, 1]);
    finds(&service, &"😀".repeat(500), &[0]);
}
