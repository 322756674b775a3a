//! Section 14: items are exported, mapped again and compared, by commands beside a service or without one.

use serde_json::{Value, json};

use crate::fixtures::{ids, message};
use crate::setup::Setup;
use crate::whatsapp_bodies::{MAX_BYTES, body, body_of, deliver, status, text, texts, whatsapp};

/// What a command writes, line by line.
#[track_caller]
fn lines(setup: &mut Setup, arguments: &[&str]) -> Vec<Value> {
    let finished = setup.run(arguments);
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{arguments:?}");
    finished.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

#[test]
fn items_are_exported_as_they_came_in_the_order_they_came() {
    let mut service = whatsapp().start();
    let mut nobody = text("wamid.nobody");
    nobody.as_object_mut().unwrap().remove("from");
    deliver(&service, body("messages", "messages", &[text("wamid.1"), nobody])).expect(200);
    deliver(&service, body("messages", "statuses", &[status("wamid.2", "sent")])).expect(200);
    for unknown in [&b"no\njson"[..], b"\xff"] {
        deliver(&service, unknown).expect(200);
    }
    deliver(&service, "{\"entry\":[{\"changes\":[{\"field\":\"x\",\r\n\"value\":{}}]}]}").expect(200);
    let all = lines(service.setup(), &["export", "--whatsapp"]);
    let facts = |line: &Value| json!([line["kind"], line["id"], line["mapped"]]);
    let expected = [
        json!(["message", "wamid.1", true]),
        json!(["message", "wamid.nobody", false]),
        json!(["status", "wamid.2", null]),
        json!(["other", null, false]),
        json!(["other", null, false]),
        json!(["other", null, null]),
    ];
    assert_eq!(all.iter().map(facts).collect::<Vec<_>>(), expected);
    assert_eq!(all[0]["original"]["value"]["messages"], json!([text("wamid.1")]));
    assert_eq!(all[0]["original"]["value"]["contacts"][0]["wa_id"], "14155550123");
    assert_eq!((&all[3]["original_text"], &all[4]["original_base64"]), (&json!("no\njson"), &json!("/w==")));
    assert_eq!(all[5]["original"], json!({"field": "x", "value": {}}));
    let unmapped = lines(service.setup(), &["export", "--whatsapp", "--unmapped"]);
    assert_eq!(unmapped, [all[1].clone(), all[3].clone(), all[4].clone()]);
    let mut setup = service.stop();
    for wrong in [&["export", "--unmapped"][..], &["export", "--whatsapp", "--csv"]] {
        assert_eq!(setup.run(wrong).code, Some(64), "{wrong:?}");
    }
    assert_eq!(lines(&mut setup, &["export", "--whatsapp"]), all);
}

#[test]
fn a_store_that_never_saw_whatsapp_has_nothing_of_it() {
    let mut setup = Setup::new().start().stop();
    assert_eq!(lines(&mut setup, &["export", "--whatsapp"]), [] as [Value; 0]);
    let remapped = setup.run(&["remap"]);
    assert_eq!(remapped.code, Some(0));
    assert!(remapped.stderr.starts_with("0 items have become messages"), "{}", remapped.stderr);
    assert!(!setup.run(&["check"]).stdout.contains("whatsapp"));
}

#[test]
fn what_was_not_mapped_is_mapped_again_beside_a_service() {
    let mut service = whatsapp().start();
    deliver(&service, texts(&["wamid.1", "wamid.2"])).expect(200);
    // As an earlier version would have left them, that knew nothing of these: no rows, and one body whole.
    let database = service.database();
    let whole = texts(&["wamid.3", "wamid.4"]);
    database
        .execute_batch(
            "DELETE FROM messages; UPDATE messages_items SET mapping = 'unmapped'; \
             UPDATE messages_items SET original = 'not JSON any more' WHERE message_id = 'wamid.2'",
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO messages_items VALUES (NULL, x'00', x'00', 'other', NULL, 'unmapped', '2025', ?1)",
            [whole.as_bytes()],
        )
        .unwrap();
    for (code_and_line, total) in [
        ("1 items have become messages, 1 were split, 1 stay as they are\n", 3),
        ("0 items have become messages, 0 were split, 1 stay as they are\n", 3),
    ] {
        let remapped = service.setup().run(&["remap"]);
        assert_eq!((remapped.code, &*remapped.stderr), (Some(0), code_and_line));
        assert_eq!(service.get("/messages").json()["total"], total);
    }
    assert_eq!(ids(&service.get("/messages")), ["wamid.1", "wamid.3", "wamid.4"]);
    // What has taken its place expires when it would have.
    let came = "SELECT count(*) FROM messages_items WHERE message_id IN ('wamid.3', 'wamid.4') AND created_at = '2025'";
    assert_eq!(service.database().query_row(came, [], |row| row.get(0)), Ok(2));
    // What has taken the place of the whole body is known when it comes.
    let line = service.logged(deliver(&service, whole).expect(200));
    assert_eq!((&line["created"], &line["dup"]), (&json!(0), &json!(2)), "{line}");
}

#[test]
fn captured_bodies_are_taken_as_if_they_had_been_sent() {
    let mut service = whatsapp().start();
    deliver(&service, texts(&["wamid.1"])).expect(200);
    let captured =
        format!("{}\n\n{}\r\nnonsense\n[1]\n", texts(&["wamid.1"]), texts(&["wamid.2", "wamid.3"]));
    service.setup().file("bodies.ndjson", &captured);
    for said in ["2 items stored, 1 were there already", "0 items stored, 3 were there already"] {
        let remapped = service.setup().run(&["remap", "bodies.ndjson"]);
        assert_eq!(remapped.code, Some(65), "{}", remapped.stderr);
        for part in [said, "line 4: ", "line 5: ", "2 lines refused"] {
            assert!(remapped.stderr.contains(part), "{part}: {}", remapped.stderr);
        }
        assert!(!remapped.stderr.contains("wamid"));
    }
    assert_eq!(ids(&service.get("/messages")), ["wamid.1", "wamid.2", "wamid.3"]);
    let mut setup = service.stop();
    let from_stdin = setup.run_with_input(&["remap", "-"], texts(&["wamid.4"]).as_bytes());
    assert_eq!(from_stdin.code, Some(0), "{}", from_stdin.stderr);
    assert_eq!(lines(&mut setup, &["export", "--whatsapp"]).len(), 4);
    assert_eq!(setup.run(&["remap", "not-there"]).code, Some(69));
}

#[test]
fn a_check_misses_the_message_of_an_item_and_finds_damaged_ones() {
    let service = whatsapp().start();
    service.store(&message("m1"));
    deliver(&service, texts(&["wamid.1", "wamid.2", "wamid.3"])).expect(200);
    deliver(&service, body("messages", "statuses", &[status("wamid.9", "sent")])).expect(200);
    let mut setup = service.stop();
    let sound = setup.run(&["check"]);
    assert_eq!(sound.code, Some(0), "{}", sound.stdout);
    assert!(sound.stdout.contains("whatsapp: 4 items, 3 of them messages, 0 not mapped"), "{}", sound.stdout);
    for (change, said) in [
        ("DELETE FROM messages WHERE message_id = 'wamid.1'", "item 1: its message is not there"),
        ("UPDATE messages_items SET message_id = 'x' WHERE item = 2", "item 2: it is damaged"),
        (
            "UPDATE messages_items SET original = CAST(replace(original, 'Hello', 'Hallo') AS BLOB) WHERE item = 3",
            "item 3: it is damaged: it is not what came",
        ),
        ("UPDATE messages_items SET original = x'01' WHERE item = 4", "item 4: it is damaged"),
    ] {
        let database = crate::fixtures::open_database(&setup.path("app.db"));
        database.execute(change, []).unwrap();
        drop(database);
        let checked = setup.run(&["check"]);
        assert_eq!(checked.code, Some(1), "{change}");
        assert!(checked.stdout.contains(said), "{said}: {}", checked.stdout);
    }
}

#[test]
fn who_is_known_by_a_number_as_by_a_user_id_is_erased_by_either() {
    for erased in ["+14155550199", "US.777"] {
        let mut service = whatsapp().start();
        let mut both = text("wamid.both");
        (both["from"], both["from_user_id"]) = (json!("14155550199"), json!("US.777"));
        both["text"]["body"] = json!("zugzwang");
        deliver(&service, body("messages", "messages", &[both, text("wamid.other")])).expect(200);
        let done = service.setup().run(&["erase", "--sender", erased]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert_eq!(ids(&service.get("/messages")), ["wamid.other"], "{erased}");
        let mut setup = service.stop();
        let file = std::fs::read(setup.path("app.db")).unwrap();
        for left in ["zugzwang", "wamid.both", "US.777", "14155550199"] {
            assert!(!file.windows(left.len()).any(|part| part == left.as_bytes()), "{left} after {erased}");
        }
        assert_eq!(setup.run(&["check"]).code, Some(0));
    }
}

#[test]
fn what_an_erasure_has_overwritten_before_it_was_killed_is_no_damage_and_goes_with_the_next() {
    let service = whatsapp().start();
    for number in 0..20 {
        service
            .store(&crate::fixtures::message_with(&format!("m{number}"), &json!({"text": "walrus zebra"})));
    }
    deliver(&service, texts(&["wamid.1", "wamid.2"])).expect(200);
    // No JSON, and what was sent.
    deliver(&service, [0; 100]).expect(200);
    crate::plain::is_indexed(&service);
    let mut setup = service.stop();
    // What `erase` does first.
    setup
        .database()
        .execute_batch(
            "UPDATE messages SET text = printf('%.*c', octet_length(text), '0') WHERE message_id LIKE 'm%'; \
             UPDATE messages_items SET original = zeroblob(octet_length(original)), message_id = '0000000' WHERE message_id <> ''",
        )
        .unwrap();
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(checked.stdout.contains("run erase again"), "{}", checked.stdout);
    assert_eq!(setup.run(&["erase", "--sender", "+919876543210", "--sender", "+14155550123"]).code, Some(0));
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(checked.stdout.contains("whatsapp: 1 items"), "{}", checked.stdout);
}

#[test]
fn two_erasures_at_once_both_end_well() {
    for _ in 0..10 {
        let service = whatsapp().start();
        deliver(&service, texts(&["wamid.1", "wamid.2"])).expect(200);
        crate::plain::is_indexed(&service);
        let mut setup = service.stop();
        let both = [0, 1].map(|_| setup.command(&["erase", "--sender", "+14155550123"]).spawn().unwrap());
        for erasure in both {
            let output = erasure.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn to_map_again_takes_a_database_that_is_there_and_bodies_that_are_some() {
    let mut setup = whatsapp();
    assert_eq!(setup.run(&["remap"]).code, Some(69));
    assert!(!setup.path("app.db").exists());
    let service = setup.start();
    deliver(&service, texts(&["wamid.1"])).expect(200);
    let mut setup = service.stop();
    let exported = setup.run(&["export", "--whatsapp"]).stdout;
    let refused = setup.run_with_input(&["remap", "-"], exported.as_bytes());
    assert_eq!(refused.code, Some(65), "{}", refused.stderr);
    assert!(refused.stderr.starts_with("line 1: it is no body that WhatsApp sends"), "{}", refused.stderr);
    let longer = setup.run_with_input(&["remap", "-"], &body_of(MAX_BYTES + 1));
    assert!(longer.stderr.starts_with("line 1: it is longer than 4194304 bytes"), "{}", longer.stderr);
    assert_eq!(lines(&mut setup, &["export", "--whatsapp"]).len(), 1);
}

#[test]
fn who_reads_waits_for_a_database_that_is_being_made() {
    let mut setup = Setup::new().start().stop();
    let lock = std::fs::File::open(setup.path("app.db-lock")).unwrap();
    lock.lock().unwrap();
    let mut export = setup.command(&["export"]).spawn().unwrap();
    let has_opened = |folder: &str| {
        let opened = std::fs::read_dir(folder).into_iter().flatten().flatten();
        opened
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|file| file.ends_with("app.db-lock"))
    };
    let folder = format!("/proc/{}/fd", export.id());
    crate::fixtures::eventually("it looks at the lock, or has ended", || {
        (has_opened(&folder) || export.try_wait().unwrap().is_some()).then_some(())
    });
    drop(lock);
    assert_eq!(export.wait().unwrap().code(), Some(0));
}
