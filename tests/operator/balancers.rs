//! Two real receivers stand behind one balancer, as scripts/proxies.md sets it up, and one of them fails in every way.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::{Balancer, caddy, haproxy, newer_caddy, nginx};
use crate::fixtures::{SECRET, SetOnDrop, eventually, message, sign};
use crate::http_client::Client;
use crate::recipes::{blocks, replaced};
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::has;
use crate::stub_receiver::{Stub, StubReceiver};
use crate::tools::run;

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
    eventually("senders are answered", || (answered.load(Relaxed) >= goal).then_some(()));
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
        eventually("both take messages", || {
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
        eventually("it cannot store any more", || (other.results("unavailable") > 0.0).then_some(()));
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
            eventually("it is asked", || (broken.posts() >= 3).then_some(()));
            // Each that it does not answer takes HAProxy five seconds.
            so_many_more(answered, if stub == Stub::Hang { 8 } else { 50 });
        });
        all_is_taken(&format!("{stub:?}"), &seen, &[&healthy]);
    }
}

/// What a balancer has to be besides: whom the log names, what is handed on, up to which size it is sent again.
fn it_is_one_address(start: fn([u16; 2]) -> Balancer, most: usize) {
    let ports = [free_port(), free_port()];
    let (healthy, broken) = (receiver(ports[0]).start(), StubReceiver::start(ports[1], Stub::Unavailable));
    let mut balancer = start(ports);
    let post = |balancer: &Balancer, path: &str, header: &str, body: &str| {
        let file = balancer.folder.path().join("body");
        std::fs::write(&file, body).expect("the folder is ours");
        let (data, signature) = (format!("@{}", file.display()), format!("{header}{}", sign_of(path, body)));
        let forged = ["-H", "X-Forwarded-For: 203.0.113.66", "-H", "Expect:", "-H", &signature];
        balancer.curl(path, &[&forged[..], &["--http1.1", "--data-binary", &data]].concat())
    };
    let (status, output) = post(&balancer, "/webhook", "X-Signature: ", &message("first").to_string());
    assert_eq!(status, 200, "{output:?}");
    let line = eventually("it is in the log", || {
        healthy.stdout.json().into_iter().find(|line| line["message_id"] == "first")
    });
    assert_eq!(line["client"], "127.0.0.2", "{line}");
    for path in ["/messages", "/stats", "/metrics", "/health/ready", "/", "/feed"] {
        assert_eq!(balancer.curl(path, &[]).0, 404, "{path}");
    }
    // A host that it does not have: whatever becomes of it, nobody is told that it was taken.
    let (status, output) =
        balancer.curl("/webhook", &["--http1.1", "-H", "Host: other.example", "--data-binary", "{}"]);
    assert!((400..600).contains(&status), "{output:?}");
    for size in [60_000, most] {
        let asked = broken.posts();
        let body = format!("{{\"letter\":\"{}\"}}", "a".repeat(size - 13));
        // Whom it asks first is its own business.
        eventually("the one that cannot is asked", || {
            let (status, output) = post(&balancer, "/whatsapp", "X-Hub-Signature-256: sha256=", &body);
            assert_eq!(status, 200, "{size}: {output:?}");
            (broken.posts() > asked).then_some(())
        });
    }
    // A balancer that is started again is there at once.
    balancer.run();
    let (status, output) = post(&balancer, "/webhook", "X-Signature: ", &message("again").to_string());
    assert_eq!(status, 200, "{output:?}");
    // Nobody is left but one that cannot store, and then nobody.
    drop(healthy);
    for _ in 0..4 {
        let (status, output) = post(&balancer, "/webhook", "X-Signature: ", &message("second").to_string());
        let said = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        let is_told = [502, 503, 504].contains(&status) && said.contains("\nretry-after: ");
        // No answer is what HAProxy has for a sender where its last try was on a connection that was there before.
        assert!(is_told || status == 0, "{output:?}");
    }
}

fn sign_of(path: &str, body: &str) -> String {
    // The secret of /webhook, and that of Meta.
    sign(if path == "/webhook" { SECRET } else { "secret" }, body.as_bytes())
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

#[test]
fn behind_haproxy_two_receivers_are_one_address() {
    if has(&["haproxy", "openssl", "curl"]) {
        it_is_one_address(haproxy, 112 << 10);
    }
}

#[test]
fn haproxy_takes_a_receiver_out_by_a_line_to_its_socket() {
    if !has(&["haproxy", "openssl", "curl", "socat"]) {
        return;
    }
    let ports = [free_port(), free_port()];
    let [one, two] = ports.map(|port| receiver(port).start());
    let balancer = haproxy(ports);
    both_are_back(&balancer, &[&one, &two]);
    let line = blocks("scripts/proxies.md", "sh").concat();
    let socket = balancer.folder.path().join("admin.sock").display().to_string();
    let line = replaced(&line, "/run/haproxy/admin.sock", &socket);
    let tell = |line: &str| {
        let told = run("sh", &["-c", line]);
        assert!(told.status.success() && told.stdout.trim_ascii().is_empty(), "{told:?}");
    };
    tell(&line);
    let before = one.results("created");
    let (seen, ()) = senders(&balancer, |answered| so_many_more(answered, 100));
    all_is_taken("one is drained", &seen, &[&one, &two]);
    assert!((one.results("created") - before).abs() < 0.5, "it was sent messages");
    tell(&replaced(&line, "drain", "ready"));
    both_are_back(&balancer, &[&one, &two]);
}

#[test]
fn behind_nginx_a_sender_sees_200_whatever_becomes_of_one_of_two_receivers() {
    if has(&["nginx", "openssl", "curl"]) {
        one_of_two_fails(nginx);
    }
}

#[test]
fn behind_nginx_a_sender_sees_200_however_one_of_two_receivers_breaks_off() {
    if has(&["nginx", "openssl", "curl"]) {
        one_of_two_breaks_off(nginx);
    }
}

#[test]
fn behind_nginx_two_receivers_are_one_address() {
    if has(&["nginx", "openssl", "curl"]) {
        it_is_one_address(nginx, 4 << 20);
    }
}

#[test]
fn behind_caddy_a_sender_sees_200_whatever_becomes_of_one_of_two_receivers() {
    if has(&[&newer_caddy(), "curl"]) {
        one_of_two_fails(caddy);
    }
}

#[test]
fn behind_caddy_a_sender_sees_200_however_one_of_two_receivers_breaks_off() {
    if has(&[&newer_caddy(), "curl"]) {
        one_of_two_breaks_off(caddy);
    }
}

#[test]
fn behind_caddy_two_receivers_are_one_address() {
    if has(&[&newer_caddy(), "curl"]) {
        it_is_one_address(caddy, 4 << 20);
    }
}
