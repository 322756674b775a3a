//! Random sequences of posts and queries, compared with a model that is small enough to be obviously right.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::thread;

use serde_json::{Value, json};

use crate::fixtures::{ids, message_with};
use crate::http_client::encode;
use crate::service::Service;

/// xorshift64*: a failure is repeated with `PROPERTY_SEED`.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let given = std::env::var("PROPERTY_SEED").ok();
        let seed = given
            .map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().expect("a number"))
            .max(1);
        Self { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits fit") % bound
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if thread::panicking() {
            // Past the capture, so that it is there whatever becomes of the run.
            let test = thread::current().name().unwrap_or("a test").to_owned();
            let line = format!("failed: {test}: repeat it with PROPERTY_SEED={}\n", self.seed);
            drop(io::stderr().write_all(line.as_bytes()));
        }
    }
}

/// Seconds as their nineteen characters, then nanoseconds: as such they compare as instants do.
type Instant = (String, u32);

fn instant(ts: &str) -> Instant {
    let (seconds, fraction) = ts.split_at(19);
    let digits = fraction.trim_start_matches('.').trim_end_matches('Z');
    (seconds.to_owned(), format!("{digits:0<9}").parse().expect("a fraction is digits"))
}

/// The alphabet of the texts, each letter with what full case folding makes of it.
const LETTERS: [(&str, &str); 12] = [
    ("a", "a"),
    ("A", "a"),
    ("s", "s"),
    ("S", "s"),
    ("ß", "ss"),
    ("É", "é"),
    ("é", "é"),
    ("%", "%"),
    ("_", "_"),
    (" ", " "),
    ("ς", "σ"),
    ("😀", "😀"),
];

fn random_text(random: &mut Random, longest: usize) -> (String, String) {
    let length = random.below(longest + 1);
    (0..length).map(|_| *random.one_of(&LETTERS)).unzip()
}

fn random_ts(random: &mut Random) -> String {
    let fraction = random.one_of(&["", "", ".0", ".5", ".50", ".05", ".000000001", ".999999999"]);
    format!("2025-01-{:02}T10:00:{:02}{fraction}Z", 14 + random.below(3), random.below(4))
}

const SENDERS: [&str; 5] = ["+1", "+2", "+10", "+11", "+919876543210"];

struct Row {
    from: &'static str,
    ts: String,
    folded: Option<String>,
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<(Instant, String), Row>,
    ids: BTreeMap<String, Value>,
}

impl Model {
    fn insert(&mut self, id: &str, from: &'static str, ts: String, folded: Option<String>, sent: Value) {
        if !self.ids.contains_key(id) {
            self.ids.insert(id.to_owned(), sent);
            self.rows.insert((instant(&ts), id.to_owned()), Row { from, ts, folded });
        }
    }

    fn find(&self, from: Option<&str>, since: Option<&Instant>, q: &str) -> Vec<String> {
        let matches = self.rows.iter().filter(|((instant, _), row)| {
            from.is_none_or(|from| row.from == from)
                && since.is_none_or(|since| instant >= since)
                && (q.is_empty() || row.folded.as_ref().is_some_and(|folded| folded.contains(q)))
        });
        matches.map(|((_, id), _)| id.clone()).collect()
    }

    fn stats(&self) -> Value {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for row in self.rows.values() {
            *counts.entry(row.from).or_default() += 1;
        }
        let mut top: Vec<_> = counts.iter().collect();
        top.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        let top: Vec<_> = top
            .iter()
            .map(|(from, count)| json!({"from": from, "from_msisdn": from, "count": count}))
            .collect();
        json!({"total_messages": self.rows.len(), "senders_count": counts.len(), "messages_per_sender": top})
    }
}

fn random_post(service: &Service, model: &mut Model, random: &mut Random) {
    let id = format!("m{}", random.below(120));
    let from = *random.one_of(&SENDERS);
    let ts = random_ts(random);
    let (text, folded) = random_text(random, 8);
    let text = if random.chance(90) { Some(text) } else { None };
    let folded = text.is_some().then_some(folded);
    let sent = message_with(&id, &json!({"from": from, "ts": ts, "text": text}));
    service.store(&sent);
    model.insert(&id, from, ts, folded, sent);
}

fn random_query(service: &Service, model: &Model, random: &mut Random) {
    let from = random.chance(40).then(|| *random.one_of(&SENDERS));
    let since = random.chance(40).then(|| random_ts(random));
    let (q, folded) = if random.chance(50) { random_text(random, 3) } else { Default::default() };
    let longest = *random.one_of(&[10, 100]);
    let limit = 1 + random.below(longest);
    let offset = if random.chance(30) { random.below(20) } else { 0 };

    let mut query = format!("limit={limit}&offset={offset}&q={}", encode(&q));
    if let Some(from) = from {
        query += &format!("&from={from}");
    }
    if let Some(since) = &since {
        query += &format!("&since={since}");
    }
    let matching = model.find(from, since.as_deref().map(instant).as_ref(), &folded);
    let page = service.get(&format!("/messages?{query}"));
    let expected: Vec<_> = matching.iter().skip(offset).take(limit).cloned().collect();
    assert_eq!(ids(&page), expected, "{query}");
    let body = page.json();
    assert_eq!(body["total"], matching.len(), "{query}");
    for row in body["data"].as_array().expect("a page has rows") {
        let sent = &model.ids[row["message_id"].as_str().expect("a row has an id")];
        for name in ["from", "to", "ts", "text"] {
            assert_eq!(row[name], sent[name], "{query}: {row}");
        }
    }
    let mut walked = ids(&page);
    let mut target = page.next_page();
    while let Some(here) = target {
        let page = service.get(&here);
        walked.extend(ids(&page));
        assert!(walked.len() <= matching.len(), "{query}: the walk goes astray: {walked:?}");
        target = page.next_page();
    }
    assert_eq!(walked, matching.get(offset..).unwrap_or_default(), "{query}");
}

fn same_stats(service: &Service, model: &Model) {
    let mut stats = service.get("/stats").expect(200).json();
    let instants = ["first_message_ts", "last_message_ts"].map(|name| {
        let ts = stats.as_object_mut().expect("stats are an object").remove(name).expect("both are given");
        // Of several rows at one instant any may be named.
        ts.as_str().map(instant)
    });
    assert_eq!(stats, model.stats());
    let first = model.rows.values().next().map(|row| instant(&row.ts));
    let last = model.rows.values().next_back().map(|row| instant(&row.ts));
    assert_eq!(instants, [first, last]);
}

#[test]
fn any_sequence_of_posts_and_queries_agrees_with_the_model() {
    let mut random = Random::new();
    for _ in 0..3 {
        let mut service = Service::start();
        let mut model = Model::default();
        for _ in 0..400 {
            match random.below(100) {
                0..60 => random_post(&service, &mut model, &mut random),
                60..90 => random_query(&service, &model, &mut random),
                90..98 => same_stats(&service, &model),
                98 => service = service.restart(),
                _ => service = service.kill().start(),
            }
        }
        same_stats(&service, &model);
    }
}

#[test]
fn no_signed_body_is_a_failure_of_the_service() {
    let mut random = Random::new();
    let service = Service::start();
    let mut client = service.connect();
    let valid = message_with("m1", &json!({"text": "é😀"})).to_string().into_bytes();
    let fragments: [&[u8]; 14] = [
        b"{",
        b"}",
        b"[",
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud800",
        b":",
        b",",
        b"null",
        b"1e999",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
    ];
    for _ in 0..500 {
        let mut body = valid.clone();
        for _ in 0..=random.below(4) {
            let place = random.below(body.len() + 1);
            match random.below(4) {
                0 => drop(body.splice(place..place, random.one_of(&fragments).iter().copied())),
                1 => body.truncate(place),
                2 => drop(body.splice(..place, [])),
                _ if place < body.len() => body[place] = random.next().to_le_bytes()[0],
                _ => body.extend_from_within(..),
            }
        }
        let signature = crate::fixtures::sign(crate::fixtures::SECRET, &body);
        let answer = client.request("POST", "/webhook", &[("X-Signature", &signature)], Some(&body));
        assert!(
            answer.status == 200 || answer.status == 422,
            "{}: {:?}",
            answer.status,
            String::from_utf8_lossy(&body)
        );
        if answer.status == 422 {
            let named = answer.json()["detail"].as_array().map_or(0, Vec::len);
            assert!(named > 0, "{:?}", String::from_utf8_lossy(&body));
        }
    }
    service.get("/health/ready").expect(200);
}

#[test]
fn no_query_is_a_failure_of_the_service() {
    let mut random = Random::new();
    let service = Service::start();
    let mut client = service.connect();
    let names = ["limit", "offset", "from", "since", "q", "after", "", "%6cimit"];
    let pieces = [
        "1",
        "-",
        "+",
        "%2B",
        "%",
        "%00",
        "%FF",
        "2025-01-15",
        "T10:00:00",
        "Z",
        ".5",
        "=",
        "&",
        "a",
        "%C3%9F",
        ";",
    ];
    for _ in 0..500 {
        let mut query = String::new();
        for _ in 0..random.below(4) {
            let value: String = (0..random.below(5)).map(|_| *random.one_of(&pieces)).collect();
            query += &format!("{}={value}&", random.one_of(&names));
        }
        let answer = client.get(&format!("/messages?{query}"));
        assert!(answer.status == 200 || answer.status == 422, "{}: {query}", answer.status);
        answer.json();
    }
}
