//! The process suspended and woken again, as a laptop that sleeps or a machine that is migrated does to it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::fixtures::{SECRET, eventually, message};
use crate::http_client::{request, signed_post};
use crate::load::{Load, is_sound, scaled, turns_ready};
use crate::service::Service;
use crate::setup::Setup;
use crate::tracer::{Tracer, can_trace};

pub(crate) fn suspend(service: &Service) {
    service.signal("STOP");
    let pid = service.pid();
    eventually("every thread has stopped", || {
        let stopped = |thread: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status"));
            status.is_ok_and(|status| status.contains("State:\tT"))
        };
        crate::tracer::threads(pid).iter().all(stopped).then_some(())
    });
}

/// Longer than any deadline that the service is started with here.
fn sleep_long() {
    thread::sleep(scaled(Duration::from_millis(3500), Duration::from_secs(60)));
}

#[test]
fn requests_under_way_survive_a_suspension() {
    let service = Setup::new().with("REQUEST_TIMEOUT_SECONDS", "3").with("IDLE_TIMEOUT_SECONDS", "3").start();
    let post = signed_post(SECRET, &message("m1"));
    let mut idle = service.connect();
    idle.get("/health/live").expect(200);
    // The last thing before it sleeps: its time is short.
    let mut half = service.connect();
    half.send(&post[..post.len() / 2]);
    suspend(&service);
    half.send(&post[post.len() / 2..]);
    idle.send(&request("GET", "/health/live", &[], None));
    let mut new = service.connect();
    new.send(&request("GET", "/health/live", &[], None));
    sleep_long();
    service.signal("CONT");

    // What arrived while it slept arrived in time: nobody is punished for the machine's sleep.
    half.receive().expect(200);
    idle.receive().expect(200);
    new.receive().expect(200);
    turns_ready(&service);
    is_sound(&service);
}

/// As a suspension does it that begins between the wait and a look at the clock.
#[test]
fn what_arrives_while_the_reactor_is_held_up_behind_its_wait_is_in_time() {
    if !can_trace() {
        return;
    }
    let service = Setup::new().with("REQUEST_TIMEOUT_SECONDS", "3").with("IDLE_TIMEOUT_SECONDS", "3").start();
    let post = signed_post(SECRET, &message("m1"));
    let mut idle = service.connect();
    idle.get("/health/live").expect(200);
    let mut half = service.connect();
    half.send(&post[..post.len() / 2]);
    let waits = "epoll_wait,epoll_pwait,epoll_pwait2";
    let (seen, held_up) = (format!("trace={waits}"), format!("inject={waits}:delay_exit=4000000:when=1"));
    let tracer = Tracer::attach(&service, Some("reactor"), &["-e", &seen, "-e", &held_up]);
    eventually("a wait has ended with nothing", || {
        tracer.seen().iter().any(|line| line.contains("= 0 (DELAYED)")).then_some(())
    });
    half.send(&post[post.len() / 2..]);
    idle.send(&request("GET", "/health/live", &[], None));
    half.receive().expect(200);
    idle.receive().expect(200);
    tracer.detach();
    is_sound(&service);
}

#[test]
fn load_goes_on_after_a_suspension() {
    let service = Service::start();
    let load = Load::start(&service);
    for _ in 0..scaled(5, 20) {
        load.acknowledged_more(20);
        suspend(&service);
        thread::sleep(Duration::from_millis(50));
        service.signal("CONT");
    }
    load.acknowledged_more(20);
    turns_ready(&service);
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn an_accept_loop_that_is_stuck_is_noticed() {
    if !can_trace() {
        return;
    }
    let service = Setup::new().with("WATCHDOG_USEC", "1800000").with("LOG_LEVEL", "DEBUG").start();
    let stuck = || service.stdout.json().iter().filter(|line| line["event"] == "stuck").count();
    let waits = "epoll_wait,epoll_pwait,epoll_pwait2";
    let (seen, held_up) = (format!("trace={waits}"), format!("inject={waits}:delay_enter=3000000"));
    let tracer = Tracer::attach(&service, Some("reactor"), &["-e", &seen, "-e", &held_up]);
    eventually("it is found to be stuck", || (stuck() == 1).then_some(()));
    assert_eq!(
        service.stdout.json().iter().find(|line| line["event"] == "stuck").map(|line| line["what"].clone()),
        Some("no connection is accepted".into())
    );
    tracer.detach();
    service.store(&message("m1"));
    eventually("the watchdog is answered", || {
        let lines = service.stdout.json();
        let is_answer = |line: &serde_json::Value| {
            line["request_id"].as_str().is_some_and(|id| id.starts_with("watchdog-"))
        };
        lines.iter().rev().find(|line| is_answer(line)).map(drop)
    });
}
