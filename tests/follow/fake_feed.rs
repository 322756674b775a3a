//! A feed of its own making: a thread a connection, messages in memory, and whatever trouble a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::message_with;

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Serving,
    /// With this status and detail, whatever is asked.
    Answering(u16, &'static str),
    /// It accepts and closes.
    HangingUp,
}

#[derive(Debug)]
struct State {
    store: u32,
    messages: Vec<Value>,
    mood: Mood,
    /// What was asked for, and the token that came along.
    asked: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeFeed {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl FakeFeed {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = State { store: 1, messages: Vec::new(), mood: Mood::Serving, asked: Vec::new() };
        let feed = Self { state: Arc::new(Mutex::new(state)), port };
        let served = feed.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (feed, stream) = (served.clone(), stream.expect("a client connects"));
                thread::spawn(move || feed.serve(&stream));
            }
        });
        feed
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stores `count` more; their ids go on where the last ones ended.
    pub(crate) fn store(&self, count: usize) {
        self.store_with_text(count, "Hello");
    }

    pub(crate) fn store_with_text(&self, count: usize, text: &str) {
        let mut state = self.state();
        for _ in 0..count {
            let id = format!("m{}", state.messages.len() + 1);
            let fields = json!({"text": text, "created_at": "2025-01-15T10:00:00.000Z"});
            state.messages.push(message_with(&id, &fields));
        }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// As after `restore`: no earlier cursor fits.
    pub(crate) fn become_another_store(&self) {
        self.state().store += 1;
    }

    pub(crate) fn asked(&self) -> Vec<(String, Option<String>)> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panics")
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be duplicated"));
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim_end().to_owned();
                if line.is_empty() {
                    break;
                }
                head.push(line);
            }
            let target = head[0].split(' ').nth(1).expect("a request has a target").to_owned();
            let token = head.iter().find_map(|line| line.strip_prefix("Authorization: ").map(str::to_owned));
            self.state().asked.push((target.clone(), token));
            let Some((status, body)) = self.answer(&target) else { return };
            let answer = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, target: &str) -> Option<(u16, String)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(path, "/feed");
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let limit: usize = parameter("limit").parse().expect("a limit is a number");
        let deadline = Instant::now() + Duration::from_secs(parameter("wait").parse().expect("a number"));
        loop {
            let state = self.state();
            match state.mood {
                Mood::Answering(status, detail) => {
                    return Some((status, json!({"detail": detail}).to_string()));
                }
                Mood::HangingUp => return None,
                Mood::Serving => {}
            }
            let position = match parameter("after") {
                "" => 0,
                "now" => state.messages.len(),
                cursor => match cursor.strip_prefix(&format!("s{}-", state.store)) {
                    Some(position) => position.parse().expect("it is one of ours"),
                    None => return Some((410, json!({"detail": "another store"}).to_string())),
                },
            };
            let page: Vec<_> = state.messages.iter().enumerate().skip(position).take(limit).collect();
            if page.is_empty() && Instant::now() < deadline {
                drop(state);
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            let cursor = |position: usize| format!("s{}-{position}", state.store);
            let data: Vec<_> = page
                .iter()
                .map(|(at, message)| {
                    let mut message = (*message).clone();
                    message["cursor"] = cursor(at + 1).into();
                    message
                })
                .collect();
            let end = position + data.len();
            let more = end < state.messages.len();
            return Some((200, json!({"data": data, "cursor": cursor(end), "more": more}).to_string()));
        }
    }
}
