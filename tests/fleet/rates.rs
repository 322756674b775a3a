//! How many messages three receivers take, beside one, and how fast they get into the engines.
//!
//! Everything shares the cores of this machine, so each figure comes with what each part took of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::chaos::Fleet;
use crate::disk::Disk;
use crate::fault::{RECEIVERS, Sink};
use crate::fixtures::eventually;
use crate::isolation::isolated;
use crate::proxy::Proxy;
use crate::receiver::Receiver;
use crate::senders::{Pace, send_until};

const LOAD: Duration = Duration::from_secs(10);

/// Processor time that a process has had.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    // utime and stime (proc(5)) in ticks, of which there are a hundred a second on every Linux.
    let ticks =
        after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Sends to so many receivers as fast as they answer, and gives messages a second.
fn takes(fleet: &mut Fleet, folder: &Path, receivers: usize) -> f64 {
    fleet.proxy.kill();
    fleet.proxy = Proxy::new(folder, receivers);
    let pids = fleet.receivers.iter().filter_map(Receiver::pid).collect::<Vec<_>>();
    let proxy = fleet.proxy.pid().expect("it runs");
    let spent = || {
        let receivers = pids.iter().map(|pid| processor_time(*pid)).sum::<Duration>();
        [receivers, processor_time(proxy), processor_time(std::process::id())]
    };
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (before, began) = (spent(), Instant::now());
    let sent = thread::scope(|scope| {
        let name = format!("rate{receivers}");
        let (stop, acknowledged) = (&stop, &acknowledged);
        let senders = scope.spawn(move || send_until(stop, acknowledged, &name, Pace::Full));
        thread::sleep(LOAD);
        stop.store(true, SeqCst);
        senders.join().expect("the senders do not panic")
    });
    let (seconds, after) = (began.elapsed().as_secs_f64(), spent());
    assert!(sent.complaints.is_empty(), "{:?}", sent.counts());
    let count = sent.ids.len() as f64;
    let each: Vec<_> = after
        .iter()
        .zip(before)
        .map(|(after, before)| (*after - before).as_secs_f64() * 1e6 / count)
        .collect();
    eprintln!(
        "fleet: {receivers} behind HAProxy: {:.0} messages a second; microseconds of a core for each: \
        {:.0} by receivers, {:.0} by HAProxy, {:.0} by senders",
        count / seconds,
        each[0],
        each[1],
        each[2]
    );
    count / seconds
}

/// Follows from the beginning with so many receivers at once, and says how many messages a second that were.
fn follows(fleet: &mut Fleet, receivers: usize, sink: Sink) {
    let followed = &mut fleet.receivers[..receivers];
    let count = followed.iter().map(|receiver| receiver.stored()).sum::<u64>();
    let began = Instant::now();
    followed.iter_mut().for_each(|receiver| receiver.follow(sink));
    eventually("every follower has caught up", || {
        followed.iter().all(|receiver| receiver.lag_of(sink) == Some(0.0)).then_some(())
    });
    let seconds = began.elapsed().as_secs_f64();
    followed.iter_mut().for_each(|receiver| receiver.stop_following(sink));
    eprintln!(
        "fleet: {receivers} followed into {}: {:.0} messages a second ({count} in {seconds:.1} s)",
        sink.name(),
        count as f64 / seconds
    );
}

fn measure(disk: fn(&Path) -> Disk) {
    let Some(folder) = isolated() else { return };
    let mut fleet = Fleet::start(&folder, disk);
    let one = takes(&mut fleet, &folder, 1);
    follows(&mut fleet, 1, Sink::Postgres);
    follows(&mut fleet, 1, Sink::Nats);
    let three = takes(&mut fleet, &folder, RECEIVERS);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    eprintln!("fleet: three take {:.2} times what one takes, on the same {cores} cores", three / one);
}

#[test]
#[ignore = "it measures: scripts/operator fleet"]
fn rates_on_the_disk_of_this_machine() {
    measure(Disk::folder);
}

#[test]
#[ignore = "it measures: scripts/operator fleet"]
fn rates_on_disks_in_memory() {
    measure(Disk::mount);
}
