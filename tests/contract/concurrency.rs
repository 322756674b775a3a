//! Many clients at once: one row an id, exact numbers, whole snapshots.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::fixtures::{SetOnDrop, eventually, ids, message, message_with};
use crate::http_client::{Answer, Client};
use crate::service::Service;
use crate::setup::Setup;

fn post(client: &mut Client, message: &Value) -> Answer {
    client.post(message)
}

/// Runs this many clients, each on its own connection, all set off at one moment.
fn clients<T: Send>(service: &Service, count: usize, act: impl Fn(usize, &mut Client) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (act, barrier) = (&act, &barrier);
                scope.spawn(move || {
                    let mut client = service.connect();
                    barrier.wait();
                    act(number, &mut client)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    })
}

#[test]
fn of_64_clients_with_one_id_exactly_one_creates_it() {
    let service = Service::start();
    let answers = clients(&service, 64, |number, client| {
        let answer = post(client, &message_with("m1", &json!({"text": format!("from client {number}")})));
        assert_eq!(answer.expect(200).json(), json!({"status": "ok"}));
        answer
    });
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
    assert_eq!(service.get("/stats").json()["total_messages"], 1);
    service.resulted("created", 1.0);
    service.resulted("duplicate", 63.0);

    let lines: Vec<_> = answers.iter().map(|answer| service.logged(answer)).collect();
    let created: Vec<_> = lines.iter().filter(|line| line["dup"] == false).collect();
    assert_eq!(created.len(), 1);
    // The row is the one of the client that was told nothing else than the others, but logged as first.
    let first = lines.iter().position(|line| line["result"] == "created").unwrap();
    let text = service.get("/messages").json()["data"][0]["text"].clone();
    assert_eq!(text, format!("from client {first}"));
}

#[test]
fn ids_that_meet_in_one_batch_are_stored_once_each() {
    let service = Service::start();
    clients(&service, 32, |_, client| {
        for number in 0..20 {
            post(client, &message(&format!("m{number:02}"))).expect(200);
        }
    });
    let expected: Vec<_> = (0..20).map(|number| format!("m{number:02}")).collect();
    assert_eq!(ids(&service.get("/messages")), expected);
    service.resulted("created", 20.0);
    service.resulted("duplicate", 620.0);
}

#[test]
fn every_message_of_every_client_is_there() {
    let service = Service::start();
    clients(&service, 16, |client_number, client| {
        for number in 0..40 {
            let id = format!("client {client_number:02} m{number:02}");
            post(client, &message_with(&id, &json!({"from": format!("+{client_number}")}))).expect(200);
        }
    });
    assert_eq!(service.get("/messages").json()["total"], 640);
    let stats = service.get("/stats").json();
    assert_eq!(stats["senders_count"], 16);
    for row in stats["messages_per_sender"].as_array().unwrap() {
        assert_eq!(row["count"], 40);
    }
    let mut met = BTreeSet::new();
    let mut target = Some("/messages?limit=100".to_owned());
    while let Some(here) = target {
        let page = service.get(&here);
        met.extend(ids(&page));
        target = page.next_page();
    }
    assert_eq!(met.len(), 640);
}

#[test]
fn everybody_reads_what_they_have_written() {
    let service = Service::start();
    clients(&service, 8, |client_number, client| {
        let sender = format!("+{client_number}");
        for number in 1..=25_u64 {
            let text = format!("needle {client_number} {number};");
            let id = format!("{client_number}-{number}");
            post(client, &message_with(&id, &json!({"from": sender, "text": text}))).expect(200);
            let page = client.get(&format!("/messages?from={sender}&limit=1"));
            assert_eq!(page.expect(200).json()["total"], number);
            let found = client.get(&format!("/messages?q={}", text.replace(' ', "+").to_uppercase()));
            assert_eq!(ids(&found), [id]);
            let stats = client.get("/stats").json();
            let mine = stats["messages_per_sender"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["from"] == sender.as_str());
            assert_eq!(mine.unwrap()["count"], number);
        }
    });
}

#[test]
fn a_page_and_its_total_are_one_snapshot() {
    let service = Service::start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = service.connect();
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let answer = client.get("/messages?limit=100");
                        let rows = ids(&answer).len();
                        assert_eq!(answer.json()["total"], rows);
                        assert!(rows >= last, "rows do not vanish");
                        last = rows;
                        let stats = client.get("/stats").json();
                        let counts = stats["messages_per_sender"].as_array().unwrap().iter();
                        let sum: u64 = counts.map(|row| row["count"].as_u64().unwrap()).sum();
                        assert_eq!(stats["total_messages"], sum);
                        assert_eq!(stats["first_message_ts"].is_null(), sum == 0);
                    }
                })
            })
            .collect();
        let _done = SetOnDrop(&done);
        let mut client = service.connect();
        for number in 0..100 {
            let sender = format!("+{}", number % 5);
            post(&mut client, &message_with(&format!("m{number:02}"), &json!({"from": sender}))).expect(200);
            assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader has failed");
        }
    });
}

#[test]
fn what_a_stuck_writer_turns_away_can_be_sent_again() {
    let service = Setup::new().with("WORKERS", "4").start();
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers = clients(&service, 32, |number, client| {
        let answer = post(client, &message(&format!("m{number:02}")));
        assert!(answer.expect(503).header("Retry-After").is_some());
        answer.json()["detail"].is_string()
    });
    assert!(answers.into_iter().all(|told| told));
    assert_eq!(service.get("/messages").expect(200).json()["total"], 0);
    lock.execute_batch("ROLLBACK").unwrap();

    clients(&service, 32, |number, client| {
        let message = message(&format!("m{number:02}"));
        eventually("the retry is stored", || (post(client, &message).status == 200).then_some(()));
    });
    assert_eq!(service.get("/messages").json()["total"], 32);
    service.resulted("created", 32.0);
}

#[test]
fn more_clients_than_workers_are_all_served() {
    let service = Setup::new().with("WORKERS", "2").start();
    let answers = clients(&service, 100, |number, client| {
        let id = format!("m{number:02}");
        // Overload may be answered with 503, never with silence; whoever tries again gets through.
        eventually("the message is stored", || (post(client, &message(&id)).status == 200).then_some(()));
        client.get("/stats").json()["total_messages"].as_u64().unwrap()
    });
    assert_eq!(answers.into_iter().max(), Some(100));
}
