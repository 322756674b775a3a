//! System calls of the writer and of the readers that fail, for a while or now and then, in the midst of load.

use crate::fixtures::{eventually, message};
use crate::load::{Load, is_refused, is_sound, scaled, tells, turns_ready, turns_unready};
use crate::service::Service;
use crate::setup::Setup;
use crate::tracer::{Tracer, can_trace, path_text, start_traced};

/// Makes a call of the writer thread fail until it is seen to, and then lets it succeed again.
fn fails_for_a_while(fault: &str, file: Option<&str>) {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    let load = Load::start(&service);
    load.acknowledged_more(50);

    let call = fault.split(':').next().expect("a fault begins with its call");
    let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
    let file = file.map(|name| path_text(&service.path(name)));
    let mut options = vec!["-e", &trace, "-e", &inject];
    if let Some(file) = &file {
        options.extend(["-P", file]);
    }
    let tracer = Tracer::attach(&service, Some("writer"), &options);
    tracer.has_injected();
    load.refused_more(scaled(10, 100));
    turns_unready(&service);
    tells(&service, "degraded");
    tracer.detach();

    load.acknowledged_more(50);
    turns_ready(&service);
    tells(&service, "recovered");
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_of_its_batch() {
    fails_for_a_while("fdatasync:error=EIO", None);
}

#[test]
fn a_sync_that_finds_no_room_acknowledges_nothing_of_its_batch() {
    fails_for_a_while("fdatasync:error=ENOSPC", None);
}

#[test]
fn a_write_that_fails_acknowledges_nothing_of_its_batch() {
    fails_for_a_while("pwrite64:error=EIO", Some("app.db-wal"));
}

#[test]
fn a_write_that_finds_no_room_acknowledges_nothing_of_its_batch() {
    fails_for_a_while("pwrite64:error=ENOSPC", Some("app.db-wal"));
}

#[test]
fn a_file_system_that_turns_read_only_is_survived() {
    fails_for_a_while("pwrite64:error=EROFS", None);
}

/// Makes every n-th call of the writer fail: transactions fail at all their stages.
fn fails_now_and_then(faults: &[&str]) {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    let load = Load::start(&service);
    load.acknowledged_more(20);
    let faults: Vec<_> = faults.iter().map(|fault| format!("inject={fault}")).collect();
    let log = path_text(&service.path("app.db-wal"));
    // Of the log alone: what moves it into the file makes so many calls that each attempt would meet a fault.
    let mut options = vec!["-P", &log];
    options.extend(faults.iter().flat_map(|fault| ["-e", fault.as_str()]));
    let tracer = Tracer::attach(&service, Some("writer"), &options);
    for _ in 0..scaled(5, 100) {
        load.refused_more(1);
        load.acknowledged_more(1);
    }
    tracer.detach();
    load.acknowledged_more(20);
    turns_ready(&service);
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn syncs_that_fail_now_and_then_lose_nothing() {
    fails_now_and_then(&["fdatasync:error=EIO:when=2+5"]);
}

#[test]
fn writes_that_fail_now_and_then_lose_nothing() {
    fails_now_and_then(&["pwrite64:error=EIO:when=2+31"]);
}

#[test]
fn opening_again_that_fails_too_loses_nothing() {
    // Each failed sync throws the connection away; the calls that open a new one fail for a while as well.
    for fault in ["openat:error=EMFILE", "mmap:error=ENOMEM", "ftruncate:error=EIO"] {
        fails_with_the_sync(fault);
    }
}

fn fails_with_the_sync(fault: &str) {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    let load = Load::start(&service);
    load.acknowledged_more(20);
    let files = ["app.db", "app.db-wal", "app.db-shm"].map(|name| path_text(&service.path(name)));
    let inject = format!("inject={fault}:when=1..{}", scaled(3, 50));
    let mut options = vec!["-e", "inject=fdatasync:error=EIO:when=1..3", "-e", &inject];
    options.extend(files.iter().flat_map(|file| ["-P", file]));
    let tracer = Tracer::attach(&service, Some("writer"), &options);
    load.refused_more(10);
    // No attempt may be the last.
    load.acknowledged_more(20);
    tracer.detach();
    turns_ready(&service);
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn after_a_sync_that_failed_the_file_is_opened_anew() {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    service.post(&message("before")).expect(200);
    let options = ["-e", "trace=fdatasync,openat,sendto", "-e", "inject=fdatasync:error=EIO:when=1"];
    let tracer = Tracer::attach(&service, Some("writer"), &options);
    is_refused(&service, "m1");
    eventually("the message is taken", || (service.post(&message("m1")).status == 200).then_some(()));
    let seen = tracer.detach();
    // The file itself may be known by a descriptor that SQLite kept.
    let log = path_text(&service.path("app.db-wal"));
    let at = |what: &dyn Fn(&str) -> bool| seen.iter().position(|line| what(line));
    let failed = at(&|line| line.contains("(INJECTED)")).unwrap();
    let opened = at(&|line| line.starts_with("openat") && line.contains(&format!("\"{log}\",")));
    let synced = seen.iter().rposition(|line| line.starts_with("fdatasync") && line.ends_with("= 0"));
    assert!(opened.is_some_and(|opened| failed < opened && opened < synced.unwrap()), "{seen:#?}");
    is_sound(&service);
}

/// Few leave a descriptor.
const STARTS: usize = 5;

/// Makes a call fail for every thread of the service that concerns one of its files, so that queries are answered 503.
/// `None` where that cannot be done. SQLite keeps the descriptor of a connection that is closed while another holds a
/// lock, and gives it to the next one: a service whose start has left one is started once more.
fn queries_fail(fault: &str, name: &str) -> Option<(Service, Tracer)> {
    if !can_trace() {
        return None;
    }
    let mut service = Setup::new().start();
    for number in 0..20 {
        service.store(&message(&format!("m{number}")));
    }
    for _ in 0..STARTS {
        service = service.restart();
        let file = path_text(&service.path(name));
        let inject = format!("inject={fault}");
        let tracer = Tracer::attach(&service, None, &["-P", &file, "-e", &inject]);
        if service.get("/messages").status == 200 {
            tracer.detach();
            continue;
        }
        for target in ["/messages", "/stats", "/messages?q=hello", "/messages"] {
            service.get(target).expect(503);
        }
        return Some((service, tracer));
    }
    panic!("queries were answered behind each of {STARTS} starts");
}

fn queries_come_back(service: &Service, tracer: Tracer) {
    is_sound(service);
    tracer.detach();

    turns_ready(service);
    assert_eq!(service.get("/messages").expect(200).json()["total"], 20);
    assert_eq!(service.get("/stats").expect(200).json()["total_messages"], 20);
    service.store(&message("after"));
    assert_eq!(service.get("/messages").expect(200).json()["total"], 21);
    is_sound(service);
}

#[test]
fn queries_that_cannot_read_say_so() {
    if let Some((service, tracer)) = queries_fail("pread64:error=EIO", "app.db") {
        turns_unready(&service);
        queries_come_back(&service, tracer);
    }
}

#[test]
fn queries_that_cannot_open_the_file_say_so() {
    // Who asks whether it is ready may be served by a descriptor that SQLite has kept.
    if let Some((service, tracer)) = queries_fail("openat:error=EMFILE", "app.db") {
        queries_come_back(&service, tracer);
    }
}

#[test]
fn queries_that_cannot_open_the_log_say_so() {
    if let Some((service, tracer)) = queries_fail("openat:error=EIO", "app.db-wal") {
        turns_unready(&service);
        queries_come_back(&service, tracer);
    }
}

#[test]
fn a_start_that_the_machine_fails_is_refused_and_harms_nothing() {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    service.store(&message("m1"));
    // Killed, so that the next start has something to bring back.
    let mut setup = service.kill();
    for fault in [
        "openat:error=EIO",
        "openat:error=EACCES",
        "fdatasync:error=EIO",
        "pwrite64:error=EIO",
        "pread64:error=EIO",
    ] {
        let inject = format!("inject={fault}");
        let (file, log) = (path_text(&setup.path("app.db")), path_text(&setup.path("app.db-wal")));
        setup = start_traced(setup, &["-P", &file, "-P", &log, "-e", &inject]);
        setup.is_refused(69, &["app.db"]);
    }
    let service = setup.through_shell("exec \"$0\" \"$@\"").start();
    assert_eq!(service.get("/messages").expect(200).json()["total"], 1);
}
