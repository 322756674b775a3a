//! The client that the attacks must not harm: signed messages at a steady rate, on connections of
//! its own, each repeated where the service asks for it by 503 and Retry-After.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixtures::message;
use crate::http_client::{Address, Client};

const CONNECTIONS: usize = 4;
/// Between two messages on one connection: together they send 200 a second.
const PACE: Duration = Duration::from_millis(20);
/// Repetitions after which a message counts as refused: half a minute of overload.
const TRIES: u32 = 30;

/// What the client experienced.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Answers 503 with Retry-After that a repetition followed.
    pub(crate) repeated: u64,
    /// Kept-alive connections that the service had closed between two requests.
    pub(crate) reconnected: u64,
    pub(crate) failures: Vec<String>,
    latencies: Vec<Duration>,
}

impl Experience {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.repeated += other.repeated;
        self.reconnected += other.reconnected;
        self.failures.extend(other.failures);
        self.latencies.extend(other.latencies);
    }

    pub(crate) fn median(&self) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        latencies.get(latencies.len() / 2).copied().unwrap_or_default()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.latencies.iter().max().copied().unwrap_or_default()
    }
}

/// Posts until it is told to stop. `name` keeps message ids of different calls apart.
pub(crate) fn post_steadily(address: &Address, name: &str, stop: &AtomicBool) -> Experience {
    let mut experience = Experience::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|n| scope.spawn(move || one_connection(address, &format!("{name}-{n}"), stop)))
            .collect();
        for client in clients {
            experience.add(client.join().expect("a client counts its failures and does not panic"));
        }
    });
    experience
}

fn one_connection(address: &Address, name: &str, stop: &AtomicBool) -> Experience {
    let mut experience = Experience::default();
    let mut client = None;
    let mut due = Instant::now();
    while !stop.load(Relaxed) {
        let message = message(&format!("{name}-{}", experience.sent));
        let began = Instant::now();
        experience.sent += 1;
        match post(&mut client, address, &message, &mut experience) {
            Ok(()) => {
                experience.acknowledged += 1;
                experience.latencies.push(began.elapsed());
            }
            Err(failure) => experience.failures.push(failure),
        }
        // After a late answer the rhythm starts anew: a client does not make up for lost time.
        due = (due + PACE).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    experience
}

/// One message, until it is stored.
fn post(
    client: &mut Option<Client>,
    address: &Address,
    message: &Value,
    experience: &mut Experience,
) -> Result<(), String> {
    for _ in 0..TRIES {
        let reused = client.is_some();
        let mut connected = match client.take() {
            Some(connected) => connected,
            None => Client::try_connect(address).map_err(|error| format!("not connected: {error}"))?,
        };
        match connected.try_post(message) {
            Ok(answer) => {
                if answer.header("Connection").is_none() {
                    *client = Some(connected);
                }
                match (answer.status, answer.header("Retry-After").map(str::parse)) {
                    (200, _) => return Ok(()),
                    (503, Some(Ok(seconds))) => {
                        experience.repeated += 1;
                        thread::sleep(Duration::from_secs(seconds));
                    }
                    (status, _) => return Err(format!("answered {status}: {}", answer.text())),
                }
            }
            // A connection kept alive may be closed at any time (RFC 9112, section 9.3.1), as every
            // client knows; one that was just opened may not.
            Err(error) if reused && hung_up(&error) => experience.reconnected += 1,
            Err(error) => return Err(format!("no answer: {error}")),
        }
    }
    Err(format!("refused {TRIES} times"))
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
