//! Another process that holds the database: refusals while it does, and no trace of it afterwards.

use std::thread;
use std::time::Duration;

use crate::fixtures::{eventually, message};
use crate::load::{
    Load, everything_is_there, is_a_refusal, is_sound, scaled, tells, turns_ready, turns_unready,
};
use crate::service::Service;
use crate::setup::Setup;

/// How long the other process keeps what it has.
fn hold() {
    thread::sleep(scaled(Duration::ZERO, Duration::from_secs(30)));
}

fn is_locked_for_a_while(begin: &str) {
    let service = Service::start();
    let load = Load::start(&service);
    load.acknowledged_more(50);
    // Another process to SQLite's locks: nothing is shared with the service but the file.
    let other = service.database();
    other.execute_batch(begin).expect("the service lets others in");
    let why = turns_unready(&service);
    assert!(why.contains("locked"), "{why}");
    load.refused_more(4);
    hold();
    // Reading goes on, of what was there before.
    service.get("/messages").expect(200);
    service.get("/stats").expect(200);
    tells(&service, "degraded");
    other.execute_batch("ROLLBACK").expect("it was begun");

    load.acknowledged_more(50);
    turns_ready(&service);
    tells(&service, "recovered");
    is_sound(&service);
    drop(other);
    load.nothing_was_lost(service);
}

#[test]
fn a_database_that_another_process_writes_to_is_waited_for() {
    is_locked_for_a_while("BEGIN IMMEDIATE");
}

#[test]
fn a_database_that_another_process_holds_alone_is_waited_for() {
    is_locked_for_a_while("BEGIN EXCLUSIVE");
}

#[test]
fn a_reader_that_never_ends_holds_nobody_up() {
    let service = Service::start();
    let other = service.database();
    service.store(&message("m1"));
    other.execute_batch("BEGIN").unwrap();
    let count = || other.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1);
    let load = Load::start(&service);
    load.acknowledged_more(200);
    turns_ready(&service);
    assert_eq!(load.refused_so_far(), 0);
    assert_eq!(count(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    is_sound(&service);
    drop(other);
    load.nothing_was_lost(service);
}

#[test]
fn a_process_that_writes_too_shares_the_database() {
    let service = Service::start();
    let other = service.database();
    let load = Load::start(&service);
    for number in 0..50 {
        let insert = "INSERT INTO messages VALUES (?1, '+1', '+2', '2025-01-15T10:00:00Z', NULL, 'now')";
        other.execute(insert, [format!("of the other process {number}")]).unwrap();
    }
    load.acknowledged_more(50);
    let told = load.finish();
    everything_is_there(&service, &told.acknowledged);
    let others = service.get("/messages?from=%2B1").expect(200).json();
    assert_eq!(others["total"], 50);
    is_sound(&service);
}

#[test]
fn a_stop_while_the_database_is_locked_is_orderly() {
    let mut service = Service::start();
    service.store(&message("m1"));
    let other = service.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let address = service.address.clone();
    let waiting = thread::spawn(move || {
        let mut client = crate::http_client::Client::connect(&address);
        crate::load::post(&mut client, "m2", "Hello")
    });
    eventually("the message waits for the writer", || {
        (service.metric("http_requests_in_flight") >= 2.0).then_some(())
    });
    service.signal("TERM");
    is_a_refusal(&waiting.join().unwrap());
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_start_on_a_locked_database_is_refused() {
    let mut setup: Setup = Service::start().stop();
    let other = setup.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    setup.is_refused(75, &["app.db", "locked"]);
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let service = setup.start();
    turns_ready(&service);
}
