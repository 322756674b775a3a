//! Two real receivers stand behind one balancer, as scripts/proxies.md sets it up, and one of them fails in every way.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::{Balancer, haproxy};
use crate::fixtures::{SetOnDrop, message};
use crate::http_client::Client;
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::has;
use crate::stub_receiver::{Stub, StubReceiver};

const SENDERS: usize = 4;

/// What a sender has seen of one message.
#[derive(Debug)]
struct Seen {
    id: String,
    /// `Err` where there was no answer at all.
    status: Result<u16, String>,
    took: Duration,
}

/// A receiver as the page has it, at an address of its own.
fn receiver(port: u16) -> Setup {
    Setup::new()
        .with("LISTEN_ADDR", &format!("127.0.0.1:{port}"))
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .with("WHATSAPP_APP_SECRET", "secret")
}

/// Senders post without pause while `happen` does, and say what they have seen. It is told how often they were answered.
fn senders<T>(balancer: &Balancer, happen: impl FnOnce(&AtomicUsize) -> T) -> (Vec<Seen>, T) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (seen, answered, is_over) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    let happened = thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut client = Client::connect(&balancer.address());
                while !is_over.load(Relaxed) {
                    let id = format!("m{}", NEXT.fetch_add(1, Relaxed));
                    let began = Instant::now();
                    let answer = client.try_post(&message(&id));
                    let took = began.elapsed();
                    answered.fetch_add(1, Relaxed);
                    let is_closed =
                        answer.as_ref().map_or(true, |answer| answer.header("Connection") == Some("close"));
                    let status = answer.map(|answer| answer.status).map_err(|error| error.to_string());
                    seen.lock().expect("nobody panics").push(Seen { id, status, took });
                    if is_closed {
                        client = Client::connect(&balancer.address());
                    }
                }
            });
        }
        let _over = SetOnDrop(&is_over);
        happen(&answered)
    });
    (seen.into_inner().expect("nobody panics"), happened)
}

/// Until so many more were answered.
fn so_many_more(answered: &AtomicUsize, count: usize) {
    let goal = answered.load(Relaxed) + count;
    crate::fixtures::eventually("senders are answered", || (answered.load(Relaxed) >= goal).then_some(()));
}

/// Every message was answered 200, and is with one of these receivers.
#[track_caller]
fn all_is_taken(trouble: &str, seen: &[Seen], receivers: &[&Service]) {
    let slowest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    let not_taken: Vec<_> = seen.iter().filter(|seen| seen.status != Ok(200)).collect();
    // For scripts/proxies.md, and shown with --nocapture.
    eprintln!("{trouble}: {} messages, {} not taken, the slowest {slowest:?}", seen.len(), not_taken.len());
    assert!(not_taken.is_empty(), "{trouble}: {not_taken:#?}");
    let mut stored = HashSet::new();
    for receiver in receivers {
        let database = receiver.database();
        let mut statement = database.prepare("SELECT message_id FROM messages").expect("the table is there");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("the table can be read");
        stored.extend(rows.map(|id| id.expect("an id is text")));
    }
    let lost: Vec<_> = seen.iter().filter(|seen| !stored.contains(&seen.id)).collect();
    assert!(lost.is_empty(), "{trouble}: {lost:#?}");
}

/// Both take messages again.
fn both_are_back(balancer: &Balancer, receivers: &[&Service]) {
    let before: Vec<_> = receivers.iter().map(|receiver| receiver.results("created")).collect();
    let (seen, ()) = senders(balancer, |_| {
        crate::fixtures::eventually("both take messages", || {
            let taken = |(receiver, before): (&&Service, &f64)| receiver.results("created") > *before;
            receivers.iter().zip(&before).all(taken).then_some(())
        });
    });
    all_is_taken("both are there", &seen, receivers);
}

/// One of two real receivers is killed, stopped, restarted, hangs, and cannot write.
fn one_of_two_fails(start: fn([u16; 2]) -> Balancer) {
    let ports = [free_port(), free_port()];
    let healthy = receiver(ports[0]).start();
    let mut other = receiver(ports[1]).start();
    let balancer = start(ports);
    both_are_back(&balancer, &[&healthy, &other]);

    let (seen, down) = senders(&balancer, |answered| {
        let down = other.kill();
        so_many_more(answered, 400);
        down
    });
    other = down.start();
    all_is_taken("one is killed", &seen, &[&healthy, &other]);
    both_are_back(&balancer, &[&healthy, &other]);

    let (seen, mut other) = senders(&balancer, |answered| {
        let down = other.stop();
        so_many_more(answered, 200);
        let up = down.start();
        so_many_more(answered, 200);
        let up = up.restart();
        so_many_more(answered, 200);
        up
    });
    all_is_taken("one is stopped, started and restarted", &seen, &[&healthy, &other]);
    both_are_back(&balancer, &[&healthy, &other]);

    let (seen, ()) = senders(&balancer, |answered| {
        other.signal("STOP");
        so_many_more(answered, 400);
        other.signal("CONT");
        so_many_more(answered, 100);
    });
    all_is_taken("one hangs", &seen, &[&healthy, &other]);
    both_are_back(&balancer, &[&healthy, &other]);

    // As on a full disk: its files may not grow any more.
    let setup = other.stop().through_shell("ulimit -f 600; exec \"$0\" \"$@\"");
    other = setup.start();
    let (seen, ()) = senders(&balancer, |answered| {
        crate::fixtures::eventually("it cannot store any more", || {
            (other.results("unavailable") > 0.0).then_some(())
        });
        so_many_more(answered, 400);
    });
    all_is_taken("one has no room", &seen, &[&healthy, &other]);
}

/// One of two is a program that breaks every request off in some way, and says that it is ready.
fn one_of_two_breaks_off(start: fn([u16; 2]) -> Balancer) {
    for stub in [
        Stub::ResetBeforeReading,
        Stub::Reset,
        Stub::Close,
        Stub::HalfAnHeader,
        Stub::Unavailable,
        Stub::Hang,
    ] {
        let ports = [free_port(), free_port()];
        let (healthy, broken) = (receiver(ports[0]).start(), StubReceiver::start(ports[1], stub));
        let balancer = start(ports);
        let (seen, ()) = senders(&balancer, |answered| {
            crate::fixtures::eventually("it is asked", || (broken.posts() >= 3).then_some(()));
            so_many_more(answered, 50);
        });
        all_is_taken(&format!("{stub:?}"), &seen, &[&healthy]);
    }
}

#[test]
fn behind_haproxy_a_sender_sees_200_whatever_becomes_of_one_of_two_receivers() {
    if has(&["haproxy", "openssl", "curl"]) {
        one_of_two_fails(haproxy);
    }
}

#[test]
fn behind_haproxy_a_sender_sees_200_however_one_of_two_receivers_breaks_off() {
    if has(&["haproxy", "openssl", "curl"]) {
        one_of_two_breaks_off(haproxy);
    }
}
