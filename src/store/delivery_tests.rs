//! Deliveries are stored whole and once, whatever they come together with, as a list in memory says.

use std::collections::{BTreeMap, BTreeSet};

use crossbeam_channel::Receiver;
use rusqlite::Connection;

use super::write::feed_order::EpochState;
use super::write::items;
use super::write::tombstones::{self, Salt};
use super::*;
use crate::log::Level;
use crate::whatsapp::{Item, ItemCounts, ItemKey, ItemResult, Kind, Mapping, message_key};

fn message(id: &str) -> Message {
    let body = format!(r#"{{"message_id":"{id}","from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z"}}"#);
    Message::parse(body.as_bytes()).unwrap()
}

/// The item of a message; an id has several contents.
pub(super) fn item(id: u16, content: u8, kind: Kind) -> Item {
    let name = format!("m{id}");
    let mapping = match (kind, content % 5) {
        (Kind::Message, 4) => Mapping::Unmapped,
        (Kind::Message, _) => Mapping::Message(message(&name)),
        _ => Mapping::NotAMessage,
    };
    let [high, low] = id.to_be_bytes();
    let key = ItemKey { id: [kind as u8, high, low, 0, 0, 0, 0, 0], content: [content; 16] };
    let original = format!("{{\"{name}\":\r\n{content}}}").into_bytes().into();
    Item { kind, key, id: Some(name), original, mapping }
}

pub(super) struct Opened {
    pub(super) store: Store,
    metrics: Arc<Metrics>,
    outcomes: (OutcomeSender, Receiver<Outcome>),
}

impl Opened {
    pub(super) fn new(path: &Path) -> Self {
        let metrics = Arc::<Metrics>::default();
        let path = DatabasePath::resolve(path).unwrap();
        let log = Log::start(Level::Error).unwrap();
        let store = Store::open(&path, None, Arc::clone(&metrics), log).unwrap();
        Self { store, metrics, outcomes: outcomes(Arc::new(Waker::new().unwrap())) }
    }

    pub(super) fn deliver(&self, ticket: usize, items: Vec<Item>) {
        self.store.insert_delivery(Delivery { items }, self.outcomes.0.waiter(ticket));
    }

    /// What became of so many, in the order of their tickets.
    pub(super) fn heard(&self, count: usize) -> Vec<Result<Stored, StoreError>> {
        let heard: BTreeMap<usize, _> = (0..count)
            .map(|_| self.outcomes.1.recv().unwrap())
            .map(|outcome| (outcome.ticket, outcome.result))
            .collect();
        assert_eq!(heard.len(), count, "each is answered once");
        heard.into_values().collect()
    }
}

pub(super) fn number(database: &Connection, sql: &str) -> i64 {
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// What is to be in the file.
#[derive(Default)]
struct StoredList {
    items: BTreeSet<(u16, u8, u8)>,
    messages: BTreeSet<u16>,
    gone_messages: BTreeSet<u16>,
    gone_items: BTreeSet<(u16, u8, u8)>,
}

impl StoredList {
    fn store(&mut self, (id, content, kind): (u16, u8, Kind)) -> ItemResult {
        let key = (id, content, kind as u8);
        let is_gone =
            self.gone_items.contains(&key) || kind == Kind::Message && self.gone_messages.contains(&id);
        if is_gone || !self.items.insert(key) {
            return ItemResult::Duplicate;
        }
        match kind {
            Kind::Message if content % 5 == 4 => ItemResult::Unmapped,
            Kind::Message if !self.messages.insert(id) => ItemResult::Duplicate,
            _ => ItemResult::Created,
        }
    }

    /// A message goes with its items.
    fn erase(&mut self, database: &Connection, id: u16) {
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let salt = Salt::read(database).unwrap();
        let name = format!("m{id}");
        tombstones::put(database, &salt, name.as_bytes(), 1).unwrap();
        database.execute("DELETE FROM messages WHERE message_id = ?1", [&name]).unwrap();
        database.execute("DELETE FROM messages_items WHERE message_id = ?1", [&name]).unwrap();
        for key in self.items.extract_if(.., |key| key.0 == id) {
            let kind = [Kind::Message, Kind::Status, Kind::Other][usize::from(key.2)];
            tombstones::put(database, &salt, &items::forgotten(&item(id, key.1, kind).key), 1).unwrap();
            self.gone_items.insert(key);
        }
        database.execute_batch("COMMIT").unwrap();
        self.messages.remove(&id);
        self.gone_messages.insert(id);
    }

    #[track_caller]
    fn is_in(&self, database: &Connection) {
        assert_eq!(number(database, "SELECT COUNT(*) FROM messages"), self.messages.len() as i64);
        let mut statement =
            database.prepare("SELECT id_hash, content_hash, original FROM messages_items").unwrap();
        let found: BTreeSet<(u16, u8, u8)> = statement
            .query_map([], |row| {
                let (id, content, original): ([u8; 8], [u8; 16], Vec<u8>) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let number = u16::from_be_bytes([id[1], id[2]]);
                assert_eq!(original, format!("{{\"m{number}\":\r\n{}}}", content[0]).into_bytes());
                Ok((number, content[0], id[0]))
            })
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(found, self.items);
    }
}

#[test]
fn deliveries_are_what_a_list_says_whatever_they_come_together_with() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut below = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let mut model = StoredList::default();
    let mut opened = Opened::new(&path);
    for round in 0..60 {
        let mut expected = Vec::new();
        let bodies = 1 + below(6);
        for ticket in 0..bodies {
            if below(4) == 0 {
                let id = below(40) as u16;
                let is_new = !model.gone_messages.contains(&id) && model.messages.insert(id);
                let inserted = if is_new { Inserted::Created } else { Inserted::Duplicate };
                expected.push(Stored::Message(inserted));
                opened.store.insert(message(&format!("m{id}")), opened.outcomes.0.waiter(ticket as usize));
                continue;
            }
            let chosen: Vec<_> = (0..1 + below(12))
                .map(|_| {
                    let kind = [Kind::Message, Kind::Message, Kind::Status, Kind::Other][below(4) as usize];
                    (below(40) as u16, below(6) as u8, kind)
                })
                .collect();
            let mut counts = ItemCounts::default();
            chosen.iter().for_each(|one| counts.add(one.2, model.store(*one)));
            expected.push(Stored::Delivery(Box::new(counts)));
            let items = chosen.into_iter().map(|(id, content, kind)| item(id, content, kind)).collect();
            opened.deliver(ticket as usize, items);
        }
        let heard: Vec<_> = opened.heard(expected.len()).into_iter().map(Result::unwrap).collect();
        assert_eq!(heard, expected, "round {round}");
        let database = Connection::open(&path).unwrap();
        if below(5) == 0 && !model.items.is_empty() {
            model.erase(&database, below(40) as u16);
        }
        if round > 5 {
            model.is_in(&database);
        }
        drop(database);
        if below(8) == 0 {
            drop(opened);
            opened = Opened::new(&path);
        }
    }
    assert!(model.items.len() > 50 && model.gone_items.len() > 10, "much has happened");
}

#[test]
fn a_body_that_a_constraint_refuses_is_kept_out_whole_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE messages (message_id TEXT PRIMARY KEY CHECK (message_id <> 'm13'), \
             from_msisdn TEXT NOT NULL, to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, \
             created_at TEXT NOT NULL)",
        )
        .unwrap();
    let opened = Opened::new(&path);
    let bodies = [vec![1, 2], vec![3, 13, 4], vec![5], vec![13]];
    for (ticket, ids) in bodies.iter().enumerate() {
        opened.deliver(ticket, ids.iter().map(|id| item(*id, 0, Kind::Message)).collect());
    }
    let heard = opened.heard(bodies.len());
    let created = |result: &Result<Stored, StoreError>| match result {
        Ok(Stored::Delivery(counts)) => Some(counts.of(Kind::Message, ItemResult::Created)),
        Err(StoreError::Refused(_)) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(heard.iter().map(created).collect::<Vec<_>>(), [Some(2), None, Some(1), None]);
    let database = Connection::open(&path).unwrap();
    for table in ["messages", "messages_items"] {
        assert_eq!(number(&database, &format!("SELECT COUNT(*) FROM {table}")), 3, "{table}");
    }
}

#[test]
fn the_first_item_makes_its_table_and_no_connection_is_opened_anew_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let opened = Opened::new(&path);
    opened.store.insert(message("m0"), opened.outcomes.0.waiter(0));
    opened.heard(1);
    let version = || number(&Connection::open(&path).unwrap(), "PRAGMA user_version");
    assert_eq!(version(), 4);
    let epochs = || number(&Connection::open(&path).unwrap(), "SELECT COUNT(*) FROM messages_epochs");
    let before = epochs();
    for id in 1..4 {
        opened.deliver(0, vec![item(id, 0, Kind::Message)]);
        assert!(opened.heard(1)[0].is_ok());
        assert_eq!((version(), epochs()), (5, before), "an epoch begins with every connection");
    }
    use std::sync::atomic::Ordering::Relaxed;
    assert_eq!(opened.metrics.messages_stored.load(Relaxed), 4);
    assert_eq!(opened.metrics.commit_failures.load(Relaxed), 0);
}

/// A message with an original of so many bytes.
fn with_original(id: u16, bytes: usize) -> Item {
    let name = format!("m{id}");
    let key = ItemKey { id: message_key(&name), content: [0; 16] };
    let original = format!("{{\"value\" : \r\n\"{}\"}}", "x".repeat(bytes)).into_bytes().into();
    Item {
        kind: Kind::Message,
        key,
        id: Some(name.clone()),
        original,
        mapping: Mapping::Message(message(&name)),
    }
}

fn page(store: &Store, query: &str) -> Page {
    store.page(&PageQuery::parse(query).unwrap(), Instant::now()).unwrap()
}

fn feed_page(store: &Store, start: FeedStart, originals: bool) -> FeedRows {
    store.feed(FeedRange { start, limit: 1000, originals }, Instant::now()).unwrap().unwrap()
}

#[test]
fn originals_come_as_they_were_with_those_who_ask_and_where_there_are_any() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Opened::new(&folder.path().join("app.db"));
    let originals =
        |rows: &[StoredMessage]| -> Vec<bool> { rows.iter().map(|row| row.original.is_some()).collect() };
    opened.store.insert(message("m0"), opened.outcomes.0.waiter(0));
    opened.heard(1);
    assert_eq!(originals(&page(&opened.store, "original=1").rows), [false], "there is no table");
    assert_eq!(feed_page(&opened.store, FeedStart::Beginning, true).rows[0].0.original, None);
    // The same message once more with another content, and a status of its id.
    let mut status = with_original(1, 1);
    status.kind = Kind::Status;
    (status.key.content, status.mapping) = ([2; 16], Mapping::NotAMessage);
    let mut again = with_original(1, 2);
    again.key.content = [1; 16];
    opened.deliver(0, vec![status, with_original(1, 3), again]);
    opened.heard(1);
    let expected = "{\"message_id\":\"m1\",\"from\":\"+1\",\"to\":\"+2\",\"ts\":\"2025-01-15T10:00:00Z\",\
         \"text\":null,\"original\":{\"value\" : \r\n\"xxx\"}}";
    let rows = page(&opened.store, "original=1").rows;
    assert_eq!(originals(&rows), [false, true]);
    assert_eq!(serde_json::to_string(&rows[1]).unwrap(), expected);
    let rows = feed_page(&opened.store, FeedStart::Beginning, true).rows;
    assert_eq!(serde_json::to_string(&rows[1].0).unwrap(), expected);
    for query in ["", "original=0", "original="] {
        assert_eq!(originals(&page(&opened.store, query).rows), [false, false]);
    }
    assert_eq!(feed_page(&opened.store, FeedStart::Beginning, false).rows[1].0.original, None);
}

#[test]
fn a_page_ends_where_originals_are_large_and_the_next_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Opened::new(&folder.path().join("app.db"));
    for id in 10..18 {
        opened.deliver(0, vec![with_original(id, 3 << 20)]);
        opened.heard(1);
    }
    let all: Vec<String> = (10..18).map(|id| format!("m{id}")).collect();
    let (mut start, mut seen) = (FeedStart::Beginning, Vec::new());
    loop {
        let rows = feed_page(&opened.store, start, true);
        assert!(rows.rows.len() <= 2);
        seen.extend(rows.rows.into_iter().map(|(row, _)| row.message_id));
        start = FeedStart::After(rows.cursor);
        if !rows.more {
            break;
        }
    }
    assert_eq!(seen, all);
    let (mut query, mut seen) = ("limit=100&original=1".to_owned(), Vec::new());
    loop {
        let found = page(&opened.store, &query);
        assert!(found.rows.len() <= 2 && found.total == 8);
        seen.extend(found.rows.into_iter().map(|row| row.message_id));
        let Some(next) = found.next else { break };
        let link = PageQuery::parse(&query).unwrap().next_link(&next);
        assert!(link.contains("&original=1&"), "{link}");
        query = link.split_once('?').unwrap().1.to_owned();
    }
    assert_eq!(seen, all);
    assert_eq!(page(&opened.store, "limit=100").rows.len(), 8);
}

#[test]
fn a_body_for_which_there_is_no_room_leaves_nothing_of_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    drop(Opened::new(&path));
    let connection = database::connections::open_for_writing(&path).unwrap();
    let pages = number(&connection, "PRAGMA page_count");
    let store = |most: i64| {
        number(&connection, &format!("PRAGMA max_page_count = {most}"));
        let items = vec![with_original(1, 100), with_original(2, 1 << 20)];
        let body = [write::batch::Insert::Delivery(Delivery { items })];
        database::transaction::in_transaction(&connection, |connection| {
            let batch = write::batch::insert_batch(connection, EpochState::Begun, body.iter())?;
            Ok(batch.created.len())
        })
    };
    let error = store(pages + 20).unwrap_err();
    assert_eq!(StoreError::from(error), StoreError::DiskFull);
    assert_eq!(number(&connection, "SELECT COUNT(*) FROM messages"), 0);
    assert_eq!(number(&connection, "PRAGMA user_version"), 4, "nor is the table");
    assert_eq!(store(pages + 2000).unwrap(), 2);
    assert_eq!(number(&connection, "SELECT COUNT(*) FROM messages_items"), 2);
}

#[test]
fn a_body_is_not_acknowledged_into_a_file_that_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let opened = Opened::new(&path);
    opened.deliver(0, vec![item(1, 0, Kind::Message)]);
    assert!(opened.heard(1)[0].is_ok());
    std::fs::rename(&path, folder.path().join("away.db")).unwrap();
    opened.deliver(0, vec![item(2, 0, Kind::Message)]);
    assert_eq!(opened.heard(1), [Err(StoreError::Replaced)]);
    std::fs::rename(folder.path().join("away.db"), &path).unwrap();
}
