//! Senders go on with a message until it is acknowledged, as those of webhooks do for days, with less patience.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::http_client::{Address, Answer, Client};
use crate::messages::message_of;
use crate::random::Random;

pub(crate) const SENDERS: usize = 64;
/// As long as Stripe and Meta wait for an answer, or less.
const PATIENCE: Duration = Duration::from_secs(30);
/// From try to try it doubles, hours in seconds.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What a sender saw that was no acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Refused,
    /// The connection broke before the answer.
    Broken,
    /// No answer within the sender's patience.
    Silence,
    Status(u16),
    Other(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) id: String,
    pub(crate) seen: Seen,
    /// When the connection was made, or tried.
    pub(crate) connected: Instant,
    pub(crate) sent: Instant,
    pub(crate) at: Instant,
    pub(crate) body: String,
}

#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Each is acknowledged.
    pub(crate) ids: Vec<String>,
    pub(crate) complaints: Vec<Complaint>,
    /// How long the slowest answer took.
    pub(crate) slowest: Duration,
}

impl Sent {
    pub(crate) fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.complaints.extend(other.complaints);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// What was seen, and how often.
    pub(crate) fn counts(&self) -> BTreeMap<&Seen, usize> {
        let mut counts = BTreeMap::new();
        for complaint in &self.complaints {
            *counts.entry(&complaint.seen).or_default() += 1;
        }
        counts
    }
}

fn seen(result: &io::Result<Answer>) -> Option<Seen> {
    match result {
        Ok(answer) if (200..300).contains(&answer.status) => None,
        Ok(answer) => Some(Seen::Status(answer.status)),
        Err(error) => Some(match error.kind() {
            ErrorKind::ConnectionRefused => Seen::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Seen::Broken,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Seen::Silence,
            _ => Seen::Other(error.to_string()),
        }),
    }
}

/// A sender and its connection.
pub(crate) struct Sender {
    address: Address,
    client: Option<(Client, Instant)>,
    pub(crate) sent: Sent,
}

impl Sender {
    pub(crate) fn to(address: Address) -> Self {
        Self { address, client: None, sent: Sent::default() }
    }

    fn attempt(&mut self, message: &serde_json::Value) -> (Instant, io::Result<Answer>) {
        let (mut client, connected) = match self.client.take() {
            Some(open) => open,
            None => {
                let now = Instant::now();
                match Client::try_connect(&self.address) {
                    Ok(client) => (client, now),
                    Err(error) => return (now, Err(error)),
                }
            }
        };
        client.set_patience(PATIENCE);
        let result = client.try_post(message);
        if result.is_ok() {
            self.client = Some((client, connected));
        }
        (connected, result)
    }

    /// Sends a message again and again until it is acknowledged.
    pub(crate) fn send(&mut self, id: &str) {
        let message = message_of(id);
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            let (connected, result) = self.attempt(&message);
            self.sent.slowest = self.sent.slowest.max(began.elapsed());
            let Some(seen) = seen(&result) else {
                self.sent.ids.push(id.to_owned());
                return;
            };
            let body = result.map_or_else(|error| error.to_string(), |answer| answer.text());
            let id = id.to_owned();
            self.sent.complaints.push(Complaint {
                id,
                seen,
                connected,
                sent: began,
                at: Instant::now(),
                body,
            });
            thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// How fast a sender goes on to its next message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// At once.
    Full,
    /// After a moment that this seed decides, so that ten minutes are no more than can be compared.
    Moderate(u64),
}

/// Sends from many senders until it is told to stop and each has its last message acknowledged.
pub(crate) fn send_until(stop: &AtomicBool, acknowledged: &AtomicUsize, name: &str, pace: Pace) -> Sent {
    let send = |number: u64| {
        let mut sender = Sender::to(crate::proxy::Proxy::address());
        let mut random = Random::new(match pace {
            Pace::Full => number,
            Pace::Moderate(seed) => seed.wrapping_add(number),
        });
        for count in 0.. {
            if stop.load(SeqCst) {
                break;
            }
            sender.send(&format!("{name}-{number}-{count}"));
            acknowledged.fetch_add(1, SeqCst);
            if let Pace::Moderate(_) = pace {
                thread::sleep(Duration::from_millis(50 + random.below(150)));
            }
        }
        sender.sent
    };
    let send = &send;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|number| scope.spawn(move || send(number as u64))).collect();
        let mut all = Sent::default();
        for sender in senders {
            all.add(sender.join().expect("a sender does not panic"));
        }
        all
    })
}
