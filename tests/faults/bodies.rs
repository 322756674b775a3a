//! Bodies of WhatsApp on a disk that fills up: each is stored whole or answered with 503.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};

use crate::disk::{Disk, on};
use crate::fixtures::{eventually, sign};
use crate::http_client::{Address, Client};
use crate::load::{is_sound, turns_ready};
use crate::setup::Setup;

const APP_SECRET: &str = "test_app_secret";
const CLIENTS: usize = 4;
const MESSAGES: i64 = 100;

fn body(name: &str) -> String {
    let message = |number: i64| json!({"from": "14155550123", "id": format!("{name}-{number:03}"), "timestamp": "1749416383", "text": {"body": "Hello"}});
    let messages: Vec<Value> = (0..MESSAGES).map(message).collect();
    let value = json!({"metadata": {"display_phone_number": "14155550100"}, "messages": messages});
    json!({"entry": [{"changes": [{"value": value, "field": "messages"}]}]}).to_string()
}

/// Sends a body, and the next one when it was taken. Gives how many were.
fn deliver_until(
    stop: &AtomicBool,
    address: &Address,
    client: usize,
    [taken, refused]: [&AtomicUsize; 2],
) -> usize {
    let mut connection = Client::connect(address);
    let mut number = 0;
    while !stop.load(Relaxed) {
        let body = body(&format!("c{client}-{number:05}"));
        let signature = format!("sha256={}", sign(APP_SECRET, body.as_bytes()));
        let headers = [("X-Hub-Signature-256", signature.as_str())];
        let answer = connection.request("POST", "/whatsapp", &headers, Some(body.as_bytes()));
        match answer.status {
            200 => {
                taken.fetch_add(1, Relaxed);
                number += 1;
            }
            503 => {
                assert!(answer.header("Retry-After").is_some());
                refused.fetch_add(1, Relaxed);
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    number
}

#[test]
fn a_body_is_there_whole_or_was_answered_with_503_when_the_disk_is_full() {
    let setup = Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET);
    let Some(disk) = Disk::mount(&setup, "200m") else {
        return;
    };
    let service = on(setup, &disk.folder).start();
    let [taken, refused] = [const { AtomicUsize::new(0) }; 2];
    let stop = AtomicBool::new(false);
    let more = |count: &AtomicUsize, by: usize| {
        let before = count.load(Relaxed);
        eventually("it goes on", || (count.load(Relaxed) >= before + by).then_some(()));
    };
    let acknowledged = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (stop, address, counts) = (&stop, &service.address, [&taken, &refused]);
                scope.spawn(move || deliver_until(stop, address, client, counts))
            })
            .collect();
        for _ in 0..3 {
            more(&taken, 20);
            let ballast = disk.fill();
            more(&refused, 20);
            fs::remove_file(ballast).expect("the folder is ours");
        }
        more(&taken, 20);
        turns_ready(&service);
        stop.store(true, Relaxed);
        clients.into_iter().map(|client| client.join().expect("no panic")).collect::<Vec<_>>()
    });
    let service = service.kill().start();
    is_sound(&service);
    let database = service.database();
    for table in ["messages", "messages_items"] {
        for (client, acknowledged) in acknowledged.iter().enumerate() {
            let of_bodies = format!(
                "SELECT count(*) FROM {table} WHERE message_id GLOB 'c{client}-*' GROUP BY substr(message_id, 1, 8)"
            );
            let mut statement = database.prepare(&of_bodies).expect("SQL");
            let counts: Vec<i64> = statement
                .query_map([], |row| row.get(0))
                .expect("SQL")
                .map(|count| count.expect("SQL"))
                .collect();
            assert!(counts.iter().all(|count| *count == MESSAGES), "{table} {counts:?}");
            // All but one that was never answered with 200 were sent in order.
            assert!(
                [*acknowledged, acknowledged + 1].contains(&counts.len()),
                "{table} {acknowledged} {counts:?}"
            );
        }
    }
}
