//! Clients that take their time: each costs the service a descriptor, and never a thread.

use std::time::Duration;

use crate::fixtures::message_with;
use crate::footprint::store_large_page;
use crate::http_client::{request, signed_post};
use crate::row::{Report, Row, full_scale, scaled};
use crate::setup::Setup;
use crate::swarm::Swarm;

const SECOND: Duration = Duration::from_secs(1);

/// At full scale the service's own timeouts; otherwise short ones, so that they are seen to strike.
fn impatient(setup: Setup) -> Setup {
    if full_scale() {
        setup
    } else {
        setup.with("REQUEST_TIMEOUT_SECONDS", "1").with("IDLE_TIMEOUT_SECONDS", "1")
    }
}

/// Longer than the request timeout.
fn long_enough() -> Duration {
    scaled(18 * SECOND, 2 * SECOND)
}

#[test]
fn slow_headers_are_given_up() {
    Row::new("slow headers, a line a second").setup(impatient).attack(|service| {
        let count = scaled(5_000, 300);
        let mut swarm = Swarm::connect(service, count);
        swarm.each(|bee| {
            bee.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\n");
        });
        swarm.keep(long_enough(), scaled(SECOND, SECOND / 5), |bee| {
            bee.send(b"X-Slow: yes\r\n");
            bee.receive();
        });
        let all = swarm.all_close(20 * SECOND);
        let timed_out = swarm.answered(408);
        let mut report = Report::of(format!("{count} connections, {timed_out} answered 408"));
        report.expect(all && swarm.refused == 0, || {
            format!("{} of {count} were closed, {} not accepted", swarm.closed(), swarm.refused)
        });
        report
    });
}

#[test]
fn idle_connections_cost_little() {
    Row::new("idle connections, and idle after one request").setup(impatient).attack(|service| {
        let count = scaled(5_000, 300);
        let mut silent = Swarm::connect(service, count / 2);
        let mut kept = Swarm::connect(service, count - count / 2);
        let get = request("GET", "/health/live", &[], None);
        // Not all at once: this row is about connections that wait, not about a burst of probes.
        kept.each(|bee| {
            bee.send(&get);
            std::thread::sleep(Duration::from_micros(200));
        });
        kept.keep(scaled(10 * SECOND, SECOND), SECOND / 10, crate::swarm::Bee::receive);
        silent.receive();
        let answered = kept.answered(200);
        let mut report = Report::of(format!("{count} connections, half after one request"));
        report.expect(answered == kept.bees.len(), || format!("{answered} of {} answered", kept.bees.len()));
        report.expect(silent.refused + kept.refused == 0, || "connections were not accepted".to_owned());
        if !full_scale() {
            let all = silent.all_close(20 * SECOND) && kept.all_close(20 * SECOND);
            report.expect(all, || "the idle timeout passed and connections stayed open".to_owned());
        }
        report
    });
}

#[test]
fn slow_bodies_occupy_no_worker() {
    Row::new("slow bodies of 2 to 60 KB").setup(impatient).attack(|service| {
        let count = scaled(500, 150);
        let mut swarm = Swarm::connect(service, count);
        for (n, bee) in swarm.bees.iter_mut().enumerate() {
            let length = 2_000 + n * 58_000 / count;
            let head = format!(
                "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Signature: {}\r\nContent-Length: {length}\r\n\r\n",
                "ab".repeat(32)
            );
            bee.send(head.as_bytes());
            // All but the last second's worth, so that much is held for long.
            bee.send(&vec![b' '; length - 1_000]);
        }
        swarm.keep(long_enough(), SECOND / 5, |bee| {
            bee.send(b" ");
            bee.receive();
        });
        let all = swarm.all_close(20 * SECOND);
        let timed_out = swarm.answered(408);
        let mut report = Report::of(format!("{count} connections, {timed_out} answered 408"));
        report.expect(all && timed_out == count, || format!("only {timed_out} of {count} were answered 408"));
        report
    });
}

#[test]
fn bodies_one_byte_at_a_time_are_read_in_linear_time() {
    Row::new("bodies and trailers, one byte a segment").setup(impatient).attack(|service| {
        let count = scaled(100, 20);
        let mut swarm = Swarm::connect(service, count);
        swarm.each(|bee| {
            bee.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: ");
            bee.send(&[b'a'; 60_000]);
        });
        swarm.keep(scaled(10 * SECOND, SECOND), Duration::ZERO, |bee| {
            bee.send(b"a");
            bee.receive();
        });
        let sent: usize = swarm.bees.iter().map(|bee| bee.sent).sum();
        Report::of(format!("{count} connections, {} segments", sent.saturating_sub(count * 60_000)))
    });
}

#[test]
fn answers_that_nobody_reads_pile_up_nowhere() {
    Row::new("answers never read (/messages?limit=100 pipelined)")
        .setup(impatient)
        .prepare(store_large_page)
        .attack(|service| {
            let count = scaled(500, 120);
            let mut swarm = Swarm::connect(service, count);
            let requests = request("GET", "/messages?limit=100", &[], None).repeat(50);
            swarm.each(|bee| {
                bee.send(&requests);
            });
            std::thread::sleep(long_enough());
            Report::of(format!("{count} connections, 50 GETs each, pages of 2.4 MB"))
        });
}

#[test]
fn large_requests_and_pipelines_share_one_bound() {
    Row::new("16 KB pipelines and 60 KB bodies on every connection").setup(impatient).attack(|service| {
        let count = scaled(4_000, 600);
        let mut swarm = Swarm::connect(service, count);
        let text = "x".repeat(4_000);
        let post = signed_post(
            "another secret",
            &message_with("never-stored", &serde_json::json!({ "text": text })),
        );
        let pipeline = post.repeat(8);
        let whole = request("POST", "/webhook", &[("X-Signature", "00")], Some(&[b' '; 60_000]));
        let mut turn = 0;
        swarm.each(|bee| {
            turn += 1;
            // Half send many requests, half one large one of which the end is missing.
            let bytes = if turn % 2 == 0 { &pipeline[..] } else { &whole[..whole.len() - 1] };
            bee.send(bytes);
        });
        std::thread::sleep(scaled(5 * SECOND, SECOND));
        Report::of(format!("{count} connections"))
    });
}
