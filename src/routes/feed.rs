//! `GET /feed` answers with the messages behind a cursor, in the order in which they were stored (contract, section 12).
//!
//! Where there are none yet, and the client waits, the request is given back to the server ([`Answer::AfterNews`]), which
//! asks once more ([`resume`]) when something was committed, or answers [`nothing`] when the time is over.

mod query;

use std::time::Instant;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Answer, Reply, problem};
use crate::app::App;
use crate::consumers::ConsumerId;
use crate::feed_cursor::FeedCursor;
use crate::http::{Request, Response};
use crate::store::{FeedRange, FeedRows, FeedStart, StoredMessage};
use query::FeedQuery;

/// Who waits for messages, and for which.
#[derive(Debug, Clone, Copy)]
pub struct FeedWait {
    cursor: FeedCursor,
    limit: u32,
    originals: bool,
    consumer: Option<ConsumerId>,
    /// How many commits there had been before it was looked for messages.
    pub commits: u64,
    pub until: Instant,
}

impl FeedWait {
    /// What is waited for: who waits for the same is answered with the same page.
    pub fn range(&self) -> FeedRange {
        FeedRange { start: FeedStart::After(self.cursor), limit: self.limit, originals: self.originals }
    }
}

pub(super) fn get(app: &App, request: &Request) -> Answer {
    let (range, wait, consumer) = match FeedQuery::parse(&request.query) {
        Ok(FeedQuery { range, wait, consumer, .. }) => (range, wait, consumer),
        Err(errors) => return problem::invalid(&errors).into(),
    };
    let consumer = consumer.and_then(|name| app.metrics.consumers.id(&name));
    let until = (!wait.is_zero()).then(|| request.received + wait);
    look(app, range, consumer, until, request.received)
}

/// Asks once more for somebody who has waited. Where there is nothing still, it is to be waited for longer, if there
/// is time.
pub fn resume(app: &App, wait: &FeedWait, asked: Instant) -> Answer {
    look(app, wait.range(), wait.consumer, Some(wait.until), asked)
}

/// The answer to somebody who has waited in vain.
pub fn nothing(wait: &FeedWait) -> Reply {
    Response::json(200, body(&[], wait.cursor, false)).into()
}

/// Notes that somebody who has waited is answered: until now it was there.
pub fn waited(app: &App, wait: &FeedWait) {
    if let Some(consumer) = wait.consumer {
        app.metrics.consumers.waited(consumer);
    }
}

fn look(
    app: &App,
    range: FeedRange,
    consumer: Option<ConsumerId>,
    until: Option<Instant>,
    asked: Instant,
) -> Answer {
    // Before the snapshot: what is committed behind it is not missed.
    let commits = app.store.commits();
    let page = match app.store.feed(range, asked) {
        Ok(Ok(page)) => page,
        Ok(Err(unfit)) => {
            if let Some(consumer) = consumer {
                app.metrics.consumers.refused(consumer);
            }
            return problem::unfit(unfit).into();
        }
        Err(error) => return problem::storage(&error).into(),
    };
    let FeedRows { rows, cursor, more } = page;
    if let Some(consumer) = consumer {
        let position = match range.start {
            FeedStart::Beginning => FeedCursor::BEGINNING,
            // A consumer that begins here has nothing to catch up with.
            FeedStart::Now => cursor.position,
            FeedStart::After(cursor) => cursor.position,
        };
        app.metrics.consumers.asked(consumer, position);
    }
    match until {
        Some(until) if rows.is_empty() => {
            let FeedRange { limit, originals, .. } = range;
            Answer::AfterNews(FeedWait { cursor, limit, originals, consumer, commits, until })
        }
        _ => Response::json(200, body(&rows, cursor, more)).into(),
    }
}

fn body(rows: &[(StoredMessage, FeedCursor)], cursor: FeedCursor, more: bool) -> Vec<u8> {
    let mut json = br#"{"data":["#.to_vec();
    for (number, (message, cursor)) in rows.iter().enumerate() {
        if number > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &FeedRow { message, cursor: *cursor })
            .expect("strings always serialize, and a Vec takes them");
    }
    json.extend_from_slice(format!(r#"],"cursor":"{}","more":{more}}}"#, cursor.to_text()).as_bytes());
    json
}

/// A message with what a list does not show of it.
struct FeedRow<'a> {
    message: &'a StoredMessage,
    cursor: FeedCursor,
}

impl Serialize for FeedRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredMessage { message_id, from, to, ts, text, created_at, original } = self.message;
        let mut fields = serializer.serialize_struct("message", 8)?;
        fields.serialize_field("message_id", message_id)?;
        fields.serialize_field("from", from)?;
        fields.serialize_field("to", to)?;
        fields.serialize_field("ts", ts)?;
        fields.serialize_field("text", text)?;
        fields.serialize_field("created_at", created_at)?;
        fields.serialize_field("cursor", &self.cursor.to_text())?;
        if let Some(original) = original {
            fields.serialize_field("original", original.json())?;
        }
        fields.end()
    }
}
