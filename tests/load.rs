//! The two jobs of `scripts/bench` that a shell is too slow for: signing messages ahead of the
//! run, and putting the same rows into SQLite with nothing else in the way, which is the
//! machine's own limit that the service is measured against.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use lexopt::prelude::*;
use rusqlite::Connection;
use sha2::Sha256;

const USAGE: &str = "\
usage: load messages --count N --seed S --secret KEY
           N signed messages, one `signature<TAB>json` a line; the same seed gives the same lines
       load sqlite-loop --rows FILE --database PATH [--batch 64]
           stores such lines in a new SQLite file, one transaction a batch; prints rows per second
";

const SENDERS: u32 = 10_000;
/// Messages that share one second of `ts`: near what a busy sender of webhooks looks like.
const PER_SECOND: u64 = 100;
/// 2025-01-01T00:00:00Z.
const FIRST_TS: u64 = 1_735_689_600;

fn main() {
    if let Err(error) = run() {
        eprintln!("load: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_env();
    let Some(Value(command)) = parser.next()? else {
        return usage();
    };
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("count") => options.count = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("secret") => options.secret = parser.value()?.string()?,
            Long("rows") => options.rows = parser.value()?,
            Long("database") => options.database = parser.value()?,
            Long("batch") => options.batch = parser.value()?.parse()?,
            _ => return usage(),
        }
    }
    match command.to_str() {
        Some("messages") => messages(&options),
        Some("sqlite-loop") => sqlite_loop(&options),
        _ => usage(),
    }
}

fn usage() -> Result<(), Box<dyn Error>> {
    Err(format!("not understood\n{USAGE}").into())
}

struct Options {
    count: u64,
    seed: u64,
    secret: String,
    rows: OsString,
    database: OsString,
    batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            count: 0,
            seed: 1,
            secret: String::new(),
            rows: OsString::new(),
            database: OsString::new(),
            batch: 64,
        }
    }
}

fn messages(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.secret.is_empty() {
        return Err("messages needs --secret".into());
    }
    let mut random = Random(options.seed);
    let senders = zipf_table();
    let key = Hmac::<Sha256>::new_from_slice(options.secret.as_bytes())?;
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    for number in 0..options.count {
        let body = message(number, &senders, &mut random);
        let mut mac = key.clone();
        mac.update(body.as_bytes());
        writeln!(out, "{}\t{body}", hex::encode(mac.finalize().into_bytes()))?;
    }
    out.flush()?;
    Ok(())
}

fn message(number: u64, senders: &[f64], random: &mut Random) -> String {
    // Ids that sort at random are what UUIDs do to the index of a primary key.
    let id = format!("{:016x}{:016x}", random.next(), random.next());
    let sender = rank(senders, random.fraction());
    let ts = timestamp(FIRST_TS + number / PER_SECOND);
    let words = usize::try_from(4 + random.next() % 16).unwrap_or(4);
    let text = vec!["lorem"; words].join(" ");
    serde_json::json!({
        "message_id": id,
        "from": format!("+9198{sender:08}"),
        "to": "+14155550100",
        "ts": ts,
        "text": format!("{text} {number}"),
    })
    .to_string()
}

/// Cumulative weights 1, 1/2, 1/3, …: a few senders write much, most write little.
fn zipf_table() -> Vec<f64> {
    let mut sum = 0.0;
    (1..=SENDERS)
        .map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        })
        .collect()
}

fn rank(table: &[f64], fraction: f64) -> usize {
    let total = table.last().copied().unwrap_or(1.0);
    table.partition_point(|&weight| weight < fraction * total)
}

/// Civil date of a day count (Hinnant's algorithm), enough for years after 1970.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// SplitMix64: the same seed gives the same run on every machine, which `rand` does not promise.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fraction(&mut self) -> f64 {
        let high = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(high) / f64::from(u32::MAX)
    }
}

struct Row {
    message_id: String,
    from: String,
    to: String,
    ts: String,
    text: Option<String>,
}

fn sqlite_loop(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.rows.is_empty() || options.database.is_empty() || options.batch == 0 {
        return Err("sqlite-loop needs --rows, --database and a --batch above 0".into());
    }
    // Read and parsed before the clock starts: only SQLite is measured.
    let rows = read_rows(&options.rows)?;
    let database = Connection::open(&options.database)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(
        "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
           to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
         CREATE INDEX by_ts ON messages (ts, message_id);
         CREATE INDEX by_sender ON messages (from_msisdn, ts, message_id);",
    )?;
    let elapsed = insert_all(&database, &rows, options.batch)?;
    let count: i64 = database.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
    if usize::try_from(count)? != rows.len() {
        return Err(format!("{} rows went in, {count} are there", rows.len()).into());
    }
    let per_second = f64::from(u32::try_from(rows.len())?) / elapsed.as_secs_f64();
    writeln!(io::stdout(), "{per_second:.0}")?;
    Ok(())
}

fn read_rows(path: &OsString) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let (_, json) = line.split_once('\t').ok_or("a line without a tab")?;
        let value: serde_json::Value = serde_json::from_str(json)?;
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        rows.push(Row {
            message_id: field("message_id").ok_or("a message without message_id")?,
            from: field("from").ok_or("a message without from")?,
            to: field("to").ok_or("a message without to")?,
            ts: field("ts").ok_or("a message without ts")?,
            text: field("text"),
        });
    }
    Ok(rows)
}

fn insert_all(database: &Connection, rows: &[Row], batch: usize) -> Result<Duration, Box<dyn Error>> {
    let mut insert = database.prepare(
        "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, '2025-01-15T10:00:01.123Z')
         ON CONFLICT (message_id) DO NOTHING",
    )?;
    let started = Instant::now();
    for chunk in rows.chunks(batch) {
        database.execute_batch("BEGIN IMMEDIATE")?;
        for row in chunk {
            insert.execute((&row.message_id, &row.from, &row.to, &row.ts, &row.text))?;
        }
        database.execute_batch("COMMIT")?;
    }
    Ok(started.elapsed())
}
