//! `kill -9` while bodies of a thousand messages come in: each is there whole or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::deliveries::{deliver, held, messages, try_deliver, whatsapp};
use crate::fixtures::eventually;
use crate::http_client::{Address, Client};
use crate::plain::files_are_sound;
use crate::setup::Setup;

const CLIENTS: usize = 4;
const MESSAGES: usize = 1000;
/// Lives of one file, so that counting stays quick.
const LIVES: usize = 10;

/// How many bodies of one name were acknowledged; one more was sent.
struct Sent {
    name: String,
    acknowledged: usize,
}

fn name_of(name: &str, number: usize) -> String {
    format!("{name}-{number}")
}

fn post_until_the_end(address: &Address, name: String, all: &AtomicUsize) -> Sent {
    let mut acknowledged = 0;
    if let Ok(mut client) = Client::try_connect(address) {
        let mut sent = messages(&name_of(&name, 0), 0..MESSAGES);
        while let Ok(answer) = try_deliver(&mut client, &sent) {
            if answer.status == 200 {
                acknowledged += 1;
                all.fetch_add(1, Ordering::Relaxed);
                sent = messages(&name_of(&name, acknowledged), 0..MESSAGES);
            } else {
                assert_eq!(answer.status, 503, "{}", answer.text());
            }
        }
    }
    Sent { name, acknowledged }
}

fn live_and_die(setup: Setup, round: usize) -> (Setup, Vec<Sent>) {
    let service = setup.start();
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, acknowledged) = (service.address.clone(), &acknowledged);
                scope.spawn(move || post_until_the_end(&address, format!("r{round}c{client}"), acknowledged))
            })
            .collect();
        // In some rounds by what is acknowledged, in the others in the midst of what is being written.
        let log = service.path("app.db-wal");
        let bytes = || std::fs::metadata(&log).map_or(0, |log| log.len());
        let before = bytes();
        eventually("enough has happened", || {
            let enough = if round.is_multiple_of(2) {
                acknowledged.load(Ordering::Relaxed) >= round % 7
            } else {
                bytes() > before || acknowledged.load(Ordering::Relaxed) > 0
            };
            enough.then_some(())
        });
        let setup = service.kill();
        (setup, clients.into_iter().map(|client| client.join().expect("no client panics")).collect())
    })
}

#[test]
fn a_body_is_there_whole_or_not_at_all_after_kill_9_and_its_retry_completes_it() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    let (mut bodies, mut unanswered, mut whole) = (0, 0, 0);
    let mut setup = whatsapp();
    for round in 0..rounds {
        if round % LIVES == LIVES - 1 {
            setup = whatsapp();
        }
        let (after, sent) = live_and_die(setup, round);
        files_are_sound(&after);
        let service = after.start();
        for Sent { name, acknowledged } in sent {
            let prefix = |number| format!("wamid.{}-", name_of(&name, number));
            for number in 0..acknowledged {
                let held = held(&service.database(), &prefix(number));
                assert_eq!(held, [MESSAGES; 2], "round {round}: body {number} of {name} was acknowledged");
            }
            let last = held(&service.database(), &prefix(acknowledged));
            assert!([[0; 2], [MESSAGES; 2]].contains(&last), "round {round}: {last:?} of the body {name}");
            bodies += acknowledged;
            unanswered += 1;
            whole += usize::from(last == [MESSAGES; 2]);
            deliver(&service.address, &messages(&name_of(&name, acknowledged), 0..MESSAGES));
            assert_eq!(
                held(&service.database(), &prefix(acknowledged)),
                [MESSAGES; 2],
                "the retry of {name}"
            );
        }
        setup = service.kill();
    }
    assert!(rounds < 2 || bodies > 0, "the load has done nothing");
    eprintln!(
        "{rounds} rounds: {bodies} bodies acknowledged, none missing; {unanswered} without an answer, \
         {whole} of them there whole, none in part, each complete after its retry"
    );
}
