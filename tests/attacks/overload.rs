//! More work than there is time for: every request is answered, by 200 or by 503, and nobody waits
//! in silence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::fixtures::{SECRET, SetOnDrop, message};
use crate::http_client::{Client, request, signed_post};
use crate::row::{Report, Row, scaled};
use crate::service::Service;
use crate::swarm::{Bee, Swarm, status_of};

const SECOND: Duration = Duration::from_secs(1);

/// A connection that sends its next request as soon as the last one is answered.
struct Sender {
    bee: Bee,
    /// What is being sent, and how much of it has been.
    sending: Vec<u8>,
    sent: usize,
    waiting: bool,
    count: usize,
}

/// What became of the requests of one swarm.
#[derive(Debug, Default)]
struct Account {
    sent: u64,
    answered: BTreeMap<u16, u64>,
    unanswered: u64,
}

impl Account {
    fn of(&self, status: u16) -> u64 {
        self.answered.get(&status).copied().unwrap_or(0)
    }
}

/// Drives every connection at full speed for so long, then waits for what is on its way.
fn drive(service: &Service, count: usize, time: Duration, make: impl Fn(usize, usize) -> Vec<u8>) -> Account {
    let swarm = Swarm::connect(service, count);
    let mut senders: Vec<Sender> = swarm
        .bees
        .into_iter()
        .map(|bee| Sender { bee, sending: Vec::new(), sent: 0, waiting: false, count: 0 })
        .collect();
    let mut account = Account::default();
    let end = Instant::now() + time;
    let patience = end + Duration::from_secs(40);
    loop {
        let sending = Instant::now() < end;
        let mut busy = 0;
        for (n, sender) in senders.iter_mut().enumerate().filter(|(_, sender)| !sender.bee.closed) {
            if sender.waiting {
                sender.bee.receive();
                if let Some(status) = take_answer(&mut sender.bee.received) {
                    *account.answered.entry(status).or_default() += 1;
                    sender.waiting = false;
                }
            } else if sending && sender.sending.is_empty() {
                sender.sending = make(n, sender.count);
                sender.count += 1;
                sender.sent = 0;
                account.sent += 1;
            }
            if !sender.sending.is_empty() {
                let before = sender.bee.sent;
                if sender.bee.send(&sender.sending[sender.sent..]) {
                    sender.sending.clear();
                    sender.waiting = true;
                }
                sender.sent += sender.bee.sent - before;
            }
            busy += usize::from(sender.waiting || !sender.sending.is_empty());
        }
        if !sending && (busy == 0 || Instant::now() > patience) {
            break;
        }
        // The service shares this machine's cores.
        std::thread::sleep(Duration::from_millis(1));
    }
    let answered: u64 = account.answered.values().sum();
    account.unanswered = account.sent - answered;
    account
}

/// The status of the answer at the front, once all of it is there; nothing of it stays.
fn take_answer(received: &mut Vec<u8>) -> Option<u16> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&received[..head]).ok()?;
    let length: usize = text.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()?;
    let status = status_of(received)?;
    if received.len() < head + length {
        return None;
    }
    received.drain(..head + length);
    Some(status)
}

/// Asks for probes and metrics again and again; how many answers came, the slowest, and what was wrong.
fn probe(service: &Service, stop: &AtomicBool) -> (usize, Duration, Vec<String>) {
    let (mut count, mut slowest, mut faults) = (0, Duration::ZERO, Vec::new());
    let mut client = None;
    while !stop.load(Relaxed) && faults.len() < 3 {
        for target in ["/health/live", "/health/ready", "/metrics"] {
            let began = Instant::now();
            let client: &mut Client = client.get_or_insert_with(|| service.connect());
            match client.try_request("GET", target, &[], None) {
                Ok(answer) if answer.status == 200 => count += 1,
                Ok(answer) => faults.push(format!("{target}: {} {}", answer.status, answer.text())),
                Err(error) => faults.push(format!("{target}: {error}")),
            }
            slowest = slowest.max(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (count, slowest, faults)
}

fn while_probing(service: &Service, work: impl FnOnce() -> Account) -> (Account, String, Vec<String>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stops = SetOnDrop(&stop);
        let prober = scope.spawn(|| probe(service, &stop));
        let account = work();
        drop(stops);
        let (count, slowest, faults) = prober.join().expect("the prober does not panic");
        let said =
            format!("{count} probes and scrapes answered, slowest {:.0} ms", slowest.as_secs_f64() * 1e3);
        (account, said, faults)
    })
}

#[test]
fn scrapes_keep_no_probe_waiting() {
    Row::new("overload: scrapes at full speed").attack(|service| {
        let (count, time) = (scaled(1_000, 200), scaled(10 * SECOND, SECOND));
        let get = request("GET", "/metrics", &[], None);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stops = SetOnDrop(&stop);
            let prober = scope.spawn(|| ready_times(service, &stop));
            let account = drive(service, count, time, |_, _| get.clone());
            drop(stops);
            let (times, faults) = prober.join().expect("the prober does not panic");
            let ms = |at: usize| times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
            let mut report = Report {
                faults,
                ..Report::of(format!(
                    "{count} connections, {} requests: {:?}; {} of /health/ready, median {:.1} ms, slowest {:.0} ms",
                    account.sent,
                    account.answered,
                    times.len(),
                    ms(times.len() / 2),
                    ms(times.len().saturating_sub(1)),
                ))
            };
            report.expect(account.of(200) + account.of(503) == account.sent, || format!("{account:?}"));
            report
        })
    });
}

/// How long each answer to a probe took, the fastest first, and what was wrong.
fn ready_times(service: &Service, stop: &AtomicBool) -> (Vec<Duration>, Vec<String>) {
    let (mut times, mut faults) = (Vec::new(), Vec::new());
    let mut client = service.connect();
    while !stop.load(Relaxed) && faults.is_empty() {
        let began = Instant::now();
        match client.try_request("GET", "/health/ready", &[], None) {
            Ok(answer) if answer.status == 200 => times.push(began.elapsed()),
            Ok(answer) => faults.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => faults.push(error.to_string()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort_unstable();
    (times, faults)
}

#[test]
fn every_webhook_of_an_overload_is_accounted_for() {
    Row::new("overload: webhooks at full speed").attack(|service| {
        let (count, time) = (scaled(2_000, 200), scaled(10 * SECOND, SECOND));
        let (account, probes, faults) = while_probing(service, || {
            drive(service, count, time, |n, k| signed_post(SECRET, &message(&format!("overload-{n}-{k}"))))
        });
        let mut report = Report {
            acknowledged: account.of(200),
            unanswered: account.unanswered,
            faults,
            ..Report::of(format!(
                "{count} connections, {} requests: {:?}; {probes}",
                account.sent, account.answered
            ))
        };
        report.expect(account.of(200) + account.of(503) == account.sent, || format!("{account:?}"));
        report
    });
}

#[test]
fn every_query_of_an_overload_is_accounted_for() {
    Row::new("overload: searches at full speed").attack(|service| {
        let (count, time) = (scaled(2_000, 200), scaled(10 * SECOND, SECOND));
        let get = request("GET", "/messages?q=nothing-like-this&limit=100", &[], None);
        let (account, probes, faults) =
            while_probing(service, || drive(service, count, time, |_, _| get.clone()));
        let said =
            format!("{count} connections, {} requests: {:?}; {probes}", account.sent, account.answered);
        let mut report = Report { faults, ..Report::of(said) };
        report.expect(account.of(200) + account.of(503) == account.sent, || format!("{account:?}"));
        report
    });
}
