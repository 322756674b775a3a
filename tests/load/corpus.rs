//! What the messages hold: texts of words by Zipf's law, senders of whom few write much and most
//! little, ids at random. The same seed gives the same messages on every machine.

use crate::moment::timestamp;
use crate::random::{Random, Zipf};

/// Raised with every change that makes other rows, so that stores of an older kind are not reused.
pub(crate) const GENERATOR: u32 = 1;

/// The instant of the first row of a store; one row follows a second, give or take the jitter.
const FIRST_TS: u64 = 1_735_689_600;
const JITTER_SECONDS: u64 = 6;
/// Later than every row of the largest store there may be.
const FIRST_POSTED_TS: u64 = FIRST_TS + 100_000_000;
/// Posted messages that share a second of `ts`.
const POSTED_PER_SECOND: u64 = 100;

/// Writes one row in a hundred.
pub(crate) const BUSY_SENDER: &str = "+14155550001";
const BUSY_SHARE: f64 = 0.01;
/// Writes [`RARE_SENDER_ROWS`] rows of a store, spread evenly.
pub(crate) const RARE_SENDER: &str = "+14155550005";
const RARE_SENDER_ROWS: u64 = 5;
const OTHER_SENDERS: u32 = 50_000;
const RECIPIENT: &str = "+14155550100";

/// In [`RARE_WORD_ROWS`] rows of a store, spread evenly.
pub(crate) const RARE_WORD: &str = "quetzalcoatl";
const RARE_WORD_ROWS: u64 = 10;
/// In a third of all rows.
pub(crate) const COMMON_WORD: &str = "hello";
/// In a tenth of all rows or so, since some of the words have it.
pub(crate) const TWO_LETTERS: &str = "qu";

const WORDS: u32 = 3_000;
const MEAN_TEXT_CHARS: f64 = 60.0;
const MAX_TEXT_CHARS: usize = 300;
const NO_TEXT_SHARE: f64 = 0.02;

/// A message as the contract's table keeps it.
pub(crate) struct Row {
    pub(crate) message_id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) ts: String,
    pub(crate) text: Option<String>,
    pub(crate) created_at: String,
}

pub(crate) struct Corpus {
    words: Vec<String>,
    word_ranks: Zipf,
    senders: Zipf,
}

impl Corpus {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(0x776f_7264);
        let words = (0..WORDS).map(|rank| word(rank, &mut random)).collect();
        Self { words, word_ranks: Zipf::new(WORDS), senders: Zipf::new(OTHER_SENDERS) }
    }

    /// The rows of a store in the order in which they arrived.
    pub(crate) fn stored(&self, rows: u64) -> impl Iterator<Item = Row> {
        let mut random = Random::new(rows);
        (0..rows).map(move |number| {
            let arrived = FIRST_TS + number;
            let from = if is_one_of(RARE_SENDER_ROWS, rows, number) {
                RARE_SENDER.to_owned()
            } else {
                self.sender(&mut random)
            };
            let mut text = self.text(&mut random);
            if is_one_of(RARE_WORD_ROWS, rows, number) {
                text = Some(format!("{} {RARE_WORD}", text.unwrap_or_default()));
            }
            Row {
                message_id: message_id(&mut random),
                from,
                to: RECIPIENT.to_owned(),
                ts: timestamp(arrived + random.below(JITTER_SECONDS)),
                text,
                created_at: timestamp(arrived + JITTER_SECONDS).replace('Z', ".123Z"),
            }
        })
    }

    /// A message to be posted, the `number`-th of its kind, and later than all that is stored.
    pub(crate) fn posted(&self, number: u64, random: &mut Random) -> Row {
        let ts = timestamp(FIRST_POSTED_TS + number / POSTED_PER_SECOND);
        Row {
            message_id: message_id(random),
            from: self.sender(random),
            to: RECIPIENT.to_owned(),
            created_at: ts.clone(),
            ts,
            text: self.text(random),
        }
    }

    fn sender(&self, random: &mut Random) -> String {
        if random.chance(BUSY_SHARE) {
            return BUSY_SENDER.to_owned();
        }
        format!("+9198{:08}", self.senders.rank(random))
    }

    fn text(&self, random: &mut Random) -> Option<String> {
        let greets = random.chance(1.0 / 3.0);
        if !greets && random.chance(NO_TEXT_SHARE) {
            return None;
        }
        // Many short ones, few long ones: what people write to each other.
        let length = (-MEAN_TEXT_CHARS * (1.0 - random.fraction()).ln()) as usize;
        let length = length.min(MAX_TEXT_CHARS - 1 - RARE_WORD.len());
        let mut text = if greets { String::from("Hello") } else { String::new() };
        while text.len() < length {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&self.words[self.word_ranks.rank(random)]);
        }
        let length = length.max(if greets { COMMON_WORD.len() } else { 0 });
        let cut = (0..=length.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
        Some(text)
    }
}

/// The instant `since=` which half of a store's rows lie.
pub(crate) fn middle_ts(rows: u64) -> String {
    timestamp(FIRST_TS + rows / 2)
}

/// True for `chosen` of the numbers below `rows`, spread evenly.
fn is_one_of(chosen: u64, rows: u64, number: u64) -> bool {
    let step = rows / chosen;
    step > 0 && number % step == step / 2 && number / step < chosen
}

/// Made of syllables, the frequent ones shorter, as in any language.
fn word(rank: u32, random: &mut Random) -> String {
    const ONSETS: [&str; 28] = [
        "b", "c", "ch", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "sh", "t", "tr",
        "th", "v", "w", "y", "z", "gr", "pl", "br", "n",
    ];
    const VOWELS: [&str; 12] = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "a", "e", "o", "i"];
    const CODAS: [&str; 12] = ["", "", "", "n", "r", "s", "t", "l", "m", "nd", "ng", "ck"];
    let syllables = match rank {
        0..40 => 1,
        40..600 => 1 + random.below(2),
        _ => 2 + random.below(2),
    };
    let mut word = String::new();
    for _ in 0..syllables {
        // As rare as in English, and an accent now and then.
        let onset = if random.chance(0.008) { "qu" } else { random.pick(&ONSETS) };
        let vowel = if random.chance(0.01) { "é" } else { random.pick(&VOWELS) };
        word.extend([onset, vowel, random.pick(&CODAS)]);
    }
    word
}

/// 22 digits of base 62, which sort at random, as ids of messages do.
fn message_id(random: &mut Random) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = String::with_capacity(22);
    for _ in 0..2 {
        let mut rest = random.next();
        for _ in 0..11 {
            id.push(char::from(DIGITS[(rest % 62) as usize]));
            rest /= 62;
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_store_has_what_the_requests_ask_for() {
        let corpus = Corpus::new();
        let rows: Vec<Row> = corpus.stored(10_000).collect();
        let with = |word: &str| {
            let has = |row: &&Row| row.text.as_ref().is_some_and(|text| text.to_lowercase().contains(word));
            rows.iter().filter(has).count()
        };
        let by = |sender: &str| rows.iter().filter(|row| row.from == sender).count();
        assert_eq!((with(RARE_WORD), by(RARE_SENDER)), (10, 5));
        assert!((3_200..3_500).contains(&with(COMMON_WORD)), "{}", with(COMMON_WORD));
        assert!((70..130).contains(&by(BUSY_SENDER)), "{}", by(BUSY_SENDER));
        assert!((300..2_000).contains(&with(TWO_LETTERS)), "{}", with(TWO_LETTERS));
        let ids: HashSet<&str> = rows.iter().map(|row| row.message_id.as_str()).collect();
        assert_eq!(ids.len(), rows.len());
    }

    #[test]
    fn texts_are_as_long_as_people_write_them() {
        let corpus = Corpus::new();
        let lengths: Vec<usize> =
            corpus.stored(10_000).filter_map(|row| row.text.map(|text| text.chars().count())).collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((50..70).contains(&mean), "{mean}");
        assert!(lengths.iter().all(|length| *length <= MAX_TEXT_CHARS));
    }

    #[test]
    fn the_same_seed_gives_the_same_rows() {
        let corpus = Corpus::new();
        let ids = || corpus.stored(100).map(|row| row.message_id).collect::<Vec<_>>();
        assert_eq!(ids(), ids());
        let posted = |seed| corpus.posted(0, &mut Random::new(seed)).message_id;
        assert_ne!(posted(1), posted(2));
    }
}
