//! `scripts/postgres-questions.sql` answers of all receivers' messages what `/messages` and `/stats` answer of one's.

use serde_json::{Value, json};

use crate::fixtures::{ids, message_with};
use crate::http_client::encode;
use crate::postgres::Postgres;
use crate::recipes::project_file;
use crate::service::Service;

/// What one run has printed, by the header of each answer.
struct Answers(Vec<(String, Vec<String>)>);

impl Answers {
    #[track_caller]
    fn to(server: &Postgres, variables: &[(&str, &str)]) -> Self {
        let file = project_file("scripts/postgres-questions.sql").display().to_string();
        let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["--csv", "-f", &file];
        arguments.extend(variables.iter().flat_map(|variable| ["-v", variable.as_str()]));
        let output = server.psql(&arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{variables:?}: {output:?}");
        let headers =
            ["message_id,from,to,ts,text", "total", "total_messages,", "from,count", "receiver,count,"];
        let mut answers = Self(Vec::new());
        for line in String::from_utf8(output.stdout).expect("it is UTF-8").lines() {
            let next = headers.get(answers.0.len());
            if next.is_some_and(|header| {
                if header.ends_with(',') { line.starts_with(header) } else { line == *header }
            }) {
                answers.0.push((line.to_owned(), Vec::new()));
            } else {
                answers.0.last_mut().expect("a header comes first").1.push(line.to_owned());
            }
        }
        assert_eq!(answers.0.len(), headers.len(), "{:?}", answers.0);
        answers
    }

    fn ids(&self) -> Vec<String> {
        let id = |line: &String| line.split(',').next().unwrap_or_default().to_owned();
        self.0[0].1.iter().map(id).collect()
    }

    fn total(&self) -> Value {
        json!(self.0[1].1[0].parse::<u64>().expect("a total is a number"))
    }
}

const TEXTS: [&str; 14] = [
    "Hello",
    "HELLO world",
    "100% sure",
    "a_b",
    "axb",
    "C:\\path",
    "Hauptstraße",
    "HAUPTSTRASSE",
    "ÉCOLE",
    "école",
    "ΣΟΦΟΣ σοφός",
    "ПРИВЕТ",
    "\u{212a}elvin \u{fb00}",
    "",
];
const TIMES: [&str; 9] = [
    "2025-01-15T10:00:00Z",
    "2025-01-15T10:00:00.0Z",
    "2025-01-15T10:00:00.000000001Z",
    "2025-01-15T10:00:00.0000000011Z",
    "2025-01-15T10:00:00.5Z",
    "2025-01-15T09:59:59.999999999Z",
    "2024-02-29T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
];

/// A service and a PostgreSQL that have the same 300 messages.
fn both() -> Option<(Service, Postgres)> {
    let server = Postgres::start()?;
    let service = Service::start();
    for number in 0..300 {
        let text = TEXTS[number * 7 % TEXTS.len()];
        let fields = json!({
            // Some are more busy than others, some the same.
            "from": format!("+{}", number * number % 23),
            "to": format!("+{}", number % 2),
            "ts": TIMES.iter().filter(|ts| ts.len() <= 30).nth(number * 5 % 8),
            "text": if number % 10 == 0 { json!(null) } else { json!(text) },
        });
        service.store(&message_with(&format!("{}-{number}", ["m", "M", "é"][number % 3]), &fields));
    }
    let page = service.get("/feed?limit=1000").expect(200).json();
    let rows = page["data"].as_array().expect("a page has rows");
    server.load(&rows.iter().map(|row| format!("{row}\n")).collect::<String>(), &[]).quietly();
    Some((service, server))
}

#[test]
fn pages_and_totals_are_those_of_messages() {
    let Some((service, server)) = both() else { return };
    for filters in [
        &[][..],
        &[("from", "+4")],
        &[("from", "+999")],
        &[("from", ""), ("since", ""), ("q", "")],
        &[("from", "' OR true --")],
        &[("limit", "7"), ("offset", "293")],
        &[("offset", "1000")],
        &[("since", "2025-01-15")],
        &[("since", "2025-01-15T10:00:00")],
        &[("since", "2025-01-15T10:00:00.000000001Z")],
        &[("since", "2025-01-15T10:00:00.000000002Z")],
        &[("since", "2025-01-15T15:30:00.5+05:30")],
        &[("since", "2025-01-15T09:59:59.9999999999Z")],
        &[("q", "hello")],
        &[("q", "0% S")],
        &[("q", "a_b")],
        &[("q", "\\PATH")],
        &[("q", "strasse")],
        &[("q", "straße")],
        &[("q", "École")],
        &[("q", "σοφος")],
        &[("q", "привет")],
        &[("q", "KELVIN FF")],
        &[("q", "e")],
        &[("q", "'"), ("from", "+4")],
        &[("from", "+4"), ("since", "2024-01-01"), ("q", "H"), ("limit", "3"), ("offset", "2")],
    ] {
        let query: Vec<_> = filters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let page = service.get(&format!("/messages?{}", query.join("&")));
        let answers = Answers::to(&server, filters);
        assert_eq!(answers.ids(), ids(&page), "{filters:?}");
        assert_eq!(answers.total(), page.json()["total"], "{filters:?}");
    }
    let answers = Answers::to(&server, &[("to", "+1"), ("limit", "100")]);
    assert_eq!((answers.total(), answers.ids().len()), (json!(150), 100));
}

#[test]
fn a_walk_along_the_pages_meets_every_message_once_in_the_order_of_messages() {
    let Some((service, server)) = both() else { return };
    let mut expected = Vec::new();
    for offset in [0, 100, 200] {
        expected.extend(ids(&service.get(&format!("/messages?limit=100&offset={offset}"))));
    }
    let mut met: Vec<String> = Vec::new();
    loop {
        let after = met.last().cloned().unwrap_or_default();
        let variables = [("limit", "45"), ("after", after.as_str())];
        let page = Answers::to(&server, &variables[..if met.is_empty() { 1 } else { 2 }]).ids();
        if page.is_empty() {
            break;
        }
        met.extend(page);
    }
    assert_eq!(met, expected);
    assert!(Answers::to(&server, &[("after", "nothing")]).ids().is_empty());
}

#[test]
fn the_figures_are_those_of_stats() {
    let Some((service, server)) = both() else { return };
    let stats = service.get("/stats").expect(200).json();
    let answers = Answers::to(&server, &[]).0;
    let figure = |name: &str| stats[name].to_string().replace('"', "");
    let names = ["total_messages", "senders_count", "first_message_ts", "last_message_ts"];
    assert_eq!(answers[2].1, [names.map(figure).join(",")]);
    let senders = stats["messages_per_sender"].as_array().expect("there are senders").iter();
    let senders: Vec<_> =
        senders.map(|row| format!("{},{}", row["from"].as_str().unwrap_or_default(), row["count"])).collect();
    assert_eq!(answers[3].1, senders);
    assert!(answers[4].1.len() == 1 && answers[4].1[0].starts_with("one,300,"), "{answers:?}");
    // Of nothing.
    server.query("TRUNCATE messages");
    let answers = Answers::to(&server, &[]).0;
    assert_eq!(answers[2].1, ["0,0,,"]);
    assert!(answers[0].1.is_empty() && answers[1].1 == ["0"] && answers[3].1.is_empty(), "{answers:?}");
}

#[test]
fn a_page_of_many_messages_is_found_by_an_index() {
    let Some(server) = Postgres::start() else { return };
    server.load("", &[]).quietly();
    server.query(
        "INSERT INTO messages (message_id, from_msisdn, to_msisdn, ts, text, receiver, sent_at)
         SELECT n, '+' || n % 1000, '+1', to_char(at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'number ' || n, 'one', at
         FROM generate_series(1, 30000) AS n, LATERAL (SELECT timestamp '2025-01-01' + n * interval '1 s') AS t(at)",
    );
    server.query("VACUUM ANALYZE messages");
    let order = "ORDER BY sent_at, rtrim(ts, 'Z.0') COLLATE \"C\", message_id LIMIT 50";
    for (filter, index) in [
        ("TRUE", "messages_sent_at"),
        ("from_msisdn = '+7'", "messages_from_msisdn"),
        ("sent_at >= '2025-01-01 03:00:00Z'", "messages_sent_at"),
        (
            "(sent_at, rtrim(ts, 'Z.0') COLLATE \"C\", message_id) > ('2025-01-01 03:00:00Z', 'x', 'y')",
            "messages_sent_at",
        ),
        ("messages_fold(text) LIKE '%' || messages_fold('29876') || '%'", "messages_text"),
    ] {
        let plan = server.query(&format!("EXPLAIN SELECT message_id FROM messages WHERE {filter} {order}"));
        assert!(plan.contains(&format!(" {index}")), "{filter}: {plan}");
    }
}
