//! The part `feed`: how soon a message is with who waits for it, how fast a backlog is worked off, and what taking
//! messages in loses by those who follow, beside a plain poll of `/messages`.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::figures::{Samples, median, milliseconds, ms, optional, ratio, rows as shown, short, thousands};
use crate::http::Client;
use crate::options::Part;
use crate::post::{Load, Posted};
use crate::report::{Bar, Judged, progress};
use crate::supply::Signed;
use crate::{Bench, Failure, files};

/// From the answer to who sent a message to its being with who waits, in milliseconds, at so many a second.
const MEDIAN: Bar = Bar::AtMost(2.0);
const TAIL: Bar = Bar::AtMost(10.0);
const PACE: u64 = 1_000;
const SENDERS: u64 = 4;
/// Messages a second from the feed, over one connection.
const CATCH_UP: Bar = Bar::AtLeast(150_000.0);
/// The rate of messages beside them, over that without.
const FOLLOWED: Bar = Bar::AtLeast(0.85);
const WAITED_FOR: Bar = Bar::AtLeast(0.97);
/// What so many cost while they wait, in megabytes.
const WAITERS: usize = 5_000;
const AT_ONCE: usize = 500;
const WAITERS_MEMORY: Bar = Bar::AtMost(20.0);
const FOLLOWERS: usize = 10;
const CONNECTIONS: u32 = 64;

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    delay(bench)?;
    catch_up(bench)?;
    beside(bench)
}

/// The ids on a page, and where to go on.
fn page(body: &[u8]) -> Result<(Vec<String>, String), Failure> {
    let page: Value = serde_json::from_slice(body)?;
    let ids = page["data"].as_array().ok_or("a page without data")?.iter();
    let ids = ids.filter_map(|row| row["message_id"].as_str()).map(str::to_owned).collect();
    let cursor = page["cursor"].as_str().ok_or("a page without a cursor")?.to_owned();
    Ok((ids, cursor))
}

/// The same without taking the JSON apart, which would be measured with it.
fn skim(body: &[u8]) -> Result<(u64, String, bool), Failure> {
    let text = std::str::from_utf8(body)?;
    let (_, tail) = text.rsplit_once("\"cursor\":\"").ok_or("a page without a cursor")?;
    let (cursor, rest) = tail.split_once('"').ok_or("a cursor without an end")?;
    let count = text.matches("{\"message_id\":").count();
    Ok((count as u64, cursor.to_owned(), rest.contains("true")))
}

fn end_of_feed(client: &mut Client) -> Result<String, Failure> {
    Ok(page(&client.get("/feed?after=now")?.body)?.1)
}

/// From the acknowledgement of each message to its being with one who waits.
fn delay(bench: &mut Bench) -> Result<(), Failure> {
    progress("one who waits");
    let path = bench.copy_path("feed.db")?;
    let service = bench.start(&path)?;
    let address = service.address();
    let count = PACE * bench.options.seconds;
    let messages = bench.new_messages(count)?;
    let signed = signed(&messages)?;
    let acknowledged = Mutex::new(HashMap::new());
    let mut follower = service.client()?;
    let mut cursor = end_of_feed(&mut follower)?;
    let heard = thread::scope(|scope| -> Result<_, Failure> {
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let (signed, acknowledged) = (&signed, &acknowledged);
                scope.spawn(move || send_at_pace(address, signed, number, acknowledged))
            })
            .collect();
        let mut heard = HashMap::new();
        while heard.len() < signed.len() {
            let answer = follower.get(&format!("/feed?after={cursor}&limit=1000&wait=30"))?;
            let now = Instant::now();
            let (ids, next) = page(&answer.body)?;
            cursor = next;
            if ids.is_empty() {
                return Err("a message did not come within half a minute".into());
            }
            for id in ids {
                if heard.insert(id, now).is_some() {
                    return Err("a message came twice".into());
                }
            }
        }
        for sender in senders {
            sender.join().map_err(|_| "a sender panicked")??;
        }
        Ok(heard)
    })?;
    service.stop()?;
    bench.check_rows("one who waits", &path, count)?;
    files::remove(&path)?;
    let acknowledged = acknowledged.into_inner().map_err(|_| "a sender panicked")?;
    let delays: Vec<Duration> = acknowledged
        .iter()
        .filter_map(|(id, at)| heard.get(id).map(|heard| heard.saturating_duration_since(*at)))
        .collect();
    let samples = Samples::from(delays);
    let figures =
        json!({ "p50_ms": samples.p50().map(milliseconds), "p99_ms": samples.p99().map(milliseconds) });
    bench.report.record(Part::Feed, "from acknowledged to heard", &figures)?;
    let judged = |name, value: Option<Duration>, bar| Judged {
        name,
        value: value.map(milliseconds),
        shown: format!("{name} {} ms", ms(value)),
        bar,
    };
    let what = format!("from acknowledged to heard by one who waits, at {}/s", thousands(PACE as f64));
    let judged = vec![judged("p50", samples.p50(), MEDIAN), judged("p99", samples.p99(), TAIL)];
    let said: Vec<String> =
        judged.iter().map(|one| format!("{} ({} {})", one.shown, one.bar, one.verdict())).collect();
    bench.report.judge(Part::Feed, &what, judged)?;
    bench.report.print(format!("## Feed\n\n{what}: {}\n", said.join(", ")))
}

fn signed(messages: &std::path::Path) -> Result<Vec<(String, Signed)>, Failure> {
    let text = std::fs::read_to_string(messages)?;
    let one = |line: &str| -> Result<_, Failure> {
        let (signature, body) = line.split_once('\t').ok_or("a line without a tab")?;
        let message: Value = serde_json::from_str(body)?;
        let id = message["message_id"].as_str().ok_or("a message without an id")?.to_owned();
        Ok((id, Signed { signature: signature.to_owned(), body: body.to_owned() }))
    };
    text.lines().map(one).collect()
}

/// Every one of so many messages, at its time.
fn send_at_pace(
    address: SocketAddr,
    messages: &[(String, Signed)],
    number: u64,
    acknowledged: &Mutex<HashMap<String, Instant>>,
) -> Result<(), Failure> {
    let mut client = Client::connect(address)?;
    let began = Instant::now();
    for (place, (id, message)) in messages.iter().enumerate().skip(number as usize).step_by(SENDERS as usize)
    {
        let due = Duration::from_micros(place as u64 * 1_000_000 / PACE);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let answer = client.post(&message.signature, &message.body)?;
        if answer.status != 200 {
            return Err(format!("a message was answered {}", answer.status).into());
        }
        acknowledged.lock().map_err(|_| "a sender panicked")?.insert(id.clone(), Instant::now());
    }
    Ok(())
}

/// From the beginning to the end, a thousand at a time, over one connection.
fn catch_up(bench: &mut Bench) -> Result<(), Failure> {
    let mut figures = Vec::new();
    for rows in bench.options.sizes() {
        progress(format!("a backlog of {}", shown(rows)));
        let path = bench.copy_path("feed.db")?;
        files::copy(&bench.stores.served(rows)?.path, &path)?;
        let service = bench.start(&path)?;
        service.wait_until_indexed()?;
        let mut rates = Vec::new();
        for _ in 0..bench.options.rounds {
            rates.push(walk(&mut service.client()?, rows)?);
        }
        service.stop()?;
        files::remove(&path)?;
        let value = median(&rates);
        let shown_rate = format!("{}/s", thousands(value.unwrap_or_default()));
        figures.push(format!("{} {shown_rate}", shown(rows)));
        bench.report.record(
            Part::Feed,
            &format!("catching up with {rows}"),
            &json!({ "per_second": rates }),
        )?;
        let judged = Judged { name: "messages a second", value, shown: shown_rate, bar: CATCH_UP };
        bench.report.judge(
            Part::Feed,
            &format!("the feed read to its end at {}", shown(rows)),
            vec![judged],
        )?;
    }
    bench.report.print(format!("Read to its end over one connection: {} ({CATCH_UP}).\n", figures.join(", ")))
}

/// Messages a second.
fn walk(client: &mut Client, rows: u64) -> Result<f64, Failure> {
    let (mut cursor, mut found, began) = (String::new(), 0, Instant::now());
    loop {
        let body = client.get(&format!("/feed?limit=1000&after={cursor}"))?.body;
        let (count, next, more) = skim(&body)?;
        (cursor, found) = (next, found + count);
        if !more {
            break;
        }
    }
    if found != rows {
        return Err(format!("the feed has {found} messages and not {rows}").into());
    }
    Ok(found as f64 / began.elapsed().as_secs_f64())
}

/// Who reads while messages come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Followers,
    Waiters,
    Poll,
}

fn beside(bench: &mut Bench) -> Result<(), Failure> {
    let kinds = [
        (Beside::Followers, "ten followers that keep up", Some(FOLLOWED)),
        (Beside::Waiters, "5,000 who have waited", Some(WAITED_FOR)),
        (Beside::Poll, "a plain poll of /messages", None),
    ];
    for (kind, name, bar) in kinds {
        let (mut alone, mut with, mut kept, mut more) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 1..=bench.options.rounds {
            progress(format!("ingest beside {name}, round {number}"));
            // Which of the two comes first changes with every round.
            let mut rates = [0.0; 2];
            let order = if number % 2 == 1 { [Beside::Nobody, kind] } else { [kind, Beside::Nobody] };
            for one in order {
                let (posted, held) = load(bench, one)?;
                rates[usize::from(one == kind)] = posted.rate;
                more.extend(held);
            }
            alone.push(rates[0]);
            with.push(rates[1]);
            kept.extend(ratio(rates[1], rates[0]));
        }
        let value = median(&kept);
        let rate = |rates: &[f64]| thousands(median(rates).unwrap_or_default());
        let figure = format!("{}: {}/s to {}", optional(value), rate(&with), rate(&alone));
        let figures =
            json!({ "alone_per_second": alone, "beside_per_second": with, "ratios": kept, "more_mb": more });
        bench.report.record(Part::Feed, &format!("ingest beside {name}"), &figures)?;
        let what = format!("ingest beside {name}, of its rate alone");
        let Some(bar) = bar else {
            bench.report.note(what.clone(), figure.clone());
            bench.report.print(format!("{what}: {figure}.\n"))?;
            continue;
        };
        let mut judged = vec![Judged { name: "kept", value, shown: figure.clone(), bar }];
        if let Some(more) = median(&more) {
            let shown = format!("{} MB more while they wait", short(more));
            judged.push(Judged { name: "MB more", value: Some(more), shown, bar: WAITERS_MEMORY });
        }
        let said: Vec<String> =
            judged.iter().map(|one| format!("{} ({} {})", one.shown, one.bar, one.verdict())).collect();
        bench.report.judge(Part::Feed, &what, judged)?;
        bench.report.print(format!("{what}: {}.\n", said.join(", ")))?;
    }
    Ok(())
}

/// One load, with somebody beside it; and the megabytes that those take who wait.
fn load(bench: &mut Bench, beside: Beside) -> Result<(Posted, Option<f64>), Failure> {
    let path = bench.copy_path("feed.db")?;
    let service = bench.start(&path)?;
    let address = service.address();
    let (before, _) = service.memory()?;
    let waiters = if beside == Beside::Waiters { waiters(address)? } else { Vec::new() };
    let held = match beside {
        Beside::Waiters => Some((service.memory()?.0.saturating_sub(before)) as f64 / 1e6),
        _ => None,
    };
    let is_over = AtomicBool::new(false);
    let posted = thread::scope(|scope| -> Result<Posted, Failure> {
        let readers: Vec<_> = match beside {
            Beside::Followers => (0..FOLLOWERS).map(|_| scope.spawn(|| follow(address, &is_over))).collect(),
            Beside::Poll => vec![scope.spawn(|| poll(address, &is_over))],
            Beside::Nobody | Beside::Waiters => Vec::new(),
        };
        let messages = bench.new_messages(bench.options.messages)?;
        let load = Load {
            connections: CONNECTIONS,
            seconds: bench.options.seconds,
            messages: &messages,
            again: false,
        };
        let posted = load.run(address, &mut bench.report);
        is_over.store(true, Relaxed);
        let posted = posted?;
        for reader in readers {
            let heard = reader.join().map_err(|_| "a reader panicked")??;
            if beside == Beside::Followers && heard != posted.acknowledged {
                return Err(format!("a follower met {heard} of {} messages", posted.acknowledged).into());
            }
        }
        Ok(posted)
    })?;
    drop(waiters);
    service.stop()?;
    bench.check_rows("ingest beside others", &path, posted.acknowledged)?;
    files::remove(&path)?;
    Ok((posted, held))
}

/// Connections on which somebody waits for the first message that comes.
fn waiters(address: SocketAddr) -> Result<Vec<TcpStream>, Failure> {
    let mut waiters = Vec::with_capacity(WAITERS);
    let mut client = Client::connect(address)?;
    let began = Instant::now();
    while waiters.len() < WAITERS {
        // No more at once than may wait in a queue.
        for _ in 0..AT_ONCE {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /feed?after=now&wait=55 HTTP/1.1\r\nHost: bench\r\n\r\n")?;
            waiters.push(stream);
        }
        let all = format!("\nfeed_waiters {}\n", waiters.len());
        while !String::from_utf8(client.get("/metrics")?.body)?.contains(&all) {
            if began.elapsed() > Duration::from_secs(30) {
                return Err("not everybody waits".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(waiters)
}

/// Reads what comes as it comes, and the rest when nothing more does. How many messages it has met.
fn follow(address: SocketAddr, is_over: &AtomicBool) -> Result<u64, Failure> {
    let mut client = Client::connect(address)?;
    let (mut cursor, mut met) = (String::new(), 0);
    loop {
        let was_over = is_over.load(Relaxed);
        let wait = if was_over { 0 } else { 1 };
        let answer = client.get(&format!("/feed?after={cursor}&limit=1000&wait={wait}"))?;
        if answer.status != 200 {
            continue;
        }
        let (count, next, more) = skim(&answer.body)?;
        (cursor, met) = (next, met + count);
        if was_over && !more {
            return Ok(met);
        }
    }
}

/// What people do where there is no feed.
fn poll(address: SocketAddr, is_over: &AtomicBool) -> Result<u64, Failure> {
    let mut client = Client::connect(address)?;
    let mut met = 0;
    while !is_over.load(Relaxed) {
        let answer = client.get("/messages?limit=100")?;
        met += u64::from(answer.status == 200);
        thread::sleep(Duration::from_millis(10));
    }
    Ok(met)
}
