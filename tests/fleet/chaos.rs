//! The fleet runs, one thing after the other fails, and at the end nothing is missing.

use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::disk::Disk;
use crate::engines::{Nats, Postgres};
use crate::fault::{Fault, Part, RECEIVERS, SINKS};
use crate::fixtures::{SetOnDrop, eventually};
use crate::isolation::isolated;
use crate::machine::{Machine, switch_on};
use crate::proxy::Proxy;
use crate::receiver::{Engines, Receiver};
use crate::schedule::{Event, schedule};
use crate::senders::{Pace, Sender, Sent, send_until};
use crate::verdict;

/// Without a setting, for a run among others.
const SECONDS: u64 = 60;
/// How soon the followers have caught up once everything is whole.
const CATCHING_UP: Duration = Duration::from_secs(60);
/// How often it is looked for what has ended by itself, as systemd waits before it starts something again.
const REVIVAL: Duration = Duration::from_secs(1);
/// How many messages go to two receivers at once, each time.
const TWINS: usize = 50;

pub(crate) struct Fleet {
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) postgres: Postgres,
    pub(crate) nats: Nats,
    pub(crate) proxy: Proxy,
}

impl Fleet {
    /// Everything but the followers.
    pub(crate) fn start(folder: &Path, disk: fn(&Path) -> Disk) -> Self {
        switch_on();
        let disk = |name: &str| disk(&folder.join(name));
        let (postgres, nats) = (Postgres::new(disk("postgres")), Nats::new(disk("nats")));
        let engines = Engines { postgres: postgres.machine.address.clone(), nats: nats.address() };
        let receivers = (0..RECEIVERS)
            .map(|number| Receiver::new(number, disk(&format!("receiver-{number}")), &engines))
            .collect();
        Self { receivers, postgres, nats, proxy: Proxy::new(folder, RECEIVERS) }
    }

    pub(crate) fn follow(&mut self) {
        for receiver in &mut self.receivers {
            SINKS.iter().for_each(|sink| receiver.follow(*sink));
        }
    }

    fn machine(&self, part: Part) -> &Machine {
        match part {
            Part::Receiver(number) => &self.receivers[number].machine,
            Part::Postgres => &self.postgres.machine,
            Part::Nats => &self.nats.machine,
            Part::Follower(..) | Part::Proxy | Part::Nothing => {
                unreachable!("{part} has no machine of its own")
            }
        }
    }

    fn disk(&self, part: Part) -> &Disk {
        match part {
            Part::Receiver(number) => &self.receivers[number].disk,
            Part::Postgres => &self.postgres.disk,
            Part::Nats | Part::Follower(..) | Part::Proxy | Part::Nothing => {
                unreachable!("{part} has no disk to fill")
            }
        }
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(Part::Receiver(number)) => self.receivers[number].kill(),
            Fault::Kill(Part::Follower(number, sink)) => self.receivers[number].stop_following(sink),
            Fault::Kill(Part::Nats) => self.nats.kill(),
            Fault::Kill(Part::Proxy) => self.proxy.kill(),
            Fault::Kill(part) => unreachable!("nobody kills {part}"),
            Fault::StopPostgres => self.postgres.stop(),
            Fault::Cut(part) => self.machine(part).unplug(),
            Fault::Fill(part) => self.disk(part).fill(),
            Fault::Twins(..) => {}
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(Part::Receiver(number)) => self.receivers[number].start(),
            Fault::Kill(Part::Follower(number, sink)) => self.receivers[number].follow(sink),
            Fault::Kill(Part::Nats) => self.nats.start(),
            Fault::Kill(Part::Proxy) => self.proxy.start(),
            Fault::Kill(part) => unreachable!("nobody kills {part}"),
            Fault::StopPostgres => self.postgres.start(),
            Fault::Cut(part) => self.machine(part).plug(),
            Fault::Fill(part) => self.disk(part).free(),
            Fault::Twins(..) => {}
        }
    }

    /// Starts again what has ended by itself, and tells of it.
    fn revive(&mut self) {
        let ended = self.receivers.iter_mut().flat_map(Receiver::revive).collect::<Vec<_>>();
        for line in ended.into_iter().chain(self.postgres.revive()) {
            eprintln!("fleet: ended by itself: {line}");
        }
    }

    /// Everything of the schedule, in its time. Gives what went to two receivers at once.
    fn suffer(&mut self, events: &[Event]) -> Sent {
        let began = Instant::now();
        let mut waiting = events.iter();
        let mut next = waiting.next();
        let mut under_way: Vec<(Duration, Fault)> = Vec::new();
        let mut revived = began;
        let mut twins = Vec::new();
        while next.is_some() || !under_way.is_empty() {
            let now = began.elapsed();
            let (over, still): (Vec<_>, Vec<_>) = under_way.iter().partition(|(end, _)| *end <= now);
            under_way = still;
            for (_, fault) in over {
                self.end(fault);
            }
            if let Some(event) = next.filter(|event| event.at <= now) {
                let name = event.fault.to_string();
                eprintln!("fleet: {:6.1} s: {name}, {:.1} s", now.as_secs_f64(), event.lasts.as_secs_f64());
                if let Fault::Twins(one, other) = event.fault {
                    let round = twins.len() / 2;
                    twins.extend([one, other].map(|number| {
                        let mut sender = Sender::to(self.receivers[number].address());
                        thread::spawn(move || {
                            (0..TWINS).for_each(|count| sender.send(&format!("twin{round}-{count}")));
                            sender.sent
                        })
                    }));
                }
                self.begin(event.fault);
                under_way.push((event.at + event.lasts, event.fault));
                next = waiting.next();
            }
            if revived.elapsed() > REVIVAL {
                self.revive();
                revived = Instant::now();
            }
            thread::sleep(Duration::from_millis(20));
        }
        let mut sent = Sent::default();
        for twin in twins {
            sent.add(twin.join().expect("a sender does not panic"));
        }
        sent
    }

    /// Waits until the followers have confirmed everything, and says how long that took.
    #[track_caller]
    pub(crate) fn catches_up(&mut self) -> Duration {
        let began = Instant::now();
        eventually("every follower has caught up", || {
            self.revive();
            let lags: Vec<_> =
                self.receivers.iter().map(|receiver| SINKS.map(|sink| receiver.lag_of(sink))).collect();
            if began.elapsed() > CATCHING_UP {
                let told: Vec<_> = self.receivers.iter().map(Receiver::told).collect();
                let last = told.iter().map(|lines| lines[lines.len().saturating_sub(6)..].join("\n"));
                panic!("the followers are behind by {lags:?}:\n{}", last.collect::<Vec<_>>().join("\n"));
            }
            lags.iter().all(|lag| *lag == [Some(0.0); 2]).then_some(())
        });
        began.elapsed()
    }
}

/// A number of the environment.
fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}; it takes a number")))
}

#[test]
fn whatever_fails_in_turn_each_acknowledged_message_is_in_postgresql_and_in_the_stream_once() {
    let Some(folder) = isolated() else { return };
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let (seed, seconds) =
        (setting("FLEET_SEED").unwrap_or_else(clock), setting("FLEET_SECONDS").unwrap_or(SECONDS));
    eprintln!("fleet: seed {seed}, {seconds} s");
    let mut fleet = Fleet::start(&folder, Disk::mount);
    fleet.follow();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (sent, twins) = thread::scope(|scope| {
        let stops = SetOnDrop(&stop);
        let senders = scope.spawn(|| send_until(&stop, &acknowledged, "s", Pace::Moderate(seed)));
        eventually("messages are acknowledged", || (acknowledged.load(SeqCst) > 100).then_some(()));
        let twins = fleet.suffer(&schedule(seed, Duration::from_secs(seconds)));
        drop(stops);
        (senders.join().expect("the senders do not panic"), twins)
    });
    let caught_up = fleet.catches_up();
    verdict::pronounce(&fleet, &sent, &twins, caught_up);
}
