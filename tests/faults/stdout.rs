//! A stdout that is closed, full, or read by nobody: lines may be lost, and are counted; nothing else is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use crate::fixtures::{eventually, message};
use crate::load::{Load, turns_ready};
use crate::service::Service;
use crate::setup::Setup;

const DROPPED: &str = "log_lines_dropped_total";

/// The service does its work and ends in order, whatever becomes of its lines.
#[track_caller]
fn serves(service: Service) {
    let load = Load::start(&service);
    load.acknowledged_more(100);
    turns_ready(&service);
    let setup = load.nothing_was_lost(service);
    setup.start().stop();
}

#[test]
fn a_stdout_that_is_closed_from_the_start_harms_nothing() {
    let service = Setup::new().with_stdout_unread().through_shell("exec \"$0\" \"$@\" >&-").start();
    service.store(&message("m1"));
    // A descriptor that is free is taken by the next file opened: lines must not end up in the database.
    let stdout = fs::read_link(format!("/proc/{}/fd/1", service.pid())).expect("it is filled");
    assert_eq!(stdout.to_str(), Some("/dev/null"));
    serves(service);
}

#[test]
fn all_three_standard_streams_closed_harm_nothing() {
    let service = Setup::new().with_stdout_unread().through_shell("exec \"$0\" \"$@\" <&- >&- 2>&-").start();
    serves(service);
}

#[test]
fn a_stdout_on_a_full_disk_drops_and_counts_lines() {
    let service = Setup::new().with_stdout_unread().through_shell("exec \"$0\" \"$@\" >/dev/full").start();
    let before = service.metric(DROPPED);
    service.store(&message("m1"));
    eventually("the lines are counted", || (service.metric(DROPPED) > before).then_some(()));
    serves(service);
}

/// Posts until the pipe and the buffer behind it are full.
#[track_caller]
fn fill(service: &Service) {
    let mut client = service.connect();
    // Long paths fill the pipe and whatever stands behind it sooner.
    let path = format!("/{}", "x".repeat(2000));
    eventually("lines are dropped", || {
        for _ in 0..500 {
            client.get(&path).expect(404);
        }
        (service.metric(DROPPED) > 0.0).then_some(())
    });
}

#[test]
fn a_stdout_that_nobody_reads_drops_and_counts_lines() {
    let service = Setup::new().with_stdout_unread().start();
    fill(&service);
    serves(service);
}

#[test]
fn a_full_pipe_that_others_made_non_blocking_drops_and_counts_lines() {
    let (reader, mut writer) = io::pipe().unwrap();
    // A file description is shared by everybody who has inherited it, and so is this flag.
    let stdin = OwnedFd::from(writer.try_clone().unwrap());
    let service =
        Setup::new().with_stdin(stdin).with_stdout_unread().through_shell("exec \"$0\" \"$@\" >&0").start();
    let pipe = format!("/proc/{}/fd/1", service.pid());
    // Filled to the last byte before the service has written much.
    let filler = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
    fill(&service);
    assert!(fs::read_link(pipe).unwrap().to_string_lossy().starts_with("pipe:"));
    service.store(&message("m1"));
    // The reader goes away for good.
    drop(reader);
    filler.join().unwrap();
    let dropped = service.metric(DROPPED);
    service.store(&message("m2"));
    eventually("lines for nobody are counted", || (service.metric(DROPPED) > dropped).then_some(()));
    serves(service);
}

#[test]
fn a_reader_that_comes_back_reads_whole_lines_again() {
    let mut setup = Setup::new().with_stdout_unread();
    let fifo = setup.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    setup = setup.through_shell("exec \"$0\" \"$@\" >fifo");
    // Opened for both, so that neither end waits for the other.
    let held = File::options().read(true).write(true).open(&fifo).unwrap();
    let service = setup.start();
    fill(&service);
    let output = crate::output::Lines::of(held);
    eventually("the newest line is read", || {
        // Again and again: until the reader has made room, its line is dropped like any other.
        service.store(&message("m1"));
        // Every line is whole, although lines between them are missing.
        let lines = output.so_far();
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        crate::output::parse_lines(whole).iter().any(|line| line["path"] == "/webhook").then_some(())
    });
    service.stop();
}
