//! What was sent is compared with what arrived, and what senders saw with what they may see.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::Fleet;
use crate::messages::{in_postgres, message_of};
use crate::senders::{Complaint, SENDERS, Seen, Sent};
use crate::stream;

/// By COPY, since psql leaves U+10FFFF out of what it shows itself.
const ROWS: &str =
    "COPY (SELECT json_build_object('message_id', message_id, 'from', from_msisdn, 'to', to_msisdn,
    'ts', ts, 'text', text) FROM messages) TO STDOUT";
/// How much of a difference is shown.
const SHOWN: usize = 5;

/// A sender may see that the proxy itself is away, and nothing else: one receiver is whole at any time.
fn is_allowed(complaint: &Complaint, away: &[(Instant, Instant)]) -> bool {
    let broke = matches!(complaint.seen, Seen::Refused | Seen::Broken);
    broke && away.iter().any(|(from, to)| complaint.at >= *from && complaint.connected <= *to)
}

/// What is wrong with what arrived: each message has to be there once, as it was sent.
fn differences(
    place: &str,
    sent: &BTreeSet<&str>,
    arrived: &[Value],
    stored: fn(Value) -> Value,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut met = HashSet::new();
    for message in arrived {
        let id = message["message_id"].as_str().expect("a message has an id");
        let expected = stored(message_of(id));
        if !met.insert(id) {
            wrong.push(format!("{place}: {id} is there twice"));
        } else if !sent.contains(id) {
            wrong.push(format!("{place}: {id} was not sent"));
        } else if ["from", "to", "ts", "text"].iter().any(|name| message[*name] != expected[*name]) {
            wrong.push(format!("{place}: {message} was sent as {expected}"));
        }
    }
    wrong.extend(sent.iter().filter(|id| !met.contains(*id)).map(|id| format!("{place}: {id} is missing")));
    wrong
}

/// What followers had to tell, each kind of line once, and how often: whether what failed was felt.
fn troubles(fleet: &Fleet) -> BTreeMap<String, usize> {
    let mut troubles = BTreeMap::new();
    for line in fleet.receivers.iter().flat_map(crate::receiver::Receiver::told) {
        // Half a line is what a kill leaves.
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let text = format!("{} {} {}", word("event"), word("reason"), word("line"));
        let text = text.replace(|character: char| character.is_ascii_digit(), "");
        *troubles.entry(text.chars().take(120).collect()).or_default() += 1;
    }
    troubles
}

#[track_caller]
pub(crate) fn pronounce(fleet: &Fleet, sent: &Sent, twins: &Sent, caught_up: Duration) {
    // Nobody gave up, so what was sent is what was acknowledged.
    let ids: BTreeSet<&str> = sent.ids.iter().chain(&twins.ids).map(String::as_str).collect();
    let stored: Vec<_> = fleet.receivers.iter().map(crate::receiver::Receiver::stored).collect();
    let more = stored.iter().sum::<u64>() - ids.len() as u64;
    eprintln!(
        "fleet: {} messages acknowledged to {SENDERS} senders; stored {stored:?}, {more} of them by more than one",
        ids.len()
    );
    eprintln!("fleet: the slowest answer took {:.1} s", sent.slowest.as_secs_f64());
    eprintln!("fleet: the followers had caught up after {:.1} s", caught_up.as_secs_f64());
    eprintln!(
        "fleet: HAProxy was restarted {} times; senders saw {:?}",
        fleet.proxy.away.len() - 1,
        sent.counts()
    );
    eprintln!("fleet: past HAProxy they saw {:?}", twins.counts());

    for (trouble, count) in troubles(fleet) {
        eprintln!("fleet: told {count} times: {trouble}");
    }

    let rows = fleet.postgres.psql(ROWS).unwrap_or_else(|error| panic!("PostgreSQL answers: {error}"));
    // Of what COPY escapes, JSON has backslashes alone.
    let rows: Vec<Value> = crate::output::parse_lines(&rows.replace(r"\\", r"\"));
    let mut wrong = differences("PostgreSQL", &ids, &rows, in_postgres);
    let rejected = fleet.postgres.psql("SELECT reason, line FROM messages_rejected");
    wrong.extend(rejected.expect("PostgreSQL answers").lines().map(|line| format!("rejected: {line}")));
    let messages = stream::read(&fleet.nats.address());
    wrong.extend(differences("the stream", &ids, &messages, |message| message));
    eprintln!("fleet: {} rows in PostgreSQL, {} messages in the stream", rows.len(), messages.len());
    let not_allowed: Vec<_> =
        sent.complaints.iter().filter(|complaint| !is_allowed(complaint, &fleet.proxy.away)).collect();
    for complaint in not_allowed.iter().take(SHOWN) {
        let took = (complaint.at - complaint.sent).as_secs_f64();
        let ago = complaint.at.elapsed().as_secs_f64();
        let Complaint { id, seen, body, .. } = complaint;
        eprintln!("fleet: not allowed: {id}, {ago:.1} s before the end, after {took:.1} s: {seen:?} {body}");
    }
    let shown = json!(wrong.iter().take(SHOWN).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{} differences: {shown:#}", wrong.len());
    assert!(not_allowed.is_empty(), "{} errors that no sender may see", not_allowed.len());
}

#[test]
fn a_message_that_is_missing_or_there_twice_or_another_one_is_told() {
    let sent = BTreeSet::from(["s1-1", "s1-2"]);
    let told = |arrived: &[Value]| differences("here", &sent, arrived, |message| message).len();
    let [one, two] = ["s1-1", "s1-2"].map(message_of);
    let mut other = two.clone();
    other["text"] = json!("another one");
    for (arrived, wrong) in [
        (vec![one.clone(), two.clone()], 0),
        (vec![one.clone()], 1),
        (vec![one.clone(), two.clone(), two.clone()], 1),
        (vec![one.clone(), other], 1),
        (vec![one, two, message_of("s1-3")], 1),
    ] {
        assert_eq!(told(&arrived), wrong, "{arrived:?}");
    }
}

#[test]
fn a_sender_may_see_that_the_proxy_is_away_and_nothing_else() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let away = [(at(10), at(12))];
    for (seen, connected, end, allowed) in [
        (Seen::Refused, 11, 11, true),
        (Seen::Broken, 5, 10, true),
        // The connection of before is found broken when it is used again.
        (Seen::Broken, 5, 20, true),
        (Seen::Broken, 13, 20, false),
        (Seen::Broken, 5, 6, false),
        (Seen::Refused, 13, 13, false),
        (Seen::Status(503), 11, 11, false),
        (Seen::Silence, 5, 20, false),
    ] {
        let (connected, end) = (at(connected), at(end));
        let complaint =
            Complaint { id: "m1".to_owned(), seen, connected, sent: connected, at: end, body: String::new() };
        assert_eq!(is_allowed(&complaint, &away), allowed, "{complaint:?}");
    }
}
