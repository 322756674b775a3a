//! One row of the table: quiet, attack, recovery, and what is checked of each.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::fixtures::{SetOnDrop, eventually, message};
use crate::footprint::{Footprint, metrics, rows};
use crate::service::Service;
use crate::setup::Setup;
use crate::wellbehaved::{Experience, post_steadily};

/// The bar for memory, whatever the attack.
const MOST_RESIDENT_KIB: u64 = 128 << 10;
/// What ordinary use adds to a process that has only just started: the page caches of its database
/// connections and the stacks of threads that have not run. At full scale they are filled first.
const CACHES_KIB: u64 = 16 << 10;
/// How long the service may take to be as it was before.
const RECOVERY: Duration = Duration::from_secs(30);

/// True with `ATTACK_SCALE=full`.
pub(crate) fn full_scale() -> bool {
    std::env::var("ATTACK_SCALE").is_ok_and(|scale| scale == "full")
}

/// The number of the table, or what is quick enough for every run of the tests.
pub(crate) fn scaled<T>(full: T, quick: T) -> T {
    if full_scale() { full } else { quick }
}

/// What an attack has to say for itself.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// For the table: what was really sent, and what came of it.
    pub(crate) sent: String,
    /// Rows that the attack itself had acknowledged, and rows it was left in doubt about.
    pub(crate) acknowledged: u64,
    pub(crate) unanswered: u64,
    pub(crate) faults: Vec<String>,
}

impl Report {
    pub(crate) fn of(sent: impl Into<String>) -> Self {
        Self { sent: sent.into(), ..Self::default() }
    }

    /// Notes a broken promise, the first of its kind with all its words.
    pub(crate) fn expect(&mut self, kept: bool, fault: impl FnOnce() -> String) {
        if !kept {
            self.faults.push(fault());
        }
    }
}

/// One row at a time: two attacks at once would be a third.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    /// What is done before anything is measured; returns the rows it stored.
    pub(crate) prepare: fn(&Service) -> u64,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, setup: Setup::new().without_stdout(), prepare: |_| 0 }
    }

    pub(crate) fn setup(mut self, change: impl FnOnce(Setup) -> Setup) -> Self {
        self.setup = change(self.setup);
        self
    }

    pub(crate) fn prepare(mut self, prepare: fn(&Service) -> u64) -> Self {
        self.prepare = prepare;
        self
    }

    #[track_caller]
    pub(crate) fn attack(self, attack: impl FnOnce(&Service) -> Report) {
        // A row that failed has said so; the next one is a row of its own.
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        raise_own_descriptor_limit();
        let mut service = self.setup.start();
        let prepared = (self.prepare)(&service);
        let calm = scaled(Duration::from_secs(4), Duration::from_millis(400));

        // The first messages find cold caches and threads that have never run.
        let (warm, warmed) = while_posting(&service, "warm", calm / 2, warm_up);
        let quiet = while_posting(&service, "quiet", calm, |_| ()).0;
        let before = settled(&service);
        let (attacked, mut report) = while_posting(&service, "attacked", calm / 2, attack);
        let peak = Footprint::of(service.pid()).peak_kib;
        let after = recovered(&service, before);

        let faults = &mut report.faults;
        if let Some(end) = service.ended() {
            faults.push(end);
        } else {
            let known = prepared + warm.acknowledged + quiet.acknowledged + attacked.acknowledged;
            let known = known + warmed + report.acknowledged;
            let rows = rows(&service.database());
            if rows < known || rows > known + report.unanswered {
                faults.push(format!("{rows} rows stored, {known} acknowledged"));
            }
            if peak > MOST_RESIDENT_KIB {
                faults.push(format!("{} MiB resident", peak >> 10));
            }
            faults.extend(unlike(before, after));
        }
        for (phase, experience) in [("quiet", &quiet), ("attacked", &attacked)] {
            if let Some(first) = experience.failures.first() {
                let count = experience.failures.len();
                faults.push(format!("{count} well-behaved requests failed when {phase}, the first: {first}"));
            }
        }
        print(self.name, &report, &quiet, &attacked, before, after, peak);
        assert!(report.faults.is_empty(), "{}: {:#?}", self.name, report.faults);
    }
}

/// Runs `work`, and for `at_least` a moment, with the well-behaved client at it.
fn while_posting<T>(
    service: &Service,
    name: &str,
    at_least: Duration,
    work: impl FnOnce(&Service) -> T,
) -> (Experience, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stops = SetOnDrop(&stop);
        let client = scope.spawn(|| post_steadily(&service.address, name, &stop));
        let began = Instant::now();
        let done = work(service);
        thread::sleep(at_least.saturating_sub(began.elapsed()));
        drop(stops);
        (client.join().expect("a client counts its failures and does not panic"), done)
    })
}

/// Ordinary use of everything, so that what it costs is not laid at the attack's door.
fn warm_up(service: &Service) -> u64 {
    let stored = AtomicU64::new(0);
    thread::scope(|scope| {
        for n in 0..scaled(64, 8) {
            let stored = &stored;
            scope.spawn(move || {
                let mut client = service.connect();
                for k in 0..scaled(1_000, 5) {
                    client.post(&message(&format!("warm-up-{n}-{k}"))).expect(200);
                    stored.fetch_add(1, Relaxed);
                    if k % 250 == 0 {
                        for target in ["/messages?limit=100", "/messages?q=hello", "/stats", "/metrics"] {
                            // In a large store so many at once are told to come back.
                            drop(client.get(target));
                        }
                    }
                }
            });
        }
    });
    stored.into_inner()
}

/// The footprint once nobody is connected and the index has caught up, which leaves its caches filled.
fn settled(service: &Service) -> Footprint {
    eventually("the index knows every message", || {
        let left = metrics(service, "store_unindexed_messages{");
        left.iter().all(|(_, messages)| *messages == 0.0).then_some(())
    });
    let mut last = Footprint::of(service.pid());
    let deadline = Instant::now() + RECOVERY;
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = Footprint::of(service.pid());
        if (now.threads, now.descriptors) == (last.threads, last.descriptors) || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}

/// The footprint once it is like `before`, or after as long as that may take.
fn recovered(service: &Service, before: Footprint) -> Footprint {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let now = Footprint::of(service.pid());
        if unlike(before, now).is_empty() || Instant::now() > deadline {
            return now;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// In what `after` is more than a tenth above `before`.
fn unlike(before: Footprint, after: Footprint) -> Vec<String> {
    let figures = [
        ("threads", before.threads, after.threads),
        ("descriptors", before.descriptors, after.descriptors),
        ("KiB resident", before.resident_kib + scaled(0, CACHES_KIB), after.resident_kib),
    ];
    let grown = figures.into_iter().filter(|(_, before, after)| after * 10 > before * 11);
    grown.map(|(what, before, after)| format!("{after} {what} after, {before} before")).collect()
}

/// What scripts/attack makes its table of.
fn print(
    name: &str,
    report: &Report,
    quiet: &Experience,
    attacked: &Experience,
    before: Footprint,
    after: Footprint,
    peak: u64,
) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let ratio = ms(attacked.median()) / ms(quiet.median()).max(1e-3);
    let verdict = if report.faults.is_empty() { "held".into() } else { report.faults.join("; ") };
    eprintln!(
        "attack|{name}|{}|{}/{} (503 then 200: {}, reconnected: {})|{:.2}|{:.2}|{ratio:.1}|{:.0}|{}|{:.1}->{:.1}|{}->{}|{}->{}|{}",
        report.sent,
        attacked.acknowledged,
        attacked.sent,
        attacked.repeated,
        attacked.reconnected,
        ms(quiet.median()),
        ms(attacked.median()),
        ms(attacked.slowest()),
        peak >> 10,
        before.resident_kib as f64 / 1024.0,
        after.resident_kib as f64 / 1024.0,
        before.threads,
        after.threads,
        before.descriptors,
        after.descriptors,
        verdict.replace(['|', '\n'], " "),
    );
}

/// The attacker holds thousands of sockets.
fn raise_own_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit everybody may");
}

/// True for what a socket says when the other side has closed it.
pub(crate) fn is_closed(result: &io::Result<usize>) -> bool {
    match result {
        Ok(count) => *count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}
