//! Section 12: who waits for messages is answered as soon as there are some, and holds next to nothing meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::feed::{page, walk};
use crate::fixtures::{eventually, message};
use crate::http_client::Client;
use crate::service::Service;
use crate::setup::Setup;

/// What a request line ends with, and the one header that has to follow it.
const VERSION_AND_HOST: &str = "HTTP/1.1\r\nHost: x\r\n";

/// A connection on which a request waits.
fn waiter(service: &Service, query: &str) -> Client {
    let mut client = service.connect();
    client.send(format!("GET /feed?{query} {VERSION_AND_HOST}\r\n").as_bytes());
    client
}

fn wait_for_waiters(service: &Service, count: usize) {
    service.counted("feed_waiters", count as f64);
}

#[test]
fn a_waiter_is_answered_with_the_first_message_that_comes() {
    let service = Service::start();
    service.store(&message("before"));
    let (_, cursor) = walk(&service, "", 10);
    let mut client = waiter(&service, &format!("after={cursor}&wait=55&consumer=shell"));
    wait_for_waiters(&service, 1);
    assert_eq!(service.metric("http_requests_in_flight"), 1.0, "the scrape alone is at work");
    service.store(&message("m1"));
    let answer = client.receive();
    let (ids, next, more) = page(&answer);
    assert_eq!((ids, more), (vec!["m1".to_owned()], false));
    wait_for_waiters(&service, 0);
    // The connection stays, and what is there already is not waited for.
    client.send(format!("GET /feed?after={cursor}&wait=55 {VERSION_AND_HOST}\r\n").as_bytes());
    assert_eq!(page(&client.receive()).1, next);
    assert!(service.logged(&answer)["latency_ms"].as_f64().unwrap() < 55_000.0);
    assert_eq!(service.metric("http_requests_total{path=\"/feed\",status=\"200\"}"), 3.0);
}

#[test]
fn a_waiter_to_whom_nothing_comes_is_answered_when_its_time_is_over() {
    let service = Service::start();
    let (_, cursor, _) = page(&service.get("/feed?after=now"));
    let began = Instant::now();
    let answer = service.get(&format!("/feed?after={cursor}&wait=1"));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(page(&answer), (vec![], cursor, false));
    wait_for_waiters(&service, 0);
}

#[test]
fn a_duplicate_wakes_nobody_and_an_import_everybody() {
    let mut service = Service::start();
    service.store(&message("m1"));
    let mut client = waiter(&service, "after=now&wait=55");
    wait_for_waiters(&service, 1);
    service.store(&message("m1"));
    assert_eq!(service.metric("feed_waiters"), 1.0);
    let line = message("m2").to_string();
    assert_eq!(service.setup().run_with_input(&["import"], line.as_bytes()).code, Some(0));
    assert_eq!(page(&client.receive()).0, ["m2"]);
    // What others delete is no message.
    let mut client = waiter(&service, "after=now&wait=55");
    wait_for_waiters(&service, 1);
    service.database().execute("DELETE FROM messages WHERE message_id = 'm1'", []).unwrap();
    service.store(&message("m3"));
    assert_eq!(page(&client.receive()).0, ["m3"]);
}

#[test]
fn one_commit_wakes_a_thousand_each_with_its_own_answer() {
    let service = Service::start();
    let mut clients: Vec<Client> = (0..1000)
        .map(|number| {
            let mut client = service.connect();
            let limit = 1 + number % 3;
            let head = format!(
                "GET /feed?after=now&wait=55&limit={limit} {VERSION_AND_HOST}X-Request-ID: w{number}\r\n\r\n"
            );
            client.send(head.as_bytes());
            client
        })
        .collect();
    wait_for_waiters(&service, 1000);
    let text = "x".repeat(4096);
    let large = crate::fixtures::message_with("large", &serde_json::json!({"text": text}));
    service.store(&large);
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = client.receive();
        assert_eq!(answer.request_id(), format!("w{number}"));
        assert_eq!(page(&answer).0, ["large"]);
        assert_eq!(answer.json()["data"][0]["text"], text);
    }
    wait_for_waiters(&service, 0);
    assert_eq!(service.metric("http_requests_total{path=\"/feed\",status=\"200\"}"), 1000.0);
    eventually("none of it is held", || (service.metric("http_buffered_bytes") < 1e6).then_some(()));
}

#[test]
fn a_waiter_takes_no_thread() {
    let service = Setup::new().with("WORKERS", "1").start();
    let waiters: Vec<Client> = (0..100).map(|_| waiter(&service, "after=now&wait=55")).collect();
    wait_for_waiters(&service, 100);
    service.store(&message("m1"));
    service.get("/messages").expect(200);
    service.get("/stats").expect(200);
    for mut client in waiters {
        assert_eq!(page(&client.receive()).0, ["m1"]);
    }
}

#[test]
fn at_a_stop_everybody_is_answered_at_once_empty() {
    let mut service = Service::start();
    let (_, cursor, _) = page(&service.get("/feed?after=now"));
    let began = Instant::now();
    let mut clients: Vec<Client> =
        (0..50).map(|_| waiter(&service, &format!("after={cursor}&wait=55"))).collect();
    wait_for_waiters(&service, 50);
    service.signal("TERM");
    for client in &mut clients {
        let answer = client.receive();
        assert_eq!(answer.header("Connection"), Some("close"));
        assert_eq!(page(&answer), (vec![], cursor.clone(), false));
    }
    drop(clients);
    assert_eq!(service.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(55), "nobody was waited for");
}

#[test]
fn a_client_that_hangs_up_is_forgotten_and_one_that_only_stops_sending_is_answered() {
    let service = Service::start();
    let gone = waiter(&service, "after=now&wait=55");
    let mut half = waiter(&service, "after=now&wait=55");
    let mut stays = waiter(&service, "after=now&wait=55");
    wait_for_waiters(&service, 3);
    drop(gone);
    wait_for_waiters(&service, 2);
    half.finish_sending();
    assert_eq!(page(&half.receive()).0, [] as [&str; 0]);
    wait_for_waiters(&service, 1);
    // What is sent behind a request that waits is answered after it.
    stays.send(format!("GET /health/live {VERSION_AND_HOST}\r\n").as_bytes());
    assert_eq!(service.metric("feed_waiters"), 1.0);
    service.store(&message("m1"));
    assert_eq!(page(&stays.receive()).0, ["m1"]);
    assert_eq!(stays.receive().json(), serde_json::json!({"status": "ok"}));
    drop(stays);
    service.counted("http_connections", 1.0);
}

#[test]
fn a_waiter_gives_way_when_there_is_no_room_for_others() {
    let service = Setup::new().with("MAX_CONNECTIONS", "9").start();
    let (_, cursor, _) = page(&service.get("/feed?after=now"));
    let query = format!("after={cursor}&wait=55");
    let mut clients: Vec<Client> = (0..8).map(|_| waiter(&service, &query)).collect();
    wait_for_waiters(&service, 8);
    // Already accepted, so that what it asks comes before the next one does.
    let mut last = service.connect();
    last.get("/feed?after=now").expect(200);
    last.send(format!("GET /feed?{query} {VERSION_AND_HOST}\r\n").as_bytes());
    clients.push(last);
    // For this one somebody who waits has to go, and is answered.
    let mut newcomer = service.connect();
    newcomer.get("/feed?after=now").expect(200);
    newcomer.post(&message("m1")).expect(200);
    let answers: Vec<_> = clients.iter_mut().map(Client::receive).collect();
    let gone: Vec<_> = answers.iter().filter(|answer| page(answer).0.is_empty()).collect();
    assert_eq!((gone.len(), gone[0].header("Connection")), (1, Some("close")));
    assert!(answers.iter().filter(|answer| page(answer).0 == ["m1"]).count() == 8);
}

#[test]
fn what_came_before_it_waited_is_not_missed() {
    let service = Service::start();
    let (mut cursor, mut seen): (String, Vec<Value>) = (String::new(), Vec::new());
    let mut reader = service.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = service.connect();
            for number in 0..400 {
                client.post(&message(&format!("m{number}"))).expect(200);
            }
        });
        while seen.len() < 400 {
            let answer = reader.get(&format!("/feed?after={cursor}&wait=55&limit=7"));
            let page = answer.expect(200).json();
            cursor = page["cursor"].as_str().unwrap().to_owned();
            seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["message_id"].clone()));
        }
    });
    let expected: Vec<String> = (0..400).map(|number| format!("m{number}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn thousands_who_are_woken_ask_again_at_once_and_none_is_turned_away() {
    const WAITERS: usize = 3000;
    let service = Setup::new().with("MAX_CONNECTIONS", "4000").start();
    let mut clients: Vec<Client> = (0..WAITERS).map(|_| waiter(&service, "after=now&wait=55")).collect();
    wait_for_waiters(&service, WAITERS);
    service.store(&message("m1"));
    for client in &mut clients {
        let (_, cursor, _) = page(&client.receive());
        client.send(format!("GET /feed?after={cursor}&wait=55 {VERSION_AND_HOST}\r\n").as_bytes());
    }
    wait_for_waiters(&service, WAITERS);
    service.store(&message("m2"));
    for client in &mut clients {
        assert_eq!(page(&client.receive()).0, ["m2"]);
    }
    // All of them in one moment.
    for client in &mut clients {
        client.send(format!("GET /feed?after=now&wait=55 {VERSION_AND_HOST}\r\n").as_bytes());
    }
    wait_for_waiters(&service, WAITERS);
    assert_eq!(service.metric("http_requests_shed_total{queue=\"feed\"}"), 0.0);
}

#[test]
fn the_feed_is_read_while_searches_have_every_thread_of_queries() {
    let service = crate::plain::older_file(60_000).start();
    let searches: Vec<Client> = (0..12)
        .map(|number| {
            let mut client = service.connect();
            client
                .send(format!("GET /messages?q=nothing+of+this+{number} {VERSION_AND_HOST}\r\n").as_bytes());
            client
        })
        .collect();
    let queued = || service.metric("http_requests_queued{queue=\"read\"}");
    eventually("searches wait for a thread", || (queued() > 5.0).then_some(()));
    let (mut client, mut cursor) = (service.connect(), String::new());
    for _ in 0..10 {
        let (ids, next, _) = page(&client.get(&format!("/feed?limit=10&after={cursor}")));
        assert_eq!(ids.len(), 10);
        cursor = next;
    }
    assert!(queued() > 0.0, "it has waited for the searches");
    drop(searches);
}
