//! Floods: more requests or connections than anybody could want, as fast as they go.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::footprint::metrics;
use crate::http_client::request;
use crate::row::{Report, Row, full_scale, scaled};
use crate::service::Service;
use crate::swarm::{Swarm, connect};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_pipeline_that_is_never_read_stops_at_its_own_pace() {
    Row::new("one connection pipelining GETs, never reading")
        .setup(|setup| if full_scale() { setup } else { setup.with("REQUEST_TIMEOUT_SECONDS", "1") })
        .attack(|service| {
            let one = request("GET", "/health/live", &[], None);
            let block = one.repeat(1_000);
            let count = scaled(2_000_000, 200_000);
            let end = Instant::now() + scaled(Duration::from_secs(60), Duration::from_secs(3));
            let (mut sent, mut connections) = (0, 0);
            while sent < count * one.len() && Instant::now() < end {
                let Ok(mut stream) = connect(service) else { break };
                connections += 1;
                stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
                // Until the service hangs up on a client that does not read.
                while let Ok(taken) = stream.write(&block) {
                    sent += taken;
                    if sent >= count * one.len() {
                        break;
                    }
                }
            }
            Report::of(format!("{} GETs, hung up on {connections} times", sent / one.len()))
        });
}

#[test]
fn a_pipeline_is_answered_to_its_end() {
    Row::new("one connection pipelining GETs, all answered").attack(|service| {
        let one = request("GET", "/health/live", &[], None);
        let count = scaled(2_000_000, 20_000);
        let block = one.repeat(1_000);
        let mut stream = connect(service).expect("the service accepts a connection");
        let mut writer = stream.try_clone().expect("a socket can be duplicated");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        let answered = std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..count / 1_000 {
                    if writer.write_all(&block).is_err() {
                        return;
                    }
                }
            });
            count_answers(&mut stream, count)
        });
        let mut report = Report::of(format!("{count} GETs"));
        report.expect(answered == count, || format!("{answered} of {count} answered"));
        report
    });
}

/// Answers with status 200 until there are so many of them, or no more come.
fn count_answers(stream: &mut impl Read, enough: usize) -> usize {
    const SIGN: &[u8] = b"HTTP/1.1 200";
    let (mut answered, mut kept) = (0, Vec::new());
    let mut buffer = [0; 64 << 10];
    while answered < enough {
        let Ok(count @ 1..) = stream.read(&mut buffer) else {
            break;
        };
        kept.extend_from_slice(&buffer[..count]);
        answered += kept.windows(SIGN.len()).filter(|window| *window == SIGN).count();
        // A sign that was cut in two is found with the next bytes.
        kept.drain(..kept.len().saturating_sub(SIGN.len() - 1));
    }
    answered
}

#[test]
fn connections_that_reset_at_once_leave_nothing() {
    Row::new("connect-and-reset storm").attack(|service| {
        let count = scaled(20_000, 2_000);
        let failed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for sender in 0..4 {
                let failed = &failed;
                scope.spawn(move || {
                    for n in 0..count / 4 {
                        match connect(service) {
                            // Some reset in silence, some in the middle of a request.
                            Ok(mut stream) if (n + sender) % 2 == 0 => {
                                drop(stream.write_all(b"POST /webhook HTTP/1.1\r\n"));
                            }
                            Ok(_) => {}
                            Err(_) => {
                                failed.fetch_add(1, Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let failed = failed.load(Relaxed);
        let mut report = Report::of(format!("{count} connections"));
        report.expect(failed == 0, || format!("{failed} connections were not accepted"));
        report
    });
}

#[test]
fn requests_whose_clients_are_gone_harm_nobody() {
    Row::new("requests whose clients reset before the answer").attack(|service| {
        let count = scaled(20_000, 2_000);
        let targets = ["/messages?limit=100", "/stats", "/metrics", "/health/ready", "/nowhere"];
        for n in 0..count {
            if let Ok(mut stream) = connect(service) {
                drop(stream.write_all(&request("GET", targets[n % targets.len()], &[], None)));
            }
        }
        let mut report = Report::of(format!("{count} requests"));
        let open = wait_until_alone(service);
        report.expect(open <= 5.0, || format!("{open} connections are still counted as open"));
        report
    });
}

/// The gauge of open connections, once it is down to the well-behaved ones and this one.
fn wait_until_alone(service: &Service) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let open = metrics(service, "http_connections ").first().map_or(f64::NAN, |(_, value)| *value);
        if open <= 5.0 || Instant::now() > deadline {
            return open;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn probes_in_a_burst_are_all_answered() {
    Row::new("a burst of one probe on each connection").attack(|service| {
        let count = scaled(5_000, 800);
        let mut swarm = Swarm::connect(service, count);
        let get = request("GET", "/health/live", &[], None);
        swarm.each(|bee| {
            bee.send(&get);
        });
        let end = Instant::now() + Duration::from_secs(20);
        while swarm.bees.iter().any(|bee| bee.status().is_none()) && Instant::now() < end {
            swarm.receive();
            std::thread::sleep(Duration::from_millis(10));
        }
        let (served, shed) = (swarm.answered(200), swarm.answered(503));
        let mut report = Report::of(format!("{count} probes: {served} 200, {shed} 503"));
        report.expect(served + shed == count, || format!("{served} + {shed} of {count} answered"));
        report
    });
}
