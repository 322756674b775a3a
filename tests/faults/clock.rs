//! The wall clock of a running service set back, without touching that of the machine.
//!
//! Programs ask the time of code that the kernel maps into them (vdso(7)). In the suspended service its
//! `clock_gettime` is replaced by one that asks the kernel itself and takes years off the wall clock's answer.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use crate::fixtures::{eventually, message};
use crate::http_client::Client;
use crate::load::{Load, is_sound, scaled, turns_ready};
use crate::process::suspend;
use crate::service::Service;
use crate::skip::{Lack, lacks};

/// Ten years in seconds, which is also what a machine with an empty clock battery may be off by.
const BACK: i32 = 315_360_000;

/// `clock_gettime(2)` of x86-64: CLOCK_REALTIME, which is 0, less [`BACK`]; any other clock as it is.
fn set_back() -> Vec<u8> {
    let mut code = vec![
        0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228
        0x0f, 0x05, // syscall
        0x85, 0xff, // test edi, edi
        0x75, 0x07, // jnz over the next
        0x48, 0x81, 0x2e, // sub qword [rsi], …
    ];
    code.extend(BACK.to_le_bytes());
    // ret
    code.push(0xc3);
    code
}

/// Start and end of a mapping.
fn mapping(pid: u32, name: &str) -> Option<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let (range, _) = maps.lines().find(|line| line.ends_with(name))?.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let mut value = [0; 8];
    value[..size].copy_from_slice(bytes.get(at..at + size)?);
    Some(usize::try_from(u64::from_le_bytes(value)).expect("64 bits"))
}

/// Offset and size of a function in an ELF image, found through its section headers (elf(5)).
fn function(image: &[u8], name: &str) -> Option<(usize, usize)> {
    let (table, size, count) = (number(image, 40, 8)?, number(image, 58, 2)?, number(image, 60, 2)?);
    let section = |index: usize| -> Option<(usize, usize, usize, usize)> {
        let at = table + index * size;
        // Type, offset, size, and for a table of symbols the section with their names.
        Some((
            number(image, at + 4, 4)?,
            number(image, at + 24, 8)?,
            number(image, at + 32, 8)?,
            number(image, at + 40, 4)?,
        ))
    };
    const DYNAMIC_SYMBOLS: usize = 11;
    let (_, symbols, length, names) =
        (0..count).filter_map(section).find(|(kind, ..)| *kind == DYNAMIC_SYMBOLS)?;
    let (_, names, ..) = section(names)?;
    (symbols..symbols + length).step_by(24).find_map(|at| {
        let start = names + number(image, at, 4)?;
        let found = image.get(start..start + name.len() + 1)?;
        let is_it = found.strip_suffix(b"\0") == Some(name.as_bytes());
        is_it.then_some((number(image, at + 8, 8)?, number(image, at + 16, 8)?))
    })
}

/// True if no thread has stopped inside this piece of code.
fn nobody_is_in(pid: u32, code: std::ops::Range<u64>) -> bool {
    crate::tracer::threads(pid).iter().all(|thread| {
        let state = fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).unwrap_or_default();
        let at = state.split_whitespace().last().and_then(|at| at.strip_prefix("0x"));
        let at = at.and_then(|at| u64::from_str_radix(at, 16).ok());
        at.is_some_and(|at| !code.contains(&at))
    })
}

/// Sets the wall clock of the suspended service back. `None` where that cannot be done.
fn patch(pid: u32) -> Option<()> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let (start, end) = mapping(pid, "[vdso]")?;
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).ok()?;
    let mut image = vec![0; usize::try_from(end - start).ok()?];
    memory.read_exact_at(&mut image, start).ok()?;
    let (offset, size) = function(&image, "__vdso_clock_gettime")?;
    let (code, at) = (set_back(), start + offset as u64);
    if size < code.len() {
        return None;
    }
    eventually("no thread is asking for the time", || nobody_is_in(pid, at..at + size as u64).then_some(()));
    memory.write_all_at(&code, at).ok()
}

/// When the message was stored, as the service wrote it down.
#[track_caller]
fn created_at(service: &Service, id: &str) -> String {
    service.store(&message(id));
    let created_at = "SELECT created_at FROM messages WHERE message_id = ?1";
    service.database().query_row(created_at, [id], |row| row.get(0)).expect("the message is there")
}

#[test]
fn a_wall_clock_that_is_set_back_changes_nothing_but_what_is_written_down() {
    let service = crate::setup::Setup::new().with("IDLE_TIMEOUT_SECONDS", "8").start();
    let before = created_at(&service, "m1");
    let load = Load::start(&service);
    load.acknowledged_more(50);
    let mut idle = service.connect();
    idle.get("/health/live").expect(200);

    suspend(&service);
    let patched = patch(service.pid());
    service.signal("CONT");
    if patched.is_none() {
        load.finish();
        return lacks(Lack::ClockOfOneProcess);
    }
    load.acknowledged_more(50);
    let after = service.get("/health/live");
    let date = after.header("Date").expect("an answer has a date");
    let answered = httpdate_year(date);
    let year: u32 = before[..4].parse().expect("a time begins with its year");
    assert!((year - 10..year).contains(&answered), "Date: {date}");
    let logged = service.logged(&after)["ts"].as_str().expect("a time").to_owned();
    assert!(logged < before, "{logged}");
    turns_ready(&service);

    // Deadlines run on: an idle connection is closed after its time, a busy one is not.
    assert_eq!(idle.read_until_closed(), b"");
    thread::sleep(scaled(Duration::ZERO, Duration::from_secs(20)));
    load.acknowledged_more(50);
    assert_eq!(load.refused_so_far(), 0);
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn messages_keep_their_order_and_their_time_when_the_clock_is_set_back() {
    let service = Service::start();
    let first = created_at(&service, "m1");
    suspend(&service);
    let patched = patch(service.pid());
    service.signal("CONT");
    if patched.is_none() {
        return lacks(Lack::ClockOfOneProcess);
    }
    let second = created_at(&service, "m2");
    assert!(second < first, "{second} {first}");
    // Sent again: neither stored twice nor dated anew.
    assert_eq!(created_at(&service, "m1"), first);
    let page = service.get("/messages");
    assert_eq!(crate::fixtures::ids(&page), ["m1", "m2"], "by the sender's time, then by id");
    let mut client = Client::connect(&service.address);
    client.get("/stats").expect(200);
    is_sound(&service);
}

/// Of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn httpdate_year(date: &str) -> u32 {
    date.split(' ').nth(3).and_then(|year| year.parse().ok()).unwrap_or_else(|| panic!("Date: {date}"))
}
