//! A stream is read to its end, over the protocol of NATS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// How long a server that has more to give may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("nats-server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        let mut connection = Self { reader: BufReader::new(socket) };
        connection.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB answers 1\r\nSUB all 2\r\n");
        connection
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).expect("nats-server reads");
    }

    /// The next message: the number of its subscription, where an answer is wanted if one is, and its payload.
    fn next(&mut self) -> (String, Option<String>, Vec<u8>) {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("nats-server writes");
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse::<usize>().expect("a length");
            match words.first().copied() {
                Some("PING") => self.send("PONG\r\n"),
                Some("MSG" | "HMSG") => {
                    let total = number(words[words.len() - 1]);
                    let head = if words[0] == "HMSG" { number(words[words.len() - 2]) } else { 0 };
                    let mut bytes = vec![0; total + 2];
                    self.reader.read_exact(&mut bytes).expect("nats-server writes");
                    let lengths = if words[0] == "HMSG" { 2 } else { 1 };
                    let reply = words[3..words.len() - lengths].first().map(|reply| (*reply).to_owned());
                    return (words[2].to_owned(), reply, bytes[head..total].to_vec());
                }
                Some("INFO" | "+OK") => {}
                _ => panic!("nats-server says {line:?}"),
            }
        }
    }

    fn ask(&mut self, question: &str, with: &Value) -> Value {
        let body = with.to_string();
        self.send(&format!("PUB $JS.API.{question} answers {}\r\n{body}\r\n", body.len()));
        loop {
            let (subscription, _, payload) = self.next();
            if subscription == "1" {
                return serde_json::from_slice(&payload).expect("JetStream answers in JSON");
            }
        }
    }
}

/// How many messages are in it; `None` where it cannot be asked.
pub(crate) fn count(address: &str) -> Option<u64> {
    let answer = Connection::open(address).ask("STREAM.INFO.messages", &json!({}));
    answer["state"]["messages"].as_u64()
}

/// Every message, in its order.
pub(crate) fn read(address: &str) -> Vec<Value> {
    let count = count(address).expect("there is a stream");
    let mut connection = Connection::open(address);
    // The server closes a connection that does not keep up, so it goes on when some are acknowledged.
    let consumer = json!({"stream_name": "messages", "config": {
        "deliver_subject": "all", "deliver_policy": "all", "ack_policy": "explicit", "max_ack_pending": 1000, "replay_policy": "instant"}});
    let body = consumer.to_string();
    connection.send(&format!("PUB $JS.API.CONSUMER.CREATE.messages answers {}\r\n{body}\r\n", body.len()));
    let mut found = Vec::new();
    while (found.len() as u64) < count {
        let (subscription, reply, payload) = connection.next();
        let value: Value = serde_json::from_slice(&payload).expect("it is JSON");
        if subscription == "2" {
            found.push(value);
            let reply = reply.expect("an acknowledgement is wanted");
            connection.send(&format!("PUB {reply} 4\r\n+ACK\r\n"));
        } else {
            assert!(value.get("error").is_none(), "{value}");
        }
    }
    found
}
