//! Section 7: whoever takes all there is of something does not keep the others from it.

use crate::fixtures::{SECRET, eventually, message_with};
use crate::http_client::{Address, Client, request, signed_post};
use crate::service::Service;
use crate::setup::Setup;

const CONNECTIONS: usize = 20;
/// Another address of this machine.
const ELSEWHERE: &str = "127.0.0.2";

fn address(service: &Service) -> String {
    match &service.address {
        Address::Tcp(address) => address.clone(),
        Address::Unix(path) => panic!("not a Unix socket: {}", path.display()),
    }
}

#[test]
fn one_address_that_holds_every_connection_does_not_lock_the_others_out() {
    let service = Setup::new().with("MAX_CONNECTIONS", &CONNECTIONS.to_string()).start();
    let address = address(&service);
    let mut kept = Client::connect_from(ELSEWHERE, &address);
    kept.get("/health/ready").expect(200);
    // Each has begun a request, and none comes to its end.
    let mut hoard = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        let mut client = Client::connect(&service.address);
        // Those that find no place are told so, and may have gone before they hear it.
        drop(client.try_send(b"G"));
        hoard.push(client);
    }
    kept.get("/health/ready").expect(200);
    for _ in 0..CONNECTIONS {
        Client::connect_from(ELSEWHERE, &address).get("/health/ready").expect(200);
    }
    kept.get("/health/ready").expect(200);
}

#[test]
fn one_address_whose_requests_are_all_at_work_does_not_lock_the_others_out() {
    let service = Setup::new().with("MAX_CONNECTIONS", &CONNECTIONS.to_string()).start();
    let address = address(&service);
    // None of them can be committed for a while.
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").expect("it can be locked");
    let hoard: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = service.connect();
            client.send(&signed_post(SECRET, &message_with(&format!("m{number}"), &serde_json::json!({}))));
            client
        })
        .collect();
    for _ in 0..CONNECTIONS / 2 {
        Client::connect_from(ELSEWHERE, &address).get("/health/live").expect(200);
    }
    drop(hoard);
    drop(lock);
}

#[test]
fn answers_that_nobody_reads_do_not_keep_the_others_from_theirs() {
    let service = Service::start();
    let text = "long ".repeat(800);
    let clients: Vec<_> = (0..100)
        .map(|number| {
            signed_post(SECRET, &message_with(&format!("m{number}"), &serde_json::json!({"text": text})))
        })
        .collect();
    let mut client = service.connect();
    for post in clients {
        client.send(&post);
        client.receive().expect(200);
    }
    let address = address(&service);
    let ask = request("GET", "/messages?limit=100", &[], None);
    let mut unread = Vec::new();
    // As many answers as are kept, several times over.
    eventually("more answers than are kept are waiting", || {
        for _ in 0..20 {
            let mut client = service.connect();
            client.send(&ask);
            unread.push(client);
        }
        let mut asking = Client::connect_from(ELSEWHERE, &address);
        let metrics = asking.get("/metrics").text();
        let closed = metrics.lines().find_map(|line| {
            line.strip_prefix("connections_closed_total{cause=\"slow_reader\"} ")?.parse::<f64>().ok()
        });
        (closed > Some(0.0) || unread.len() > 2000).then_some(())
    });
    for _ in 0..20 {
        let answer = Client::connect_from(ELSEWHERE, &address).get("/messages?limit=100");
        assert_eq!(answer.expect(200).json()["total"], 100);
    }
}
