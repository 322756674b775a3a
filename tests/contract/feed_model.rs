//! Section 12: whatever happens to the store, each consumer meets exactly what a list in memory says.

use std::fs;

use serde_json::json;

use crate::feed::page;
use crate::fixtures::{eventually, message, message_with};
use crate::http_client::Client;
use crate::properties::Random;
use crate::service::Service;
use crate::setup::Setup;

const SENDERS: [&str; 3] = ["+1", "+2", "+3"];
const CONSUMERS: usize = 4;
const STEPS: usize = 150;

#[derive(Clone)]
struct Entry {
    id: String,
    from: &'static str,
    is_there: bool,
}

/// Where a consumer stands.
#[derive(Clone, Default)]
struct Place {
    cursor: String,
    /// How many entries of the list lie before it, and the last of them.
    at: usize,
    last: Option<String>,
    store: usize,
}

/// A state of the store: which one it is, and everything that was ever stored in it, in its order.
#[derive(Clone, Default)]
struct History {
    store: usize,
    log: Vec<Entry>,
}

impl History {
    /// It holds what the place is behind.
    fn fits(&self, place: &Place) -> bool {
        let last = place.at.checked_sub(1).map(|last| self.log.get(last).map(|entry| &entry.id));
        place.cursor.is_empty()
            || (place.store == self.store && last.is_none_or(|last| last == place.last.as_ref()))
    }

    fn place(&self, cursor: String, at: usize) -> Place {
        let last = at.checked_sub(1).map(|last| self.log[last].id.clone());
        Place { cursor, at, last, store: self.store }
    }

    fn add(&mut self, id: String, from: &'static str) {
        self.log.push(Entry { id, from, is_there: true });
    }
}

/// The service, and what it should hand on.
struct Model {
    random: Random,
    service: Option<Service>,
    now: History,
    /// What a backup holds.
    copy: Option<History>,
    consumers: Vec<Place>,
    made: usize,
    stores: usize,
}

impl Model {
    fn new() -> Self {
        let service = Some(Setup::new().with("RETENTION_DAYS", "30").start());
        let consumers = vec![Place::default(); CONSUMERS];
        Self {
            random: Random::new(),
            service,
            now: History::default(),
            copy: None,
            consumers,
            made: 0,
            stores: 0,
        }
    }

    fn service(&self) -> &Service {
        self.service.as_ref().expect("it runs between two steps")
    }

    /// Stops it, or kills it.
    fn down(&mut self) -> Setup {
        let service = self.service.take().expect("it runs between two steps");
        if self.random.chance(50) { service.kill() } else { service.stop() }
    }

    fn new_id(&mut self) -> (String, &'static str) {
        self.made += 1;
        (format!("m{}", self.made), SENDERS[self.random.below(SENDERS.len())])
    }

    fn post(&mut self) {
        for _ in 0..=self.random.below(5) {
            if self.random.chance(20) && !self.now.log.is_empty() {
                // Sent again, it stays where it is, or gone.
                let entry = self.random.one_of(&self.now.log).clone();
                self.service().store(&message_with(&entry.id, &json!({"from": entry.from})));
                continue;
            }
            let (id, from) = self.new_id();
            self.service().store(&message_with(&id, &json!({"from": from})));
            self.now.add(id, from);
        }
    }

    fn import(&mut self) {
        let (id, from) = self.new_id();
        let line = message_with(&id, &json!({"from": from})).to_string();
        let setup = self.service.as_mut().expect("it runs between two steps").setup();
        assert_eq!(setup.run_with_input(&["import"], line.as_bytes()).code, Some(0));
        self.now.add(id, from);
    }

    fn erase(&mut self) {
        let sender = *self.random.one_of(&SENDERS);
        let setup = self.service.as_mut().expect("it runs between two steps").setup();
        assert_eq!(setup.run(&["erase", "--sender", sender]).code, Some(0));
        self.now.log.iter_mut().filter(|entry| entry.from == sender).for_each(|entry| entry.is_there = false);
    }

    /// The first messages have become too old; often all of them.
    fn expire(&mut self) {
        let setup = self.down();
        let all = self.now.log.len();
        let old = if self.random.chance(40) { all } else { self.random.below(all) };
        for entry in &mut self.now.log[..old] {
            let is_old = "UPDATE messages SET created_at = '2020-01-01T00:00:00.000Z' WHERE message_id = ?1";
            setup.database().execute(is_old, [&entry.id]).expect("it is SQL");
            entry.is_there = false;
        }
        let looked = "UPDATE messages_retention SET believed_clock = strftime('%s', 'now') - 3600";
        setup.database().execute(looked, []).expect("it is SQL");
        self.service = Some(setup.start());
        let left = self.now.log.iter().filter(|entry| entry.is_there).count();
        eventually("what is too old is gone", || {
            (self.service().get("/stats").json()["total_messages"] == left).then_some(())
        });
    }

    fn restart(&mut self) {
        self.service = Some(self.down().start());
    }

    fn back_up(&mut self) {
        let setup = self.service.as_mut().expect("it runs between two steps").setup();
        assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
        self.copy = Some(self.now.clone());
    }

    /// Puts the copy back, by hand or as it should be done.
    fn put_back(&mut self) {
        let Some(copy) = self.copy.clone() else {
            return;
        };
        self.now = copy;
        let mut setup = self.down();
        if self.random.chance(40) {
            assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
            self.stores += 1;
            self.now.store = self.stores;
        } else {
            for beside in ["app.db-wal", "app.db-shm"] {
                drop(fs::remove_file(setup.path(beside)));
            }
            fs::copy(setup.path("copy.db"), setup.path("app.db")).expect("the folder is ours");
        }
        self.service = Some(setup.start());
    }

    /// Asks for the next page of one of them.
    fn read(&mut self) {
        let number = self.random.below(CONSUMERS);
        let limit = 1 + self.random.below(6);
        let place = self.consumers[number].clone();
        let answer =
            self.service().get(&format!("/feed?after={}&limit={limit}&consumer=c{number}", place.cursor));
        if !self.now.fits(&place) {
            answer.expect(410);
            self.begin_again(number);
            return;
        }
        let (ids, next, more) = page(&answer);
        let log = &self.now.log;
        let left: Vec<usize> = (place.at..log.len()).filter(|at| log[*at].is_there).collect();
        let expected: Vec<String> = left.iter().take(limit).map(|at| log[*at].id.clone()).collect();
        assert_eq!((ids, more), (expected, left.len() > limit));
        // It may go on in the middle of a page.
        let kept = if left.is_empty() { 0 } else { 1 + self.random.below(left.len().min(limit)) };
        let at = left.iter().take(kept).next_back().map_or(place.at, |last| last + 1);
        let row = answer.json()["data"][kept.saturating_sub(1)]["cursor"].as_str().map(str::to_owned);
        self.consumers[number] =
            self.now.place(if kept > 0 { row.expect("a row has one") } else { next }, at);
    }

    fn begin_again(&mut self, number: usize) {
        self.consumers[number] = Place::default();
        if self.random.chance(50) {
            let (ids, now, more) = page(&self.service().get("/feed?after=now"));
            assert!(ids.is_empty() && !more);
            self.consumers[number] = self.now.place(now, self.now.log.len());
        }
    }

    /// Somebody at the end waits for what comes.
    fn wait(&mut self) {
        let (_, cursor, _) = page(&self.service().get("/feed?after=now"));
        let mut client: Client = self.service().connect();
        client.send(format!("GET /feed?after={cursor}&wait=55 HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        if self.random.chance(50) {
            self.service().counted("feed_waiters", 1.0);
        }
        let (id, from) = self.new_id();
        self.service().store(&message_with(&id, &json!({"from": from})));
        assert_eq!(page(&client.receive()).0, [id.as_str()]);
        self.now.add(id, from);
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.post(),
            30..75 => self.read(),
            75..80 => self.wait(),
            80..84 => self.import(),
            84..88 => self.erase(),
            88..90 => self.expire(),
            90..93 => self.restart(),
            93..97 => self.back_up(),
            _ => self.put_back(),
        }
    }
}

#[test]
fn consumers_meet_what_a_list_in_memory_says_whatever_happens() {
    let mut model = Model::new();
    model.service().store(&message("m0"));
    model.now.add("m0".to_owned(), "+0");
    (0..STEPS).for_each(|_| model.step());
    // Each of them comes to the end.
    for _ in 0..50 * CONSUMERS {
        model.read();
    }
}
