//! The model answers every query by going through all rows.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::filter::{Filter, PageQuery};
use crate::folding::fold;
use crate::limits::TOP_SENDERS;
use crate::sort_key::{MessageId, RawText, SortKey};
use crate::store::read::Snapshot;
use crate::store::read::page::{self, StoredMessage};
use crate::store::read::stats::Stats;
use crate::timestamp::InstantKey;

/// The rows in the order of the contract, and each text folded.
pub(super) struct Model {
    pub(super) rows: Vec<(SortKey, StoredMessage, Option<String>)>,
}

/// As messages are shown: of what is no UTF-8, the rest.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Model {
    pub(super) fn of(database: &Connection) -> Self {
        let mut statement = database
            .prepare("SELECT rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at FROM messages")
            .unwrap();
        let read = |row: &rusqlite::Row<'_>| {
            let bytes = |column| -> Vec<u8> {
                match row.get_ref(column).unwrap() {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                }
            };
            let message_id = match row.get_ref(1)? {
                ValueRef::Text(id) => MessageId::Text(RawText(id.to_vec())),
                ValueRef::Blob(id) => MessageId::Blob(id.to_vec()),
                _ => MessageId::Missing,
            };
            let ts = shown(&bytes(4));
            let instant = RawText::from(ts.trim_end_matches(['Z', '.', '0']));
            let key = SortKey { instant, message_id, row: row.get(0)? };
            let text = Some(shown(&bytes(5))).filter(|_| row.get_ref(5).unwrap() != ValueRef::Null);
            let folded = text.as_deref().map(fold);
            let message = StoredMessage {
                message_id: shown(&bytes(1)),
                from: shown(&bytes(2)),
                to: shown(&bytes(3)),
                ts,
                text,
                created_at: Some(shown(&bytes(6))).filter(|_| row.get_ref(6).unwrap() != ValueRef::Null),
                original: None,
            };
            Ok((key, message, folded))
        };
        let mut rows: Vec<_> = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Self { rows }
    }

    fn find(&self, filter: &Filter) -> Vec<&StoredMessage> {
        let matches = self.rows.iter().filter(|(key, row, folded)| {
            filter.from.as_ref().is_none_or(|from| row.from == *from)
                && filter
                    .since
                    .as_ref()
                    .is_none_or(|since| key.instant.0.as_slice() >= since.as_str().as_bytes())
                && filter
                    .q
                    .as_ref()
                    .is_none_or(|q| folded.as_ref().is_some_and(|text| text.contains(q.as_str())))
        });
        matches.map(|(_, row, _)| row).collect()
    }

    /// The page, and the walk along the cursor from there.
    pub(super) fn compare(&self, snapshot: Snapshot<'_>, query: &PageQuery) {
        let watermarks = snapshot.watermarks;
        let all = self.find(&query.filter);
        let mut query = query.clone();
        let mut expected = all.iter().copied().skip(query.offset as usize).peekable();
        for _ in 0..8 {
            let page = page::read(snapshot, &query).unwrap();
            let rows: Vec<_> = expected.by_ref().take(query.limit as usize).collect();
            let found: Vec<_> = page.rows.iter().collect();
            assert!(
                found == rows
                    && page.total == all.len() as u64
                    && page.next.is_some() == expected.peek().is_some(),
                "{query:?} with {watermarks:?}: {} instead of {}, {found:?} instead of {rows:?}",
                page.total,
                all.len()
            );
            let Some(next) = page.next else {
                return;
            };
            (query.after, query.offset) = (Some(next), 0);
        }
    }

    fn since(&self, since: &InstantKey) -> u64 {
        let since = Some(since.clone());
        self.find(&Filter { since, ..Filter::default() }).len() as u64
    }

    pub(super) fn stats(&self, since: &[InstantKey]) -> Stats {
        let mut senders = BTreeMap::<&str, u64>::new();
        for (_, row, _) in &self.rows {
            *senders.entry(&row.from).or_default() += 1;
        }
        let mut top: Vec<_> = senders.iter().map(|(from, count)| ((*from).to_owned(), *count)).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        top.truncate(TOP_SENDERS as usize);
        let ts =
            |row: Option<&(SortKey, StoredMessage, Option<String>)>| row.map(|(_, row, _)| row.ts.clone());
        Stats {
            total_messages: self.rows.len() as u64,
            senders_count: senders.len() as u64,
            top_senders: top,
            first_ts: ts(self.rows.first()),
            last_ts: ts(self.rows.last()),
            messages_since: since.iter().map(|since| self.since(since)).collect(),
        }
    }
}
