//! A stub of a nats-server answers what is published in the way a test wants, as no real one does on demand.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// How it goes on behind the acknowledgements that a test gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Acknowledge,
    Close,
    Hang,
}

/// Answers the first messages with these, and then does `then`.
pub(crate) fn start(answers: &'static [&'static str], then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client connects");
            // It hangs up once it knows.
            thread::spawn(move || drop(serve(&stream, answers, then)));
        }
    });
    format!("nats://127.0.0.1:{port}")
}

fn serve(mut stream: &TcpStream, answers: &[&str], then: Then) -> io::Result<()> {
    stream.write_all(b"INFO {\"max_payload\":1048576,\"headers\":true}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut answers = answers.iter();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut skip = |length: &str| {
            let length: u64 = length.parse().expect("a length is a number");
            io::copy(&mut (&mut reader).take(length + 2), &mut io::sink())
        };
        match words[..] {
            ["PING"] => stream.write_all(b"PING\r\nPONG\r\n")?,
            ["PUB", _, reply, length] => {
                skip(length)?;
                answer(stream, reply, "{\"config\":{\"subjects\":[\"messages\"]}}")?;
            }
            ["HPUB", _, reply, _, length] => {
                skip(length)?;
                match (answers.next(), then) {
                    (Some(given), _) => answer(stream, reply, given)?,
                    (None, Then::Acknowledge) => {
                        answer(stream, reply, "{\"stream\":\"messages\",\"seq\":9}")?;
                    }
                    (None, Then::Close) => return Ok(()),
                    (None, Then::Hang) => {}
                }
            }
            _ => {}
        }
    }
}

fn answer(mut stream: &TcpStream, to: &str, with: &str) -> io::Result<()> {
    write!(stream, "MSG {to} 1 {}\r\n{with}\r\n", with.len())
}
