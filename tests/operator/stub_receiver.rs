//! A stub of a receiver says that it is ready, and breaks off every POST in one way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// What becomes of a POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stub {
    /// A reset as soon as the head is there.
    ResetBeforeReading,
    /// A reset once all is read.
    Reset,
    /// The end of the connection, without an answer.
    Close,
    /// The same in the middle of the first line.
    HalfAnHeader,
    /// 503, as a receiver that cannot store.
    Unavailable,
    /// No answer.
    Hang,
}

pub(crate) struct StubReceiver {
    posts: Arc<AtomicUsize>,
}

impl StubReceiver {
    pub(crate) fn start(port: u16, stub: Stub) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let posts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&posts);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, posts) = (stream.expect("a balancer connects"), Arc::clone(&counted));
                thread::spawn(move || serve(&stream, stub, &posts));
            }
        });
        Self { posts }
    }

    /// How many were sent to it.
    pub(crate) fn posts(&self) -> usize {
        self.posts.load(Relaxed)
    }
}

/// Whoever drops the stream resets the connection.
fn reset(stream: &TcpStream) {
    set_socket_linger(stream, Some(Duration::ZERO)).expect("a socket takes an option");
}

fn serve(mut stream: &TcpStream, stub: Stub, posts: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut is_post) = (String::new(), 0, false);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            is_post |= line.starts_with("POST ");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        if !is_post {
            let ready = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"status\":\"ready\"}";
            drop(stream.write_all(ready.as_bytes()));
            continue;
        }
        posts.fetch_add(1, Relaxed);
        if stub == Stub::ResetBeforeReading {
            return reset(stream);
        }
        if io::copy(&mut (&mut reader).take(length), &mut io::sink()).unwrap_or(0) < length {
            return;
        }
        match stub {
            Stub::ResetBeforeReading | Stub::Reset => return reset(stream),
            Stub::Close => return,
            Stub::HalfAnHeader => return drop(stream.write_all(b"HTTP/1.1 20")),
            Stub::Unavailable => {
                let answer =
                    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
                drop(stream.write_all(answer.as_bytes()));
            }
            // Until the balancer hangs up.
            Stub::Hang => return drop(reader.read(&mut [0])),
        }
    }
}
