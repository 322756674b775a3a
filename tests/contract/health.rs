//! Section 5: alive is not ready.

use serde_json::json;

use crate::fixtures::{eventually, message};
use crate::service::Service;
use crate::setup::Setup;

#[test]
fn a_service_with_a_secret_is_alive_and_ready() {
    let service = Service::start();
    assert_eq!(service.get("/health/live").expect(200).json(), json!({"status": "ok"}));
    assert_eq!(service.get("/health/ready").expect(200).json(), json!({"status": "ready"}));
}

#[test]
fn without_a_secret_it_says_why_it_is_not_ready() {
    let service = Setup::new().without("WEBHOOK_SECRET").start();
    assert_eq!(service.get("/health/live").expect(200).json(), json!({"status": "ok"}));
    let body = service.get("/health/ready").expect(503).json();
    assert_eq!(body["status"], "unavailable");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
}

#[test]
fn while_the_writer_cannot_commit_it_is_alive_and_not_ready() {
    let service = Service::start();
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = eventually("the locked database shows", || {
        let answer = service.get("/health/ready");
        (answer.status == 503).then(|| answer.json())
    });
    assert_eq!(refusal["status"], "unavailable");
    assert!(refusal["detail"].is_string(), "{refusal}");
    service.get("/health/live").expect(200);
    service.get("/messages").expect(200);

    lock.execute_batch("ROLLBACK").unwrap();
    eventually("it is ready again", || (service.get("/health/ready").status == 200).then_some(()));
    service.store(&message("m1"));
}

#[test]
fn a_probe_stores_nothing() {
    let service = Service::start();
    for _ in 0..5 {
        service.get("/health/ready").expect(200);
    }
    assert_eq!(service.get("/messages").json()["total"], 0);
    service.resulted("created", 0.0);
}
