//! The machine runs out: of connections allowed, of descriptors, of threads.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::fixtures::eventually;
use crate::footprint::{Footprint, LONELY_USER, metrics};
use crate::http_client::{Client, request};
use crate::row::{Report, Row, full_scale, scaled};
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::is_root;
use crate::swarm::Swarm;

const SECOND: Duration = Duration::from_secs(1);

/// Opens more than there is room for, in waves that come faster than anything times out, then lets go
/// of all and sees how long it takes until a stranger is served.
fn crowd(service: &Service, count: usize) -> Report {
    let mut swarms = Vec::new();
    for wave in 0..4 {
        let mut swarm = Swarm::connect(service, count / 4);
        // Half of the waves are silent; the others have begun a request.
        if wave % 2 == 1 {
            swarm.each(|bee| {
                bee.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\n");
            });
        }
        swarms.push(swarm);
    }
    std::thread::sleep(scaled(3 * SECOND, SECOND / 2));
    for swarm in &mut swarms {
        swarm.receive();
    }
    let closed: usize = swarms.iter().map(Swarm::closed).sum();
    let refused: usize = swarms.iter().map(|swarm| swarm.refused).sum();
    drop(swarms);
    let released = Instant::now();
    eventually("a stranger is served again", || {
        let mut client = Client::try_connect(&service.address).ok()?;
        let answer = client.try_request("GET", "/health/ready", &[], None).ok()?;
        (answer.status == 200).then_some(())
    });
    let took = released.elapsed();
    let capacity = metrics(service, "connections_closed_total{cause=\"capacity\"}");
    let counted = capacity.first().map_or(0.0, |(_, value)| *value);
    let mut report = Report::of(format!(
        "{count} connections: {closed} closed, {refused} not accepted, {counted} counted as capacity; \
         normal {:.0} ms after release",
        took.as_secs_f64() * 1e3
    ));
    report.expect(counted > 0.0, || "the containment is not counted".to_owned());
    report
}

#[test]
fn connections_past_the_cap_make_room_for_others() {
    Row::new("more connections than the cap")
        .setup(|setup| if full_scale() { setup } else { setup.with("MAX_CONNECTIONS", "200") })
        .attack(|service| crowd(service, scaled(12_000, 600)));
}

#[test]
fn descriptors_running_out_is_survived() {
    Row::new("more connections than ulimit -n 256")
        .setup(|setup| setup.through_shell(r#"ulimit -n 256; exec "$0" "$@""#))
        .attack(|service| crowd(service, scaled(2_000, 600)));
}

#[test]
fn descriptors_taken_away_while_running_is_survived() {
    Row::new("accept failing for want of descriptors").attack(|service| {
        let pid = Pid::from_raw(service.pid() as i32);
        let used = Footprint::of(service.pid()).descriptors;
        let taken = Rlimit { current: Some(used + 20), maximum: Some(20_000) };
        let whole = prlimit(pid, Resource::Nofile, taken).expect("the service is our child");
        let mut report = {
            let mut swarm = Swarm::connect(service, scaled(1_000, 300));
            std::thread::sleep(scaled(3 * SECOND, SECOND / 2));
            swarm.receive();
            Report::of(format!("{} connections with room for 20", swarm.bees.len()))
        };
        prlimit(pid, Resource::Nofile, whole).expect("the service is our child");
        let errors = metrics(service, "http_accept_errors_total");
        report.expect(errors.iter().any(|(_, count)| *count > 0.0), || format!("not counted: {errors:?}"));
        report
    });
}

#[test]
fn no_new_threads_are_no_trouble_while_running() {
    if !is_root() {
        return;
    }
    // Room for as many threads as it starts with, and not one more.
    let threads = Footprint::of(Setup::new().start().pid()).threads;
    Row::new("no thread can be created (nproc), while running")
        .setup(|setup| {
            let script = format!(r#"exec prlimit --nproc={threads} "$0" "$@""#);
            setup.by_user(LONELY_USER).through_shell(script)
        })
        .attack(|service| {
            let mut swarm = Swarm::connect(service, scaled(1_000, 200));
            let get = request("GET", "/messages?q=hello", &[], None);
            swarm.each(|bee| {
                bee.send(&get);
            });
            let end = Instant::now() + 20 * SECOND;
            while swarm.bees.iter().any(|bee| bee.status().is_none()) && Instant::now() < end {
                swarm.receive();
                std::thread::sleep(SECOND / 100);
            }
            let (served, shed) = (swarm.answered(200), swarm.answered(503));
            let mut report = Report::of(format!("{} queries: {served} 200, {shed} 503", swarm.bees.len()));
            report.expect(served + shed == swarm.bees.len(), || "some were not answered".to_owned());
            report
        });
}

#[test]
fn a_start_without_threads_is_refused_in_one_line() {
    // The limit counts every process of the user, and whose those are is not known otherwise.
    if !is_root() {
        return;
    }
    Row::new("no thread can be created (nproc), at the start").attack(|_| {
        let mut report = Report::of("starts with room for 1, 2, 3, 5, 20 and 60 threads");
        for room in [1, 2, 3, 5, 20, 60] {
            let script = format!(r#"exec prlimit --nproc={room} "$0" "$@""#);
            let setup = Setup::new().without_stdout().by_user(LONELY_USER).through_shell(script);
            let setup = setup.with("LISTEN_ADDR", &format!("127.0.0.1:{}", free_port()));
            // More threads than there is ever room for.
            let mut setup = setup.with("WORKERS", "64");
            let mut child = setup.command(&["serve"]).spawn().expect("the machine has sh");
            let end = Instant::now() + 10 * SECOND;
            let status = loop {
                let status = child.try_wait().expect("a child can be waited for");
                if status.is_some() || Instant::now() > end {
                    break status;
                }
                std::thread::sleep(SECOND / 50);
            };
            let threads = Footprint::of(child.id()).threads;
            // A process that goes on although threads are missing is the finding.
            drop(child.kill());
            let said = child.wait_with_output().expect("stderr is a pipe").stderr;
            let said = String::from_utf8_lossy(&said);
            let code = status.and_then(|status| status.code());
            report.expect(code == Some(69) && said.lines().count() == 1, || {
                format!("room for {room}: ended {status:?} with {threads} threads, saying {said:?}")
            });
        }
        report
    });
}
