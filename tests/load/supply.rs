//! Signed messages, made before a load and not during it: one `signature<TAB>json` a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::thread;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Failure;
use crate::corpus::{Corpus, Row};
use crate::random::Random;
use crate::service::SECRET;

/// Messages that one thread makes at a time: some 10 MB.
const BLOCK: u64 = 25_000;

/// A message as it is sent.
pub(crate) struct Signed {
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// What bodies are signed with.
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(secret: &[u8]) -> Result<Self, Failure> {
        Ok(Self(Hmac::new_from_slice(secret)?))
    }

    pub(crate) fn sign(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }
}

pub(crate) struct Signer(Key);

impl Signer {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self(Key::new(SECRET.as_bytes())?))
    }

    pub(crate) fn sign(&self, row: &Row) -> Signed {
        let mut message = json!({
            "message_id": row.message_id,
            "from": row.from,
            "to": row.to,
            "ts": row.ts,
        });
        if let Some(text) = &row.text {
            message["text"] = Value::from(text.as_str());
        }
        let body = message.to_string();
        Signed { signature: self.0.sign(body.as_bytes()), body }
    }
}

/// Writes `count` messages; the same seed gives the same ones.
pub(crate) fn write(path: &Path, corpus: &Corpus, count: u64, seed: u64) -> Result<(), Failure> {
    let signer = Signer::new()?;
    let block = |first: u64| {
        let mut random = Random::new(seed << 32 | first);
        let mut lines = Vec::new();
        for number in first..count.min(first + BLOCK) {
            let Signed { signature, body } = signer.sign(&corpus.posted(number, &mut random));
            lines.extend_from_slice(signature.as_bytes());
            lines.push(b'\t');
            lines.extend_from_slice(body.as_bytes());
            lines.push(b'\n');
        }
        lines
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut file = File::create(path)?;
    let mut firsts = (0..count).step_by(BLOCK as usize).peekable();
    while firsts.peek().is_some() {
        let blocks: Vec<_> = thread::scope(|scope| {
            let made: Vec<_> =
                firsts.by_ref().take(threads).map(|first| scope.spawn(move || block(first))).collect();
            made.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for lines in blocks {
            file.write_all(&lines.map_err(|_| "a thread that signs messages panicked")?)?;
        }
    }
    // Written now, so that the kernel does not write it while something is measured.
    Ok(file.sync_all()?)
}

/// The first `count` of the messages in a file.
pub(crate) fn read(path: &Path, count: usize) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::with_capacity(count);
    for line in BufReader::new(File::open(path)?).lines().take(count) {
        let line = line?;
        let (_, json) = line.split_once('\t').ok_or("a line without a tab")?;
        let mut message: Value = serde_json::from_str(json)?;
        let mut field = |name: &str| match message[name].take() {
            Value::String(text) => Some(text),
            _ => None,
        };
        let missing = || format!("a message that lacks a field: {json}");
        let ts = field("ts").ok_or_else(missing)?;
        rows.push(Row {
            message_id: field("message_id").ok_or_else(missing)?,
            from: field("from").ok_or_else(missing)?,
            to: field("to").ok_or_else(missing)?,
            created_at: ts.clone(),
            ts,
            text: field("text"),
        });
    }
    Ok(rows)
}
