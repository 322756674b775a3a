//! What fails when is decided by a seed before anything runs.

use std::time::Duration;

use crate::fault::{Fault, Part, RECEIVERS, SINKS};
use crate::random::Random;

/// A fault, from its beginning on for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// How many receivers are out at the same time: one is always whole, so that no sender is to be told that none is.
const MAX_OUT: usize = RECEIVERS - 1;
/// How long a part is whole before it fails again. A follower whose engine was away for a while looks for it after as
/// long again; one that is never away for long is back within the minute that is promised.
const REST: Duration = Duration::from_secs(10);

fn between(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + random.below(most - least))
}

/// Some fault, and how long it lasts.
fn any_fault(random: &mut Random) -> (Fault, Duration) {
    let receiver = random.below(RECEIVERS as u64) as usize;
    let part = Part::Receiver(receiver);
    match random.below(14) {
        0..=2 => (Fault::Kill(part), between(random, 0, 4000)),
        3 => (Fault::Cut(part), between(random, 2000, 12_000)),
        4 => (Fault::Fill(part), between(random, 3000, 10_000)),
        5 => (Fault::StopPostgres, between(random, 500, 8000)),
        6 => (Fault::Cut(Part::Postgres), between(random, 2000, 12_000)),
        7 => (Fault::Fill(Part::Postgres), between(random, 3000, 10_000)),
        8 => (Fault::Kill(Part::Nats), between(random, 500, 6000)),
        9 => (Fault::Cut(Part::Nats), between(random, 2000, 12_000)),
        10 | 11 => (Fault::Kill(Part::Follower(receiver, random.pick(&SINKS))), between(random, 0, 3000)),
        12 => (Fault::Kill(Part::Proxy), between(random, 0, 500)),
        _ => (Fault::Twins(receiver, (receiver + 1) % RECEIVERS), Duration::ZERO),
    }
}

/// Whether a fault may begin now beside those that have begun: its part is whole, and so is a receiver.
fn may_begin(events: &[Event], fault: Fault, now: Duration) -> bool {
    let is_out = |part: Part, rest: Duration| {
        events.iter().any(|event| event.fault.part() == part && event.at + event.lasts + rest > now)
    };
    let out = (0..RECEIVERS).filter(|&number| is_out(Part::Receiver(number), REST)).count();
    match fault.part() {
        Part::Nothing => true,
        part @ Part::Receiver(_) => !is_out(part, REST) && out < MAX_OUT,
        part => !is_out(part, REST),
    }
}

/// Something new every few seconds until `end`, by when all of it is over.
pub(crate) fn schedule(seed: u64, end: Duration) -> Vec<Event> {
    let mut random = Random::new(seed);
    let mut events: Vec<Event> = Vec::new();
    let mut now = Duration::from_secs(1);
    while now < end {
        let (fault, lasts) = any_fault(&mut random);
        if may_begin(&events, fault, now) && now + lasts < end {
            events.push(Event { at: now, lasts, fault });
            now += between(&mut random, 1000, 4000);
        } else {
            // Long before the end there is always something that may begin.
            now += Duration::from_millis(100);
        }
    }
    events
}

#[test]
fn a_schedule_is_the_same_for_a_seed_and_leaves_a_receiver_whole_at_any_time() {
    let end = Duration::from_secs(600);
    for seed in 0..20 {
        let events = schedule(seed, end);
        assert_eq!(events, schedule(seed, end));
        assert!(events.len() > 120, "every few seconds: {}", events.len());
        for event in &events {
            assert!(event.at + event.lasts < end);
            let out = |other: &&Event| {
                matches!(other.fault.part(), Part::Receiver(_))
                    && other.at <= event.at
                    && event.at <= other.at + other.lasts
            };
            assert!(events.iter().filter(out).count() <= MAX_OUT);
        }
    }
}
