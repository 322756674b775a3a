//! The part `whatsapp`: bodies of one, twenty and a thousand messages, 64 large bodies at once, the splitting alone, and
//! what `/webhook` loses by the route being there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lyftr_webhook::testing::split;
use serde_json::json;

use crate::figures::{Samples, median, milliseconds, ms, optional, ratio, thousands};
use crate::http::Client;
use crate::options::Part;
use crate::post::Load;
use crate::report::{Bar, Judged, Table, progress};
use crate::supply::Key;
use crate::{Bench, Failure, files};

const SECRET: (&str, &str) = ("WHATSAPP_APP_SECRET", "bench-app");
const CONNECTIONS: usize = 64;
const BATCHES: [usize; 3] = [1, 20, 1_000];
/// Of a usual message, and of one so long that a thousand of them are three megabytes.
const SHORT_TEXT: usize = 60;
const LONG_TEXT: usize = 2_800;
/// Milliseconds to split and map the longest body that Meta sends.
const SPLIT: Bar = Bar::AtMost(15.0);
/// Megabytes (2^20) at the highest, while so many of them come at once.
const MEMORY: Bar = Bar::AtMost(128.0);
/// The rate of `/webhook` with the route, over that without.
const UNTOUCHED: Bar = Bar::AtLeast(0.98);
/// Between two tries of a body for which there was no room.
const RETRY: Duration = Duration::from_millis(100);

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    splitting(bench)?;
    rates(bench)?;
    at_once(bench)?;
    untouched(bench)
}

/// A body as Meta sends it, of so many messages from this number on.
fn body(first: u64, messages: usize, text: usize) -> String {
    let text = "x".repeat(text);
    let elements: Vec<_> = (first..first + messages as u64)
        .map(|number| {
            format!(
                r#"{{"from":"14155550123","id":"wamid.{number}","timestamp":"1749416383","type":"text","text":{{"body":"{text}"}}}}"#
            )
        })
        .collect();
    let elements = elements.join(",");
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"14155550100","phone_number_id":"2"}},"contacts":[{{"profile":{{"name":"Ana"}},"wa_id":"14155550123"}}],"messages":[{elements}]}},"field":"messages"}}]}}]}}"#
    )
}

fn splitting(bench: &mut Bench) -> Result<(), Failure> {
    progress("splitting");
    let body = body(0, 1_000, LONG_TEXT);
    let mut took = Vec::new();
    for _ in 0..bench.options.rounds * 20 {
        let began = Instant::now();
        let delivery = split(body.as_bytes());
        took.push(began.elapsed());
        if delivery.items.len() != 1_000 {
            bench.report.void("a body was split into another number of items");
        }
    }
    let value = Samples::from(took).p50();
    let shown = format!("{} ms", ms(value));
    let what = format!("to split and map {} bytes of 1,000 messages", thousands(body.len() as f64));
    bench.report.print(format!("## WhatsApp\n\n{what}: {shown} ({SPLIT}).\n"))?;
    let judged = Judged { name: "ms", value: value.map(milliseconds), shown, bar: SPLIT };
    bench.report.judge(Part::Whatsapp, &what, vec![judged])
}

fn rates(bench: &mut Bench) -> Result<(), Failure> {
    let mut table = Table::new(&["messages a body", "bodies/s", "messages/s", "p50 ms", "p99 ms"]);
    for messages in BATCHES {
        progress(format!("bodies of {messages}"));
        let path = bench.copy_path("whatsapp.db")?;
        let service = bench.start_with(&path, &[SECRET])?;
        let (took, seconds) = load(service.address(), messages, bench.options.seconds)?;
        service.stop()?;
        let bodies = took.len() as u64;
        bench.check_rows("bodies", &path, bodies * messages as u64)?;
        files::remove(&path)?;
        let samples = Samples::from(took);
        let rate = bodies as f64 / seconds;
        let figures = json!({
            "bodies_per_second": rate,
            "p50_ms": samples.p50().map(milliseconds),
            "p99_ms": samples.p99().map(milliseconds),
        });
        let name = format!("bodies of {messages} on {CONNECTIONS} connections");
        bench.report.record(Part::Whatsapp, &name, &figures)?;
        let in_messages = thousands(rate * messages as f64);
        let (p50, p99) = (ms(samples.p50()), ms(samples.p99()));
        bench.report.note(name, format!("{in_messages} messages/s; p50 {p50}, p99 {p99} ms"));
        table.row([thousands(messages as f64), thousands(rate), in_messages, p50, p99]);
    }
    bench.report.print(table)
}

/// Posts new bodies for so long; how long each took.
fn load(address: SocketAddr, messages: usize, seconds: u64) -> Result<(Vec<Duration>, f64), Failure> {
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let took = thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Duration>, Failure> {
                    let (mut client, key) = (Client::connect(address)?, Key::new(SECRET.1.as_bytes())?);
                    let mut took = Vec::new();
                    while !is_over.load(Relaxed) {
                        let first = next.fetch_add(messages as u64, Relaxed);
                        let body = body(first, messages, SHORT_TEXT);
                        took.push(post(&mut client, address, &key, &body)?.0);
                    }
                    Ok(took)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(seconds));
        is_over.store(true, Relaxed);
        let each = senders.into_iter().map(|sender| sender.join().map_err(|_| "a sender panicked")?);
        Ok(each.collect::<Result<Vec<_>, Failure>>()?.concat())
    })?;
    Ok((took, began.elapsed().as_secs_f64()))
}

/// Sends a body until it is taken: how long the last try took, and how many were put off.
fn post(client: &mut Client, address: SocketAddr, key: &Key, body: &str) -> Result<(Duration, u64), Failure> {
    let signature = format!("sha256={}", key.sign(body.as_bytes()));
    let mut put_off = 0;
    loop {
        match client.post_to("/whatsapp", "X-Hub-Signature-256", &signature, body) {
            Ok(answer) if answer.status == 200 => return Ok((answer.took, put_off)),
            Ok(answer) if answer.status != 503 => {
                return Err(format!("a body was answered {}", answer.status).into());
            }
            // Answered before all of it was sent, its connection is of no use any more.
            Ok(_) | Err(_) => *client = Client::connect(address)?,
        }
        put_off += 1;
        thread::sleep(RETRY);
    }
}

fn at_once(bench: &mut Bench) -> Result<(), Failure> {
    progress("64 large bodies at once");
    let path = bench.copy_path("whatsapp.db")?;
    let service = bench.start_with(&path, &[SECRET])?;
    let address = service.address();
    let bodies: Vec<_> =
        (0..CONNECTIONS as u64).map(|number| body(number * 1_000, 1_000, LONG_TEXT)).collect();
    let began = Instant::now();
    let put_off = thread::scope(|scope| -> Result<u64, Failure> {
        let send = |body: &str| -> Result<u64, Failure> {
            Ok(post(&mut Client::connect(address)?, address, &Key::new(SECRET.1.as_bytes())?, body)?.1)
        };
        let senders: Vec<_> = bodies.iter().map(|body| scope.spawn(move || send(body))).collect();
        senders.into_iter().map(|sender| sender.join().map_err(|_| "a sender panicked")?).sum()
    })?;
    let took = began.elapsed();
    let (_, highest) = service.memory()?;
    service.stop()?;
    bench.check_rows("large bodies", &path, CONNECTIONS as u64 * 1_000)?;
    files::remove(&path)?;
    let value = highest as f64 / f64::from(1 << 20);
    let shown = format!("{value:.0} MiB; all taken in {} ms, {put_off} tries put off", ms(Some(took)));
    let what = format!(
        "memory at its highest, {CONNECTIONS} bodies of {} bytes at once",
        thousands(bodies[0].len() as f64)
    );
    bench.report.print(format!("{what}: {shown} ({MEMORY}).\n"))?;
    bench.report.judge(
        Part::Whatsapp,
        &what,
        vec![Judged { name: "MiB", value: Some(value), shown, bar: MEMORY }],
    )
}

fn untouched(bench: &mut Bench) -> Result<(), Failure> {
    let (mut kept, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=bench.options.rounds {
        progress(format!("/webhook with the route and without, round {number}"));
        let mut rates = [0.0; 2];
        let order = if number % 2 == 1 { [false, true] } else { [true, false] };
        for has_route in order {
            let path = bench.copy_path("whatsapp.db")?;
            let settings: &[_] = if has_route { &[SECRET] } else { &[] };
            let service = bench.start_with(&path, settings)?;
            let messages = bench.new_messages(bench.options.messages)?;
            let load = Load {
                connections: CONNECTIONS as u32,
                seconds: bench.options.seconds,
                messages: &messages,
                again: false,
            };
            let posted = load.run(service.address(), &mut bench.report)?;
            service.stop()?;
            files::remove(&path)?;
            rates[usize::from(has_route)] = posted.rate;
        }
        kept.extend(ratio(rates[1], rates[0]));
        without.push(rates[0]);
        with.push(rates[1]);
    }
    let value = median(&kept);
    let rate = |rates: &[f64]| thousands(median(rates).unwrap_or_default());
    let shown = format!("{}: {}/s to {}", optional(value), rate(&with), rate(&without));
    let what = "ingest of /webhook with the route, of that without";
    bench.report.print(format!("{what}: {shown} ({UNTOUCHED}).\n"))?;
    bench.report.judge(Part::Whatsapp, what, vec![Judged { name: "kept", value, shown, bar: UNTOUCHED }])
}
