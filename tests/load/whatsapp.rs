//! The part `whatsapp`: what Meta sends in bodies of one, 20 and 1,000 messages, and of megabytes; `/webhook` beside it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::figures::{Samples, median, milliseconds, optional, short, thousands};
use crate::http::Client;
use crate::options::Part;
use crate::report::{Bar, Judged, Table, progress};
use crate::service::{APP_SECRET, Service};
use crate::{Bench, Failure, files};

const BATCHES: [usize; 3] = [1, 20, 1_000];
const CONNECTIONS: usize = 64;
const LARGE_BODIES: usize = 64;
const LARGE_BYTES: usize = 3_000_000;
const LARGE_MIB: Bar = Bar::AtMost(128.0);
/// `/webhook` with the route over without it.
const BESIDE: Bar = Bar::AtLeast(0.98);
/// Between a refusal for want of room and the next try.
const RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRYING: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    batches(bench)?;
    large_bodies(bench)?;
    beside_webhook(bench)
}

fn body(ids: impl Iterator<Item = String>, text: &str) -> String {
    let message = |id| {
        format!(
            r#"{{"from":"14155550123","id":"wamid.{id}","timestamp":"1749416383","type":"text","text":{{"body":"{text}"}}}}"#
        )
    };
    let messages = ids.map(message).collect::<Vec<_>>().join(",");
    let metadata = r#"{"display_phone_number":"14155550100","phone_number_id":"200000000000001"}"#;
    let contacts = r#"[{"profile":{"name":"Ana Beispiel"},"wa_id":"14155550123"}]"#;
    let value = format!(
        r#"{{"messaging_product":"whatsapp","metadata":{metadata},"contacts":{contacts},"messages":[{messages}]}}"#
    );
    let change = format!(r#"{{"value":{value},"field":"messages"}}"#);
    format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{change}]}}]}}"#)
}

fn request(body: &str) -> Result<Vec<u8>, Failure> {
    let mut mac = Hmac::<Sha256>::new_from_slice(APP_SECRET.as_bytes())?;
    mac.update(body.as_bytes());
    let (signature, length) = (hex::encode(mac.finalize().into_bytes()), body.len());
    let head = format!(
        "POST /whatsapp HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {length}\r\n\r\n"
    );
    Ok([head.as_bytes(), body.as_bytes()].concat())
}

/// What the connections were answered, all of them together.
#[derive(Default)]
struct Heard {
    took: Vec<Duration>,
    put_off: usize,
}

/// What each connection does by itself, all at once.
fn at_once(
    count: usize,
    connection: impl Fn(usize) -> Result<Heard, Failure> + Sync,
) -> Result<Heard, Failure> {
    let all = Mutex::new(Ok(Heard::default()));
    thread::scope(|scope| {
        for number in 0..count {
            let (all, connection) = (&all, &connection);
            scope.spawn(move || {
                let heard = connection(number);
                let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match (heard, all.as_mut()) {
                    (Ok(heard), Ok(all)) => {
                        all.took.extend(heard.took);
                        all.put_off += heard.put_off;
                    }
                    (Err(error), Ok(_)) => *all = Err(error),
                    (_, Err(_)) => {}
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn batches(bench: &mut Bench) -> Result<(), Failure> {
    let mut table = Table::new(&["messages a body", "messages/s", "bodies/s", "p99 ms", "put off"]);
    for size in BATCHES {
        let mut rounds = Vec::new();
        for number in 1..=bench.options.rounds {
            progress(format!("bodies of {size}, round {number}"));
            let path = bench.copy_path("whatsapp.db")?;
            let service = bench.start_whatsapp(&path)?;
            let (heard, seconds) = post_new(service.address(), size, bench.options.seconds)?;
            service.stop()?;
            let bodies = heard.took.len();
            bench.check_rows(&format!("bodies of {size}"), &path, (bodies * size) as u64)?;
            files::remove(&path)?;
            let p99 = Samples::from(heard.took).p99().map_or(0.0, milliseconds);
            rounds.push([bodies as f64 / seconds, p99, heard.put_off as f64]);
        }
        let of =
            |n: usize| median(&rounds.iter().map(|round| round[n]).collect::<Vec<_>>()).unwrap_or_default();
        let (bodies, p99, put_off) = (of(0), of(1), of(2));
        let figures = json!({ "size": size, "bodies_per_second": bodies, "p99_ms": p99, "rounds": rounds });
        bench.report.record(Part::Whatsapp, "bodies of new messages", &figures)?;
        let messages = thousands(bodies * size as f64);
        bench.report.note(
            format!("WhatsApp, bodies of {size} at {CONNECTIONS} connections"),
            format!("{messages} messages/s, p99 {} ms", short(p99)),
        );
        table.row([size.to_string(), messages, thousands(bodies), short(p99), short(put_off)]);
    }
    bench.report.print(format!("## WhatsApp at {CONNECTIONS} connections\n\n{table}"))
}

/// New messages for so long, each connection one body after the other; signed as they go, at the load's own cost.
fn post_new(address: SocketAddr, size: usize, seconds: u64) -> Result<(Heard, f64), Failure> {
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let heard = at_once(CONNECTIONS, |connection| {
        let (mut client, mut heard) = (Client::connect(address)?, Heard::default());
        for number in 0.. {
            if Instant::now() >= until {
                break;
            }
            let whole =
                request(&body((0..size).map(|n| format!("{connection}-{number}-{n}")), "Is it there?"))?;
            let first = Instant::now();
            loop {
                match client.ask(&whole)?.status {
                    200 => break,
                    503 => heard.put_off += 1,
                    status => return Err(format!("a body was answered {status}").into()),
                }
                thread::sleep(RETRY);
            }
            heard.took.push(first.elapsed());
        }
        Ok(heard)
    })?;
    Ok((heard, began.elapsed().as_secs_f64()))
}

fn large_bodies(bench: &mut Bench) -> Result<(), Failure> {
    progress(format!("{LARGE_BODIES} bodies of 3 MB at once"));
    let path = bench.copy_path("whatsapp.db")?;
    let service = bench.start_whatsapp(&path)?;
    let address = service.address();
    let text = "x".repeat(LARGE_BYTES);
    let began = Instant::now();
    let heard = at_once(LARGE_BODIES, |number| {
        let whole = request(&body(std::iter::once(format!("large-{number}")), &text))?;
        let mut heard = Heard::default();
        while began.elapsed() < LONGEST_RETRYING {
            // Who has no room for a body may answer and hang up while it is on its way.
            match Client::connect(address)?.ask(&whole).map(|answer| answer.status) {
                Ok(200) => {
                    heard.took.push(began.elapsed());
                    return Ok(heard);
                }
                Ok(503) | Err(_) => heard.put_off += 1,
                Ok(status) => return Err(format!("a large body was answered {status}").into()),
            }
            thread::sleep(RETRY);
        }
        Err("a large body found no room".into())
    })?;
    let took = began.elapsed();
    let (_, highest) = service.memory()?;
    service.stop()?;
    bench.check_rows("large bodies", &path, LARGE_BODIES as u64)?;
    files::remove(&path)?;
    let mib = highest as f64 / f64::from(1 << 20);
    let shown = format!(
        "{} MiB at the highest; all taken after {} s, put off {} times",
        short(mib),
        short(took.as_secs_f64()),
        heard.put_off
    );
    let what = format!("memory with {LARGE_BODIES} bodies of 3 MB at once");
    bench.report.print(format!("{what}: {shown}"))?;
    let judged = Judged { name: "MiB", value: Some(mib), shown, bar: LARGE_MIB };
    bench.report.judge(Part::Whatsapp, &what, vec![judged])
}

/// Rounds with the route and without it in turns, so that neither always comes first.
fn beside_webhook(bench: &mut Bench) -> Result<(), Failure> {
    let mut ratios = Vec::new();
    for number in 1..=bench.options.rounds {
        progress(format!("/webhook with and without the route, round {number}"));
        let mut rates = [0.0; 2];
        for turn in [number % 2, (number + 1) % 2] {
            let path = bench.copy_path("beside.db")?;
            let service: Service =
                if turn == 1 { bench.start_whatsapp(&path)? } else { bench.start(&path)? };
            let posted = bench.post_new(&service, CONNECTIONS as u32)?;
            service.stop()?;
            bench.check_rows("/webhook beside the route", &path, posted.acknowledged)?;
            files::remove(&path)?;
            rates[turn] = posted.rate;
        }
        ratios.push(rates[1] / rates[0]);
    }
    let value = median(&ratios);
    let each = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(", ");
    let shown = format!("{} of its rate without it ({each})", optional(value));
    bench.report.print(format!("/webhook where /whatsapp is served too: {shown}"))?;
    let judged = Judged { name: "with over without", value, shown, bar: BESIDE };
    bench.report.judge(Part::Whatsapp, "/webhook where /whatsapp is served too", vec![judged])
}
