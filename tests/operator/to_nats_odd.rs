//! What no server takes as it is comes through `scripts/to-nats` in a documented way: ids that no header carries, messages
//! longer than a server's bound.

use serde_json::{Value, json};

use crate::fixtures::message_with;
use crate::nats_server::{NatsServer, Stored};
use crate::skip::has;
use crate::to_nats_refusals::{hand_on, lines};

fn line(id: &str, fields: &Value) -> String {
    format!("{}\n", message_with(id, fields))
}

#[test]
fn an_id_that_no_header_can_carry_is_hashed_there_and_whole_in_the_message() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let server = NatsServer::start();
    let long = "x".repeat(257);
    let plain = ["m1", "wamid.HBgLMTQxNTU1NTAxMjM=", "a:b,c;d\"e\\f", &long[1..]];
    let odd = [
        " m1",
        "m1 ",
        "m 1",
        "m1\r\nNats-Rollup: all",
        "m1\n",
        "\u{0}",
        "\u{e9}",
        "\u{1f600}",
        "\u{2028}",
        &long,
        // What looks like a header of the server's, or like such a hash.
        "Nats-Expected-Last-Sequence:99",
        "x\u{7f}",
        "sha256-2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ];
    let ids = [&plain[..], &odd].concat();
    for _ in 0..2 {
        hand_on(&lines(&ids), &[("NATS_URL", &server.url())]).with(0, "");
    }
    assert_eq!(server.ids("messages"), ids);
    let stored = server.messages("messages");
    let names: Vec<_> = stored.iter().filter_map(|stored| stored.header("Nats-Msg-Id")).collect();
    assert_eq!(names[..plain.len()], plain);
    for name in &names[plain.len()..] {
        assert!(name.starts_with("sha256-") && name.len() == 71, "{name}");
    }
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
    // As `webhook-id` of follow has it: the hash of the id in UTF-8.
    assert_eq!(
        names[plain.len() + 5],
        "sha256-6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
}

#[test]
fn a_message_that_is_too_long_for_the_server_is_there_without_its_longest_values_and_drags_nobody_along() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let server = NatsServer::start();
    // As deep as no parser of Python goes, and as long as an original can be.
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let original = format!("{{\"a\":\"{}\",\"b\":{deep}}}", "x".repeat(3_000_000));
    let with_original = |id: &str, original: &str| {
        let plain = line(id, &json!({}));
        format!("{},\"original\":{original},\"cursor\":\"c1\"}}\n", plain.trim_end().trim_end_matches('}'))
    };
    let huge = "h".repeat(2_000_000);
    let batch = [
        lines(&["m1"]),
        with_original("m2", &original),
        with_original("m3", &deep),
        line(&huge, &json!({"text": "\u{0}".repeat(4096)})),
        lines(&["m5"]),
    ]
    .concat();
    let url = server.url();
    let ended = hand_on(&batch, &[("NATS_URL", &url)]);
    ended.with(0, "2 messages were longer than the 1048576 bytes");
    let stored = server.messages("messages");
    let left_out: Vec<_> = stored.iter().map(|stored| stored.header("Lyftr-Left-Out")).collect();
    assert_eq!(left_out, [None, Some("original"), None, Some("message_id"), None]);
    let expected = message_with("m2", &json!({"cursor": "c1"}));
    assert_eq!(stored[1].json(), expected);
    assert_eq!(stored[2].payload, with_original("m3", &deep).trim_end());
    assert_eq!(
        Some(stored[3].json()["message_id"].as_str().unwrap_or_default()),
        stored[3].header("Nats-Msg-Id")
    );
    assert_eq!(stored[3].json()["text"], "\u{0}".repeat(4096));
    hand_on(&batch, &[("NATS_URL", &url)]).with(0, "");
    assert_eq!(server.messages("messages").len(), 5);

    // A stream may have a bound of its own; one that no message fits is a wrong setting, and nothing is confirmed.
    for (most, code) in [(2000, 0), (100, 78)] {
        let (name, subject) = (format!("small{most}"), format!("small{most}"));
        let config = json!({"name": name, "subjects": [subject], "storage": "file", "max_msg_size": most});
        server.ask(&format!("STREAM.CREATE.{name}"), &config);
        hand_on(&batch, &[("NATS_URL", &url), ("NATS_STREAM", &name)]).with(code, &format!("{most} bytes"));
    }
    let small: Vec<Stored> = server.messages("small2000");
    let left_out: Vec<_> = small.iter().map(|stored| stored.header("Lyftr-Left-Out")).collect();
    assert_eq!(left_out, [None, Some("original"), Some("original"), Some("message_id,text"), None]);
}
