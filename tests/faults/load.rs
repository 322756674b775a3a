//! Clients that post all the time and remember every answer, and the reckoning afterwards.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::fixtures::{eventually, message, message_with};
use crate::http_client::{Address, Answer, Client};
use crate::service::Service;
use crate::setup::Setup;

const CLIENTS: usize = 4;
/// After a refusal, as a polite sender waits; shorter, so that a test sees many of them.
const AFTER_A_REFUSAL: Duration = Duration::from_millis(20);

/// Long settings are for `scripts/faults`; the test suite has to be quick.
pub(crate) fn scaled<T>(quick: T, full: T) -> T {
    if std::env::var("FAULT_SCALE").is_ok_and(|scale| scale == "full") { full } else { quick }
}

/// What the clients were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) acknowledged: Vec<String>,
    pub(crate) refused: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

/// A steady load on connections of its own.
#[derive(Debug)]
pub(crate) struct Load {
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<Told>>,
    text: String,
}

impl Load {
    pub(crate) fn start(service: &Service) -> Self {
        Self::with_text(service, "Hello")
    }

    pub(crate) fn with_text(service: &Service, text: &str) -> Self {
        let counts = Arc::new(Counts::default());
        let client = |number: usize| {
            let (address, counts, text) = (service.address.clone(), Arc::clone(&counts), text.to_owned());
            thread::spawn(move || post_until_told(&address, number, &text, &counts))
        };
        Self { clients: (0..CLIENTS).map(client).collect(), text: text.to_owned(), counts }
    }

    #[track_caller]
    pub(crate) fn acknowledged_more(&self, count: usize) {
        let enough = self.counts.acknowledged.load(Relaxed) + count;
        eventually(&format!("{count} more messages are acknowledged"), || {
            self.go_on();
            (self.counts.acknowledged.load(Relaxed) >= enough).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn refused_more(&self, count: usize) {
        let enough = self.counts.refused.load(Relaxed) + count;
        eventually(&format!("{count} more messages are refused"), || {
            self.go_on();
            (self.counts.refused.load(Relaxed) >= enough).then_some(())
        });
    }

    pub(crate) fn refused_so_far(&self) -> usize {
        self.counts.refused.load(Relaxed)
    }

    /// A client ends early only by a panic, which its own message explains.
    #[track_caller]
    fn go_on(&self) {
        assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Told {
        self.counts.stop.store(true, Relaxed);
        let mut all = Told::default();
        for client in std::mem::take(&mut self.clients) {
            let told = client.join().expect("a client does not fail");
            all.acknowledged.extend(told.acknowledged);
            all.refused.extend(told.refused);
        }
        all
    }

    /// Ends the load and holds the service to what it said: what it refused it takes when it is sent
    /// again, a kill harms nothing, and every acknowledged message is there once, as it was sent.
    #[track_caller]
    pub(crate) fn nothing_was_lost(self, service: Service) -> Setup {
        let text = self.text.clone();
        let mut told = self.finish();
        let mut client = service.connect();
        for id in std::mem::take(&mut told.refused) {
            post(&mut client, &id, &text).expect(200);
            told.acknowledged.push(id);
        }
        let setup = service.kill();
        let after = setup.start();
        everything_is_there(&after, &told.acknowledged);
        let setup = after.kill();
        let check = setup.database().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(check.expect("the database can be checked"), "ok");
        setup
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.counts.stop.store(true, Relaxed);
    }
}

fn post_until_told(address: &Address, number: usize, text: &str, counts: &Counts) -> Told {
    let mut told = Told::default();
    let mut client = Client::connect(address);
    for count in 0.. {
        if counts.stop.load(Relaxed) {
            break;
        }
        let id = format!("client {number} message {count}");
        let answer = post(&mut client, &id, text);
        if answer.status == 200 {
            told.acknowledged.push(id);
            counts.acknowledged.fetch_add(1, Relaxed);
        } else {
            is_a_refusal(&answer);
            told.refused.push(id);
            counts.refused.fetch_add(1, Relaxed);
            thread::sleep(AFTER_A_REFUSAL);
        }
    }
    told
}

#[track_caller]
pub(crate) fn post(client: &mut Client, id: &str, text: &str) -> Answer {
    client.post(&message_with(id, &json!({ "text": text })))
}

/// The only answer but success that a fault of the machine may lead to.
#[track_caller]
pub(crate) fn is_a_refusal(answer: &Answer) {
    answer.expect(503);
    let wait = answer.header("Retry-After").expect("a refusal says when to come again");
    assert!(wait.parse::<u32>().is_ok_and(|seconds| seconds > 0), "Retry-After: {wait}");
    assert!(answer.json()["detail"].as_str().is_some_and(|why| !why.is_empty()), "{}", answer.text());
}

#[track_caller]
pub(crate) fn is_refused(service: &Service, id: &str) {
    is_a_refusal(&service.post(&message(id)));
}

#[track_caller]
pub(crate) fn everything_is_there(service: &Service, acknowledged: &[String]) {
    let database = service.database();
    let mut statement = database.prepare("SELECT message_id FROM messages").expect("the table is there");
    let rows = statement.query_map([], |row| row.get(0)).expect("the table can be read");
    let stored: HashSet<String> = rows.map(|id| id.expect("an id is text")).collect();
    let missing: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(*id)).take(5).collect();
    assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
    assert_eq!(service.get("/stats").expect(200).json()["total_messages"], stored.len());
    assert_eq!(service.get("/messages?limit=1").expect(200).json()["total"], stored.len());
}

/// A probe that says no, with its reason.
#[track_caller]
pub(crate) fn turns_unready(service: &Service) -> String {
    eventually("the service says that it is not ready", || {
        let answer = service.get("/health/ready");
        (answer.status == 503).then(|| answer.json()["detail"].as_str().map(str::to_owned))?
    })
}

#[track_caller]
pub(crate) fn turns_ready(service: &Service) {
    eventually("the service says that it is ready", || {
        (service.get("/health/ready").status == 200).then_some(())
    });
}

/// Waits for a lifecycle line.
#[track_caller]
pub(crate) fn tells(service: &Service, event: &str) {
    eventually(&format!("the log says {event}"), || {
        service.stdout.json().iter().any(|line| line["event"] == event).then_some(())
    });
}

/// Alive, with no panic behind it, and without a file that was made in the place of another.
#[track_caller]
pub(crate) fn is_sound(service: &Service) {
    service.get("/health/live").expect(200);
    let log = service.stdout.json();
    let panics: Vec<_> = log.iter().filter(|line| line["event"] == "panic").collect();
    assert!(panics.is_empty(), "{panics:?}");
    assert_eq!(service.stderr.so_far(), "");
}
