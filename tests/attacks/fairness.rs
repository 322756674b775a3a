//! One address takes all there is of something: the others go on.

use std::thread;
use std::time::{Duration, Instant};

use crate::footprint::store_large_page;
use crate::http_client::{Client, request};
use crate::row::{Report, Row, full_scale, scaled};
use crate::service::Service;
use crate::swarm::Swarm;

const SECOND: Duration = Duration::from_secs(1);
/// Where the attacker is; the clients that behave are on the address that the service is bound to.
const ATTACKER: &str = "127.0.0.3";

/// What came of requests by somebody else, each on a connection of its own.
#[derive(Default)]
struct Others {
    asked: usize,
    answered: usize,
    times: Vec<Duration>,
    fault: Option<String>,
}

impl Others {
    fn ask(&mut self, service: &Service, target: &str) {
        self.asked += 1;
        let began = Instant::now();
        let answer =
            Client::try_connect(&service.address).and_then(|mut c| c.try_request("GET", target, &[], None));
        match answer {
            Ok(answer) if answer.status == 200 => {
                self.answered += 1;
                self.times.push(began.elapsed());
            }
            Ok(answer) => self.fault = Some(format!("{target}: {} {}", answer.status, answer.text())),
            Err(error) => self.fault = Some(format!("{target}: {error}")),
        }
    }

    fn report(mut self, sent: &str) -> Report {
        self.times.sort_unstable();
        let median = self.times.get(self.times.len() / 2).copied().unwrap_or_default();
        let mut report = Report::of(format!(
            "{sent}; of others {} of {} answered, median {:.1} ms",
            self.answered,
            self.asked,
            median.as_secs_f64() * 1e3
        ));
        report.expect(self.answered == self.asked, || {
            format!("{} of {} answered: {:?}", self.answered, self.asked, self.fault)
        });
        report
    }
}

#[test]
fn one_byte_connections_at_the_cap_lock_nobody_else_out() {
    Row::new("the cap full of one-byte connections of one address, 20 new ones a second")
        .setup(|setup| if full_scale() { setup } else { setup.with("MAX_CONNECTIONS", "200") })
        .attack(|service| {
            let count = scaled(8_192, 220);
            let mut hoard = Swarm::connect_from(service, ATTACKER, count);
            hoard.each(|bee| {
                bee.send(b"G");
            });
            let (mut others, mut more) = (Others::default(), Vec::new());
            for _ in 0..scaled(200, 20) {
                let mut new = Swarm::connect_from(service, ATTACKER, 1);
                new.each(|bee| {
                    bee.send(b"G");
                });
                more.push(new);
                others.ask(service, "/health/ready");
                thread::sleep(SECOND / 20);
            }
            others.report(&format!("{count} connections and {} more", more.len()))
        });
}

/// Answers left unread on this many connections, which are made anew as they are closed.
fn unread(service: &Service, target: &str, count: usize) -> Report {
    let get = request("GET", target, &[], None);
    let mut swarm = Swarm::connect_from(service, ATTACKER, 0);
    let (mut others, mut sent) = (Others::default(), 0);
    let end = Instant::now() + scaled(10 * SECOND, 2 * SECOND);
    while Instant::now() < end {
        let mut new = Swarm::connect_from(service, ATTACKER, (count - swarm.bees.len()).min(100));
        new.each(|bee| {
            bee.send(&get);
        });
        sent += new.bees.len();
        swarm.bees.append(&mut new.bees);
        for query in ["/stats", "/messages?limit=1", "/messages?q=nothing-like-this"] {
            others.ask(service, query);
        }
        thread::sleep(SECOND / 20);
        // Those that have hung up: nothing is read.
        swarm.bees.retain(|bee| !bee.has_hung_up());
    }
    others.report(&format!("{count} connections, {sent} answers of {target}"))
}

#[test]
fn pages_that_nobody_reads_stop_no_query() {
    Row::new("answers of / never read").attack(|service| unread(service, "/", scaled(1_100, 200)));
}

#[test]
fn messages_that_nobody_reads_stop_no_query() {
    Row::new("answers of /messages never read, and queries of others")
        .prepare(store_large_page)
        .attack(|service| unread(service, "/messages?limit=100", scaled(130, 40)));
}

fn long_head() -> Vec<u8> {
    let start = b"GET /messages?q=nothing-like-this HTTP/1.1\r\nHost: x\r\nX-Filler: ";
    [&start[..], &[0xff].repeat(60_000), b"\r\n\r\n"].concat()
}

/// What a long head costs for good is not laid at the attack's door: the heap has room for some.
fn answer_long_heads(service: &Service) -> u64 {
    let mut clients: Vec<Client> = (0..64).map(|_| service.connect()).collect();
    for client in &mut clients {
        client.send(&long_head());
    }
    for client in &mut clients {
        // Whatever it says.
        client.receive();
    }
    0
}

#[test]
fn heads_of_queued_queries_count_as_memory() {
    Row::new("queries with heads of 60 KB of 0xFF").prepare(answer_long_heads).attack(|service| {
        let count = scaled(900, 300);
        let head = long_head();
        let mut swarm = Swarm::connect_from(service, ATTACKER, count);
        for bee in &mut swarm.bees {
            bee.sent = 0;
        }
        let end = Instant::now() + scaled(10 * SECOND, 2 * SECOND);
        while Instant::now() < end {
            swarm.each(|bee| {
                if bee.sent < head.len() {
                    bee.send(&head[bee.sent..]);
                }
                bee.receive();
                if bee.status().is_some() {
                    bee.received.clear();
                    bee.sent = 0;
                }
            });
            thread::sleep(SECOND / 100);
        }
        Report::of(format!("{count} connections"))
    });
}
