//! A real nats-server runs beside a test, which asks it over its own protocol.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::fixtures::{eventually, from_base64};
use crate::setup::free_port;

/// Of one question, which is asked again.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct NatsServer {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    /// `None` while it is down.
    daemon: Option<Daemon>,
}

/// A message of a stream, as it lies there.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) headers: String,
    pub(crate) payload: String,
}

impl Stored {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl NatsServer {
    /// With JetStream, its files in a folder of the test, and no users.
    pub(crate) fn start() -> Self {
        Self::with("jetstream { store_dir: js }")
    }

    /// With this configuration below its address. Relative paths are in a folder of the test.
    pub(crate) fn with(configuration: &str) -> Self {
        Self::within(TempDir::new().expect("the machine has a folder for temporary files"), configuration)
    }

    pub(crate) fn within(folder: TempDir, configuration: &str) -> Self {
        let mut server = Self { folder, port: free_port(), daemon: None };
        server.configure(configuration);
        server.run();
        server
    }

    /// What holds from the next start on.
    pub(crate) fn configure(&self, configuration: &str) {
        let text = format!("listen: \"127.0.0.1:{}\"\n{configuration}\n", self.port);
        fs::write(self.path("nats.conf"), text).expect("the folder is ours");
    }

    /// Starts it, or starts it again.
    pub(crate) fn run(&mut self) {
        let mut daemon = Daemon::start("nats-server", &["-c", "nats.conf"], self.folder.path());
        daemon.until("nats-server listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        self.daemon = Some(daemon);
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What JetStream answers to a question.
    pub(crate) fn ask(&self, question: &str, with: &Value) -> Value {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("nats-server listens");
        request(&socket, &json!({"verbose": false, "headers": true}), &format!("$JS.API.{question}"), with)
    }

    /// Waits until the stream can be asked, which takes a moment after a start.
    #[track_caller]
    pub(crate) fn stream(&self, name: &str) -> Value {
        eventually(&format!("there is a stream {name}"), || {
            let answer = self.ask(&format!("STREAM.INFO.{name}"), &json!({}));
            answer.get("config").is_some().then_some(answer)
        })
    }

    /// Every message of the stream, in its order.
    #[track_caller]
    pub(crate) fn messages(&self, stream: &str) -> Vec<Stored> {
        let state = self.stream(stream)["state"].clone();
        let number = |name: &str| state[name].as_u64().expect("a state has numbers");
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("nats-server listens");
        let get = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let connect = json!({"verbose": false, "headers": true});
        let mut found = Vec::new();
        for sequence in number("first_seq")..=number("last_seq") {
            let answer = request(&socket, &connect, &get, &json!({"seq": sequence}));
            let part = |name: &str| {
                let text = answer["message"][name].as_str().unwrap_or_default();
                String::from_utf8(from_base64(text)).expect("it is text")
            };
            found.push(Stored { headers: part("hdrs"), payload: part("data") });
        }
        found
    }

    #[track_caller]
    pub(crate) fn ids(&self, stream: &str) -> Vec<String> {
        let id = |stored: &Stored| stored.json()["message_id"].as_str().expect("it has an id").to_owned();
        self.messages(stream).iter().map(id).collect()
    }
}

/// One question and its answer; null where there is none in time, as in a cluster without a leader.
fn request(mut socket: &TcpStream, connect: &Value, subject: &str, with: &Value) -> Value {
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let body = with.to_string();
    let unsubscribe = "SUB answers 1\r\nUNSUB 1 1";
    let text =
        format!("CONNECT {connect}\r\n{unsubscribe}\r\nPUB {subject} answers {}\r\n{body}\r\n", body.len());
    socket.write_all(text.as_bytes()).expect("nats-server reads");
    let mut reader = BufReader::new(socket);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() {
            return Value::Null;
        }
        if line.starts_with("MSG ") {
            let length = line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("a length");
            let mut answer = vec![0; length];
            reader.read_exact(&mut answer).expect("nats-server writes");
            return serde_json::from_slice(&answer).expect("JetStream answers in JSON");
        }
        assert!(!line.is_empty() && !line.starts_with("-ERR"), "{subject}: {line:?}");
    }
}
