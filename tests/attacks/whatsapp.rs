//! Bodies of megabytes: many at once, of hostile shapes, and of senders who have no secret.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixtures::sign;
use crate::http_client::{Client, request};
use crate::row::{Report, Row, scaled};
use crate::service::Service;
use crate::setup::Setup;
use crate::swarm::Swarm;

const SECOND: Duration = Duration::from_secs(1);
const APP_SECRET: &str = "test_app_secret";
/// The bound of a body (contract, section 14).
const MAX_BYTES: usize = 4 << 20;
/// Where the attacker is; the sender that has the secret is on the address that the service is bound to.
const ATTACKER: &str = "127.0.0.3";

fn whatsapp(setup: Setup) -> Setup {
    setup.with("WHATSAPP_APP_SECRET", APP_SECRET)
}

fn signed(body: &[u8]) -> Vec<u8> {
    let signature = format!("sha256={}", sign(APP_SECRET, body));
    request("POST", "/whatsapp", &[("X-Hub-Signature-256", &signature)], Some(body))
}

/// What stands between these in a body of one change: contacts, or nothing, and the elements of `messages`.
fn body(contacts: &str, elements: &str) -> Vec<u8> {
    let metadata = r#"{"display_phone_number":"14155550100","phone_number_id":"200000000000001"}"#;
    let value = format!(
        r#"{{"messaging_product":"whatsapp","metadata":{metadata},{contacts}"messages":[{elements}]}}"#
    );
    let change = format!(r#"{{"value":{value},"field":"messages"}}"#);
    format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{change}]}}]}}"#)
        .into_bytes()
}

fn message(id: &str, text: &str) -> String {
    format!(
        r#"{{"from":"14155550123","id":"{id}","timestamp":"1749416383","type":"text","text":{{"body":"{text}"}}}}"#
    )
}

/// Sends whole requests until each is taken. How many were at first put off, and what else came.
fn until_taken(client: &mut Client, whole: &[u8], service: &Service) -> Result<u64, String> {
    let mut put_off = 0;
    let end = Instant::now() + 60 * SECOND;
    loop {
        // An answer may come while the rest of the body is on its way.
        drop(client.try_send(whole));
        match client.try_receive("POST") {
            Ok(answer) if answer.status == 200 => return Ok(put_off),
            Ok(answer) if answer.status == 503 && answer.header("Retry-After").is_some() => put_off += 1,
            Ok(answer) => return Err(format!("{} {}", answer.status, answer.text())),
            // One that was hung up on finds out when it reads.
            Err(_) => put_off += 1,
        }
        if Instant::now() > end {
            return Err(format!("put off {put_off} times"));
        }
        *client = Client::connect(&service.address);
        thread::sleep(SECOND / 20);
    }
}

#[test]
fn many_large_bodies_at_once_are_taken_or_put_off() {
    Row::new("bodies of 3 MB by WhatsApp, all at once, until each is taken").setup(whatsapp).attack(
        |service| {
            let count = scaled(64, 24);
            let outcomes = Mutex::new(Vec::new());
            thread::scope(|scope| {
                for n in 0..count {
                    let outcomes = &outcomes;
                    scope.spawn(move || {
                        let whole =
                            signed(&body("", &message(&format!("wamid.large-{n}"), &"x".repeat(3_000_000))));
                        let outcome = until_taken(&mut service.connect(), &whole, service);
                        outcomes.lock().expect("no client panics").push(outcome);
                    });
                }
            });
            let outcomes = outcomes.into_inner().expect("no client panics");
            let put_off: u64 = outcomes.iter().flatten().sum();
            let mut report = Report::of(format!("{count} bodies of 3 MB; put off {put_off} times"));
            report.acknowledged = outcomes.iter().flatten().count() as u64;
            for outcome in outcomes {
                report.expect(outcome.is_ok(), || format!("{outcome:?}"));
            }
            report
        },
    );
}

/// As many of these, with a comma between them, as fit a body.
fn filled(one: impl Fn(usize) -> String, most: usize) -> (String, u64) {
    let (mut all, mut count) = (String::new(), 0);
    while count < most {
        let next = one(count);
        if all.len() + next.len() + 1_000 > MAX_BYTES {
            break;
        }
        write!(all, "{}{next}", if count > 0 { "," } else { "" }).expect("a string takes text");
        count += 1;
    }
    (all, count as u64)
}

/// Bodies that are signed and mean harm, each with the rows that come of it.
fn hostile() -> Vec<(&'static str, Vec<u8>, u64)> {
    let tiny = |n: usize| format!(r#"{{"id":"t{n}","from":"1","timestamp":"1"}}"#);
    let (elements, rows) = filled(tiny, 100_000);
    let (contacts, _) = filled(|n| format!(r#"{{"wa_id":"{n}"}}"#), 1_000_000);
    let (keys, _) = filled(|_| r#""id":"k""#.to_owned(), 1_000_000);
    let (empty, _) = filled(|_| "{}".to_owned(), 2_000_000);
    let (zeros, _) = filled(|_| "0".to_owned(), 2_000_000);
    let digits = "9".repeat(5_000);
    let (numbers, _) = filled(|_| digits.clone(), 800);
    let long = "x".repeat(3_000_000);
    let large_context =
        format!(r#""contacts":[{{"wa_id":"14155550123","profile":{{"name":"{}"}}}}],"#, &long[..1_000_000]);
    let (beside_it, rows_beside) =
        filled(|n| format!(r#"{{"id":"b{n}","from":"14155550123","timestamp":"1"}}"#), 40_000);
    vec![
        ("4 MiB of [", vec![b'['; MAX_BYTES], 0),
        ("4 MiB of {\"a\":", b"{\"a\":".repeat(MAX_BYTES / 5), 0),
        ("entries in entries", br#"{"entry":[{"changes":["#.repeat(MAX_BYTES / 22), 0),
        ("100,000 elements", body("", &elements), rows),
        (
            "a million contacts",
            body(&format!("\"contacts\":[{contacts}],"), &message("wamid.contacts", "x")),
            1,
        ),
        ("a name of 1 MB beside 40,000 elements", body(&large_context, &beside_it), rows_beside),
        (
            "a key half a million times",
            body("", &format!("{{{keys},{}", &message("wamid.keys", "x")[1..])),
            1,
        ),
        ("a million empty elements", body("", &empty), 0),
        ("two million zeros", body("", &zeros), 0),
        (
            "numbers of 5,000 digits",
            body("", &format!(r#"{{"id":"n","from":{digits},"timestamp":{digits},"x":[{numbers}]}}"#)),
            0,
        ),
        ("an id of 3 MB", body("", &message(&long, "x")), 1),
        ("a text of 3 MB, escaped", body("", &message("wamid.text", &"\\ud83d\\ude00".repeat(250_000))), 1),
        (
            "wrong types",
            body("", r#"{"id":[],"from":{},"timestamp":true},[],null,"x",{"id":5},{"text":5,"type":{}}"#),
            0,
        ),
        ("not UTF-8", vec![0xff; MAX_BYTES], 0),
        ("zeros", vec![0; MAX_BYTES], 0),
    ]
}

#[test]
fn signed_bodies_of_hostile_shapes_are_taken_as_they_are() {
    Row::new("signed bodies of hostile shapes by WhatsApp").setup(whatsapp).attack(|service| {
        let bodies = hostile();
        let rounds = scaled(4, 1);
        let mut report = Report::default();
        let (mut put_off, mut slowest) = (0, (Duration::ZERO, ""));
        for round in 0..rounds {
            for (name, body, rows) in &bodies {
                let began = Instant::now();
                match until_taken(&mut service.connect(), &signed(body), service) {
                    Ok(times) => put_off += times,
                    Err(fault) => report.faults.push(format!("{name}: {fault}")),
                }
                slowest = slowest.max((began.elapsed(), name));
                // The second time there is nothing new in it.
                report.acknowledged += if round == 0 { *rows } else { 0 };
            }
        }
        report.sent = format!(
            "{} bodies {rounds} times, put off {put_off} times; the slowest {:.0} ms ({})",
            bodies.len(),
            slowest.0.as_secs_f64() * 1e3,
            slowest.1
        );
        report
    });
}

#[test]
fn a_flood_without_a_signature_keeps_no_signed_sender_out() {
    Row::new("4 MiB bodies by WhatsApp, whole and dribbling, unsigned, and a signed sender of another address")
        .setup(whatsapp)
        .attack(|service| {
            let count = scaled(200, 40);
            let whole = request("POST", "/whatsapp", &[("X-Hub-Signature-256", "sha256=00")], Some(&vec![b'x'; MAX_BYTES]));
            let mut swarm = Swarm::connect_from(service, ATTACKER, 0);
            let (mut sent, mut dribble, mut flooded) = (0_u64, 0, 0);
            let mut client = Client::connect_from("127.0.0.1", service.address.host_and_port());
            let (mut report, mut slowest, mut put_off) = (Report::default(), Duration::ZERO, 0);
            let end = Instant::now() + scaled(15 * SECOND, 3 * SECOND);
            while Instant::now() < end {
                let mut new = Swarm::connect_from(service, ATTACKER, count - swarm.bees.len());
                new.bees.iter_mut().for_each(|bee| bee.sent = 0);
                flooded += new.bees.len();
                swarm.bees.append(&mut new.bees);
                for (n, bee) in swarm.bees.iter_mut().enumerate() {
                    // Every second one keeps its last bytes back, and sends them one by one.
                    let at_once = if n % 2 == 0 { whole.len() } else { whole.len() - 10_000 };
                    let until = if bee.sent < at_once { at_once } else { (bee.sent + 1).min(whole.len()) };
                    dribble += usize::from(bee.sent >= at_once && bee.sent < whole.len());
                    bee.send(&whole[bee.sent.min(whole.len())..until]);
                    bee.receive();
                }
                swarm.bees.retain(|bee| bee.status().is_none() && !bee.closed);
                let signed = signed(&body("", &message(&format!("wamid.signed-{sent}"), &"y".repeat(300_000))));
                let began = Instant::now();
                match until_taken(&mut client, &signed, service) {
                    Ok(times) => put_off += times,
                    Err(fault) => report.faults.push(fault),
                }
                slowest = slowest.max(began.elapsed());
                sent += 1;
            }
            report.acknowledged = sent - report.faults.len() as u64;
            report.sent = format!(
                "{flooded} connections, {dribble} bytes dribbled; {sent} signed bodies of 300 KB, put off {put_off} times, the slowest {:.0} ms",
                slowest.as_secs_f64() * 1e3
            );
            report.expect(put_off * 4 <= sent, || format!("{put_off} of {sent} signed bodies were put off"));
            report
        });
}
